#include "cache/queue_data.h"
#include "cache/write_queue.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <random>

#include "tests/cache/bytes.h"
#include "tests/cache/queue_model.h"
#include "tests/temporary_folder.h"

namespace rushfs::cache {
using testing::TemporaryFolder;
namespace {

constexpr std::uint64_t kPlenty = 1ULL << 40;
const std::chrono::system_clock::time_point kNoon{std::chrono::hours(12)};

Origin from(std::string_view node) {
  return {node, node, kNoon};
}

std::uint64_t data_on_disk(const std::filesystem::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "data")) {
    struct stat status;
    if (::stat(entry.path().c_str(), &status) == 0) {
      bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
  }
  return bytes;
}

std::vector<std::uint64_t> sequences_of(const std::vector<Operation>& operations) {
  std::vector<std::uint64_t> sequences;
  for (const Operation& operation : operations) sequences.push_back(operation.sequence);
  return sequences;
}

}  // namespace

TEST_CASE("operations are given out in the order they were appended, each naming the one before") {
  const TemporaryFolder folder;
  WriteQueue queue({folder.path(), kPlenty});
  const Buffer data = bytes_from_seed(1, 5000);
  const std::uint64_t a1 = *queue.append_write({"a", "/film/a.mov", kNoon}, 10, data);
  const std::uint64_t b1 = *queue.append_attributes(from("b"), Buffer{9, 8}, std::nullopt);
  const std::uint64_t a2 = *queue.append_attributes(from("a"), Buffer{7}, 4000);
  const std::uint64_t b2 = *queue.append_change(from("b"), OperationKind::change, Buffer{5}, 0, 0);
  CHECK(a1 < b1);
  CHECK(b1 < a2);
  CHECK(a2 < b2);
  const std::vector<Operation> all = queue.next(0, 1 << 20);
  REQUIRE(sequences_of(all) == std::vector<std::uint64_t>{a1, b1, a2, b2});
  CHECK(all[0].node == "a");
  CHECK(all[0].kind == OperationKind::write);
  CHECK(all[0].offset_bytes == 10);
  CHECK(all[0].data == data);
  CHECK_FALSE(all[0].after);
  CHECK(all[1].data == Buffer{9, 8});
  CHECK_FALSE(all[1].size_bytes);
  CHECK(all[2].after == a1);
  CHECK(all[2].size_bytes == 4000);
  CHECK(all[3].after == b1);
  CHECK(all[3].kind == OperationKind::change);
  CHECK(sequences_of(queue.next(b1, 1 << 20)) == std::vector<std::uint64_t>{a2, b2});
  queue.complete("a", a1);
  CHECK_FALSE(queue.load(std::vector<std::uint64_t>{a2})[0].after);
}

TEST_CASE("a batch holds at most the bytes asked for, and at least one operation") {
  const TemporaryFolder folder;
  WriteQueue queue({folder.path(), kPlenty});
  for (int i = 0; i < 5; ++i) REQUIRE(queue.append_write(from("a"), 0, Buffer(1000)));
  CHECK(queue.next(0, 2999).size() == 2);
  CHECK(queue.next(0, 3000).size() == 3);
  CHECK(queue.next(0, 1).size() == 1);
}

TEST_CASE("a batch of small operations is no longer than can be loaded in a moment") {
  const TemporaryFolder folder;
  WriteQueue queue({folder.path(), kPlenty});
  for (std::size_t i = 0; i < kMostAtOnce + 10; ++i) {
    REQUIRE(queue.append_write(from("a"), i, Buffer(1)));
  }
  const auto first = queue.next(0, 1 << 20);
  CHECK(first.size() == kMostAtOnce);
  CHECK(queue.next(first.back().sequence, 1 << 20).size() == 10);
}

TEST_CASE("what was committed is there after a restart, what was completed is not") {
  const TemporaryFolder folder;
  const Buffer data = bytes_from_seed(3, 100'000);
  WriteQueue::Id id;
  std::uint64_t kept = 0;
  {
    WriteQueue queue({folder.path(), kPlenty});
    id = queue.id();
    const std::uint64_t done = *queue.append_write(from("a"), 0, data);
    kept = *queue.append_write({"a", "/new name", kNoon}, 100'000, data);
    REQUIRE(queue.append_attributes(from("b"), Buffer{1, 2}, 77));
    REQUIRE(queue.commit());
    CHECK(queue.stats().uncommitted_operations == 0);
    queue.complete(std::vector<std::uint64_t>{done, 999'999});
    REQUIRE(queue.commit());
  }
  WriteQueue queue({folder.path(), kPlenty});
  CHECK(queue.id() == id);
  const std::vector<Operation> all = queue.next(0, 1 << 20);
  REQUIRE(all.size() == 2);
  CHECK(all[0].sequence == kept);
  CHECK(all[0].data == data);
  CHECK(all[0].display_name == "/new name");
  CHECK(queue.pending("a").size.apply(0) == 200'000);
  CHECK(queue.pending("b").size.apply(0) == 77);
  CHECK(queue.queued_changes("b") == std::vector<Buffer>{{1, 2}});
  CHECK(queue.nodes().size() == 2);
  CHECK(queue.stats().data_bytes == 100'000);
  CHECK(queue.stats().oldest == kNoon);
}

TEST_CASE("what a file was before is kept with the first change of it, until it may be sent") {
  const TemporaryFolder folder;
  {
    WriteQueue queue({folder.path(), kPlenty});
    REQUIRE(queue.append_write({"a", "/a", kNoon, "old"}, 0, Buffer{1}));
    REQUIRE(queue.append_write({"a", "/a", kNoon, "other"}, 1, Buffer{2}));
    REQUIRE(queue.append_write({"b", "/b", kNoon, "old too"}, 0, Buffer{3}));
    REQUIRE(queue.append_write(from("c"), 0, Buffer{3}));
    REQUIRE(queue.commit());
  }
  {
    WriteQueue queue({folder.path(), kPlenty});
    CHECK(queue.pending("a").base == "old");
    CHECK(queue.pending("b").base == "old too");
    CHECK(queue.pending("c").base.empty());
    REQUIRE(queue.append_write({"d", "/d", kNoon, "old"}, 0, Buffer{1}));
    const std::vector<WriteQueue::NewBase> sent{{"a", ""}, {"d", "made"}, {"not there", "?"}};
    REQUIRE(queue.replace_bases(sent));
  }
  {
    WriteQueue queue({folder.path(), kPlenty});
    CHECK(queue.pending("a").base.empty());
    CHECK(queue.pending("b").base == "old too");
    CHECK(queue.pending("d").base == "made");
    CHECK(queue.next(0, 100).size() == 5);
    const auto first = *queue.pending("b").last_sequence;
    REQUIRE(queue.append_write(from("b"), 1, Buffer{4}));
    queue.complete("b", first);
    REQUIRE(queue.commit());
  }
  WriteQueue queue({folder.path(), kPlenty});
  CHECK(queue.pending("b").operations == 1);
  CHECK(queue.pending("b").base.empty());
}

TEST_CASE("holes, allocations, appends and other changes are there again after a restart") {
  const TemporaryFolder folder;
  const Buffer data(1000, 7), request{1, 2, 3};
  {
    WriteQueue queue({folder.path(), kPlenty});
    REQUIRE(queue.append_write(from("a"), 0, data));
    REQUIRE(queue.append_change(from("a"), OperationKind::zero, request, 100, 300));
    REQUIRE(queue.append_change(from("a"), OperationKind::extend, request, 0, 5000));
    REQUIRE(queue.append_change(from("a"), OperationKind::change, request));
    REQUIRE(queue.append_write(from("a"), 5000, data, OperationKind::append));
    REQUIRE(queue.commit());
  }
  WriteQueue queue({folder.path(), kPlenty});
  const auto all = queue.next(0, 1 << 20);
  REQUIRE(all.size() == 5);
  CHECK(all[1].kind == OperationKind::zero);
  CHECK(all[1].data == request);
  CHECK(all[4].kind == OperationKind::append);
  CHECK(all[4].data == data);
  CHECK(queue.pending("a").size.apply(0) == 6000);
  CHECK(queue.queued_changes("a").size() == 3);
  const auto pieces = queue.read("a", 0, 1000);
  REQUIRE(pieces->size() == 3);
  CHECK((*pieces)[1].kind == Piece::Kind::zero);
  CHECK((*pieces)[1].length_bytes == 200);
  CHECK(queue.layout("a", 0, 1000).size() == 3);
}

TEST_CASE("an append shows and stays where the server has put it") {
  const TemporaryFolder folder;
  const Buffer data(1000, 7);
  {
    WriteQueue queue({folder.path(), kPlenty});
    const std::uint64_t first = *queue.append_write(from("a"), 0, data, OperationKind::append);
    const std::uint64_t next = *queue.append_write(from("a"), 1000, data, OperationKind::append);
    REQUIRE(queue.append_write(from("a"), 600, Buffer(10, 1)));
    queue.place_appends(std::vector<std::uint64_t>{first, next, 999}, 500);
    REQUIRE(queue.commit());
  }
  WriteQueue queue({folder.path(), kPlenty});
  const auto all = queue.next(0, 1 << 20);
  REQUIRE(all.size() == 3);
  CHECK(all[0].kind == OperationKind::write);
  CHECK(all[0].offset_bytes == 500);
  CHECK(all[1].offset_bytes == 1500);
  CHECK(queue.pending("a").size.apply(0) == 2500);
  const auto pieces = queue.read("a", 0, 2500);
  REQUIRE(pieces->size() == 5);  // the server's, the first with the write in it, the second
  CHECK((*pieces)[0].length_bytes == 500);
  CHECK((*pieces)[2].data == Buffer(10, 1));
}

TEST_CASE("many records that landed elsewhere than expected are placed in one go") {
  TemporaryFolder folder;
  WriteQueue queue({folder.path(), kPlenty});
  std::vector<std::uint64_t> sequences;
  constexpr std::uint64_t kRecords = 20000;
  for (std::uint64_t at = 0; at < kRecords; ++at) {
    sequences.push_back(*queue.append_write(from("log"), at, Buffer(1), OperationKind::append));
  }
  const auto start = std::chrono::steady_clock::now();
  queue.place_appends(sequences, 7);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));  // not one by one
  CHECK(queue.pending("log").size.apply(0) == 7 + kRecords);
}

TEST_CASE("a sequence number is never used twice, even if its operation was never committed") {
  const TemporaryFolder folder;
  std::uint64_t last = 0;
  for (int i = 0; i < 5; ++i) {
    WriteQueue queue({folder.path(), kPlenty});
    const std::uint64_t sequence = *queue.append_write(from("a"), 0, Buffer(10));
    CHECK(sequence > last);
    last = sequence;
    queue.discard("a");
  }
}

TEST_CASE("space on disk follows what is queued") {
  const TemporaryFolder folder;
  WriteQueue queue({folder.path(), kPlenty});
  const Buffer megabyte = bytes_from_seed(1, 1 << 20);
  std::vector<std::uint64_t> sequences;
  for (std::uint64_t i = 0; i < 300; ++i) {
    sequences.push_back(*queue.append_write(from("a"), i << 20, megabyte));
  }
  REQUIRE(queue.commit());
  CHECK(data_on_disk(folder.path()) >= 300 << 20);
  queue.complete(std::span(sequences).first(200));
  REQUIRE(queue.commit());
  CHECK(data_on_disk(folder.path()) <= (101 << 20) + kAheadBytes);
  queue.complete(std::span(sequences).subspan(200, 90));
  REQUIRE(queue.commit());
  CHECK(data_on_disk(folder.path()) <= (11 << 20) + kAheadBytes);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path() / "data"), {}) == 1);
  queue.complete("a", sequences.back());
  REQUIRE(queue.commit());
  CHECK(data_on_disk(folder.path()) <= kAheadBytes);
}

TEST_CASE("small operations share pages, and those come back too") {
  const TemporaryFolder folder;
  WriteQueue queue({folder.path(), kPlenty});
  for (std::uint64_t i = 0; i < 1000; ++i) {
    REQUIRE(queue.append_write(from(i == 500 ? "kept" : "a"), i * 777, bytes_from_seed(i, 777)));
  }
  REQUIRE(queue.commit());
  for (const Operation& operation : queue.next(0, 1 << 20)) {
    if (operation.node == "kept") continue;
    queue.complete(std::vector<std::uint64_t>{operation.sequence});
    if (operation.sequence % 7 == 0) REQUIRE(queue.commit());
  }
  REQUIRE(queue.commit());
  CHECK(data_on_disk(folder.path()) <= 3 * 4096 + kAheadBytes);
  CHECK(queue.next(0, 1 << 20).at(0).data == bytes_from_seed(500, 777));
}

TEST_CASE("over its budget the queue says so, and takes more when something has been sent") {
  const TemporaryFolder folder;
  WriteQueue queue({folder.path(), 10'000});
  CHECK(queue.append_write(from("a"), 0, Buffer(20'000)));  // alone it always fits
  CHECK(queue.append_write(from("a"), 0, Buffer(1)).error().value() == EDQUOT);
  CHECK(queue.append_attributes(from("a"), Buffer{1}, {}));
  CHECK(queue.stats().operations == 2);
  queue.complete("a", *queue.pending("a").last_sequence);
  CHECK(queue.append_write(from("a"), 0, Buffer(9'000)));
  CHECK(queue.append_write(from("a"), 0, Buffer(1'001)).error().value() == EDQUOT);
  CHECK(queue.append_write(from("a"), 0, Buffer(1'000)));
}

TEST_CASE("of however small writes the queue takes so many that they fit memory") {
  const TemporaryFolder folder;
  WriteQueue queue({folder.path(), kPlenty, 3});
  for (int i = 0; i < 3; ++i) CHECK(queue.append_write(from("log"), i, Buffer(1)));
  CHECK(queue.append_write(from("log"), 3, Buffer(1)).error().value() == EDQUOT);
  CHECK(queue.append_attributes(from("log"), Buffer{1}, {}));
  Origin moved = from("copy");
  moved.instead_of = "log";
  CHECK(queue.append_write(moved, 0, Buffer(1)));
  queue.complete("log", *queue.pending("log").last_sequence);
  CHECK(queue.append_write(from("log"), 3, Buffer(1)));
}

TEST_CASE("a refused operation holds back its file only, in view, also after a restart") {
  const TemporaryFolder folder;
  std::uint64_t before = 0;
  std::uint64_t refused = 0;
  std::uint64_t later = 0;
  std::uint64_t other = 0;
  {
    WriteQueue queue({folder.path(), kPlenty});
    before = *queue.append_write(from("a"), 0, Buffer(10));
    refused = *queue.append_write(from("a"), 10, Buffer(10));
    later = *queue.append_write(from("a"), 20, Buffer(10));
    other = *queue.append_write(from("b"), 0, Buffer(10));
    REQUIRE(queue.commit());
    queue.fail(refused, ENOSPC, "the server's disk is full");
    REQUIRE(queue.commit());
  }
  WriteQueue queue({folder.path(), kPlenty});
  CHECK(sequences_of(queue.next(0, 1 << 20)) == std::vector<std::uint64_t>{before, other});
  REQUIRE(queue.parked().size() == 1);
  CHECK(queue.parked()[0].error == ENOSPC);
  CHECK(queue.parked()[0].message == "the server's disk is full");
  CHECK(queue.pending("a").parked);
  CHECK(queue.stats().parked_operations == 1);
  CHECK(queue.read("a", 0, 30)->size() == 3);
  SECTION("until it is tried again") {
    CHECK(queue.retry_parked() == std::vector<std::uint64_t>{refused, later});
    CHECK(queue.next(0, 1 << 20).size() == 4);
    CHECK(queue.parked().empty());
  }
  SECTION("or the file is gone") {
    queue.discard("a");
    CHECK(queue.parked().empty());
    CHECK(sequences_of(queue.next(0, 1 << 20)) == std::vector<std::uint64_t>{other});
  }
}

TEST_CASE("many random changes read back as a plain file would, through sends and restarts") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 5));
  CAPTURE(seed);
  const TemporaryFolder folder;
  std::mt19937_64 random(seed);
  auto queue = std::make_unique<WriteQueue>(WriteQueue::Options{folder.path(), kPlenty});
  QueueModel files[] = {QueueModel("a"), QueueModel(std::string("b\0b", 3))};
  for (int step = 0; step < 2000; ++step) {
    QueueModel& file = files[random() % 2];
    const std::uint64_t dice = random() % 100;
    if (dice < 50) {
      const std::uint64_t offset = dice < 25 ? file.size() : random() % (file.size() + 3000);
      file.write(*queue, offset, bytes_from_seed(random(), 1 + random() % 3000));
    } else if (dice < 58) {
      file.set_size(*queue, random() % (file.size() + 2000));
    } else if (dice < 75) {
      file.send(*queue, random() % 12);
    } else if (dice < 78) {
      REQUIRE(queue->commit());
    } else if (dice < 79) {
      REQUIRE(queue->commit());
      queue.reset();
      queue = std::make_unique<WriteQueue>(WriteQueue::Options{folder.path(), kPlenty});
    } else {
      file.check(*queue, random() % (file.size() + 1), random() % 5000);
    }
    if (step % 100 == 0) {
      for (QueueModel& each : files) each.check(*queue, 0, each.size());
    }
  }
  for (QueueModel& file : files) {
    file.send(*queue, file.queued());
    file.check(*queue, 0, file.size());
  }
  REQUIRE(queue->commit());
  CHECK(queue->stats().operations == 0);
  CHECK(data_on_disk(folder.path()) <= kAheadBytes);
}

TEST_CASE("a folder has one queue, and the error names its owner") {
  const TemporaryFolder folder;
  const WriteQueue queue({folder.path(), kPlenty});
  CHECK_THROWS_WITH(WriteQueue({folder.path(), kPlenty}),
                    Catch::Contains("process " + std::to_string(::getpid())));
}

}  // namespace rushfs::cache

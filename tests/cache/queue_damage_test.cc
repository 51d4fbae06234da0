// The write queue on a disk that returns something else than was written.
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include "cache/database.h"
#include "cache/queue_log.h"
#include "cache/write_queue.h"
#include "tests/cache/all_queued.h"
#include "tests/cache/bytes.h"
#include "tests/temporary_folder.h"

namespace rushfs::cache {
using testing::TemporaryFolder;
namespace {

constexpr std::uint64_t kPlenty = 1ULL << 40;
constexpr std::uint64_t kStep = 100'000;
constexpr std::uint64_t kOperations = 60;
using Place = TemporaryFolder::Place;
using Path = std::filesystem::path;

Buffer data_of(std::uint64_t number) {
  return bytes_from_seed(number, 1 + number * 7919 % 9000);
}

// A queue of kOperations on three files, every fifth an attribute change.
void fill(const Path& folder) {
  WriteQueue queue({folder, kPlenty});
  for (std::uint64_t number = 1; number <= kOperations; ++number) {
    const std::string node(number % 3 + 1, 'n');
    const Origin origin{node, node, {}};
    if (number % 5 == 0) {
      REQUIRE(queue.append_attributes(origin, data_of(number), number * kStep));
    } else {
      REQUIRE(queue.append_write(origin, number * kStep, data_of(number)));
    }
    if (number % 7 == 0) REQUIRE(queue.commit());
  }
}

Buffer read_file(const Path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const Path& path, const Buffer& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

void damage(Buffer& bytes, std::mt19937_64& random) {
  const std::size_t at = random() % bytes.size();
  const std::size_t count = std::min<std::size_t>(bytes.size() - at, 1 + random() % 300);
  switch (random() % 5) {
    case 0:
      bytes[at] ^= static_cast<std::uint8_t>(1U << (random() % 8));
      break;
    case 1:
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), count, std::uint8_t{0});
      break;
    case 2:
      for (std::size_t i = 0; i < count; ++i) bytes[at + i] = static_cast<std::uint8_t>(random());
      break;
    case 3:
      bytes.resize(at);
      break;
    default:
      bytes[at] = static_cast<std::uint8_t>(random());
  }
}

void set_format(const Path& file, std::uint32_t format) {
  Database database(file, Database::Durability::every_commit);
  REQUIRE(database.execute(
      ("PRAGMA user_version = " + std::to_string(format) + "; PRAGMA wal_checkpoint(TRUNCATE)")
          .c_str()));
}

// Whatever the queue gives out is what was put in. Returns how many operations it still has.
std::uint64_t judge(WriteQueue& queue) {
  std::set<std::uint64_t> numbers;
  for (const Operation& operation : all_queued(queue)) {
    const bool is_write = operation.kind == OperationKind::write;
    const std::uint64_t number =
        (is_write ? operation.offset_bytes : operation.size_bytes.value()) / kStep;
    REQUIRE(operation.node == std::string(number % 3 + 1, 'n'));
    REQUIRE(is_write == (number % 5 != 0));
    REQUIRE(operation.data == data_of(number));
    REQUIRE(numbers.insert(number).second);
  }
  for (std::uint64_t number = 1; number <= kOperations; ++number) {
    const std::string node(number % 3 + 1, 'n');
    const Buffer data = data_of(number);
    const auto pieces = queue.read(node, number * kStep, data.size());
    const bool complete = queue.parked().empty() && queue.stats().operations == kOperations;
    if (complete && number % 5 != 0) {
      REQUIRE(pieces.has_value());
      REQUIRE(pieces->size() == 1);
      REQUIRE(pieces->front().data == data);
    }
  }
  return queue.stats().operations;
}

struct Tally {
  int sound = 0;
  int held_back = 0;
  int refused = 0;
};

// Damages one file of the queue again and again, and opens the result.
Tally try_damage(const Path& folder, const Path& target, bool keep_log, int rounds) {
  Tally tally;
  std::mt19937_64 random(11);
  const Buffer original = read_file(folder / target);
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(target, round);
    const TemporaryFolder image(Place::memory);
    for (const char* name : {"queue.db", "queue.db-wal", "data/000000000001.data"}) {
      if (name == std::string_view("queue.db-wal") && !keep_log) continue;
      write_file(image.path() / name, read_file(folder / name));
    }
    Buffer bytes = original;
    for (std::uint64_t times = 1 + random() % 3; times > 0 && !bytes.empty(); --times) {
      damage(bytes, random);
    }
    write_file(image.path() / target, bytes);
    try {
      WriteQueue queue({image.path(), kPlenty});
      const std::uint64_t found = judge(queue);
      if (!keep_log) REQUIRE(found == kOperations);
      ++(queue.parked().empty() ? tally.sound : tally.held_back);
    } catch (const std::runtime_error& error) {
      REQUIRE_THAT(error.what(), Catch::Contains("queue"));
      ++tally.refused;
    }
  }
  return tally;
}

}  // namespace

TEST_CASE("damaged data is held back with a message, never sent and never dropped") {
  const TemporaryFolder folder(Place::memory);
  fill(folder.path());
  const Tally tally = try_damage(folder.path(), "data/000000000001.data", false, 200);
  CHECK(tally.held_back > 150);
  CHECK(tally.refused == 0);
}

TEST_CASE("a damaged log is refused or its operations are held back: none is lost in silence") {
  const TemporaryFolder folder(Place::memory);
  fill(folder.path());
  const Tally tally = try_damage(folder.path(), "queue.db", false, 600);
  CHECK(tally.held_back > 10);
  CHECK(tally.refused > 100);
}

TEST_CASE("a damaged write-ahead log never yields an operation that was not put in") {
  const TemporaryFolder folder(Place::memory);
  fill(folder.path());
  const Tally tally = try_damage(folder.path(), "queue.db-wal", true, 200);
  CHECK(tally.sound + tally.held_back + tally.refused == 200);
}

TEST_CASE("a damaged write is shown as an I/O error to who reads it, until its file is discarded") {
  const TemporaryFolder folder(Place::memory);
  fill(folder.path());
  Buffer bytes = read_file(folder.path() / "data/000000000001.data");
  bytes[0] ^= 1;
  write_file(folder.path() / "data/000000000001.data", bytes);
  WriteQueue queue({folder.path(), kPlenty});
  const std::string node = "nn";
  CHECK(queue.read(node, kStep, 10).error().value() == EIO);
  CHECK(queue.stats().damaged_operations == 1);
  REQUIRE(queue.parked().size() == 1);
  CHECK(queue.parked()[0].damaged);
  CHECK(queue.retry_parked().empty());
  CHECK(queue.pending(node).parked);
  queue.discard(node);
  CHECK(queue.parked().empty());
  CHECK_FALSE(queue.pending("n").parked);
}

TEST_CASE("a file of which an operation's range is lost gives I/O errors rather than old bytes") {
  const TemporaryFolder folder(Place::memory);
  fill(folder.path());
  {
    Database database(folder.path() / "queue.db", Database::Durability::every_commit,
                      QueueLog::kSchema, QueueLog::kFormat);
    REQUIRE(database.execute("UPDATE operation SET offset = offset + 4096 WHERE sequence = 4"));
  }
  WriteQueue queue({folder.path(), kPlenty});
  CHECK(queue.parked().at(0).sequence == 4);
  CHECK(queue.parked().at(0).damaged);
  CHECK(queue.read("nn", kStep, 10).error().value() == EIO);  // number 4 belongs to the same file
  CHECK(queue.read("nnn", 2 * kStep, 10).has_value());
}

TEST_CASE("a queue whose log is gone is not mistaken for a new one") {
  const TemporaryFolder folder(Place::memory);
  fill(folder.path());
  std::filesystem::remove(folder.path() / "queue.db-wal");
  const bool is_empty = GENERATE(false, true);
  std::filesystem::remove(folder.path() / "queue.db");
  if (is_empty) write_file(folder.path() / "queue.db", {});
  CHECK_THROWS_WITH(WriteQueue({folder.path(), kPlenty}), Catch::Contains("missing or empty"));
}

TEST_CASE("a queue of another rushfs is refused with a sentence and left alone") {
  const TemporaryFolder folder(Place::memory);
  fill(folder.path());
  const auto [format, made_by, advice] = GENERATE(
      std::tuple(99, "a newer", "knows up to"), std::tuple(1, "an older", "`rushfs wait` returns"));
  set_format(folder.path() / "queue.db", format);
  const Buffer before = read_file(folder.path() / "queue.db");
  CHECK_THROWS_WITH(
      WriteQueue({folder.path(), kPlenty}),
      Catch::Contains("format " + std::to_string(format) + ", made by " + made_by + " rushfs") &&
          Catch::Contains(advice));
  CHECK(read_file(folder.path() / "queue.db") == before);
  set_format(folder.path() / "queue.db", QueueLog::kFormat);
  WriteQueue queue({folder.path(), kPlenty});
  CHECK(judge(queue) == kOperations);
}

TEST_CASE("a queue of an older rushfs with nothing in it is begun anew") {
  const TemporaryFolder folder(Place::memory);
  const bool left_bytes = GENERATE(false, true);
  fill(folder.path());
  WriteQueue::Id before;
  {
    WriteQueue queue({folder.path(), kPlenty});
    before = queue.id();
    for (const std::string node : {"n", "nn", "nnn"}) queue.discard(node);
    REQUIRE(queue.commit());
    if (left_bytes) write_file(folder.path() / "data/000000000009.data", Buffer(100, 1));
  }
  {
    Database database(folder.path() / "queue.db", Database::Durability::every_commit);
    // As format 1 was.
    REQUIRE(database.execute("ALTER TABLE node DROP COLUMN base; PRAGMA user_version = 1"));
  }
  WriteQueue queue({folder.path(), kPlenty});
  CHECK(queue.id() != before);
  CHECK(queue.stats().operations == 0);
  REQUIRE(queue.append_write({"n", "n", {}}, kStep, data_of(1)));
  CHECK(queue.commit());
}

}  // namespace rushfs::cache

// How reads are put together from memory, the block cache, the queue and a server played by hand:
// docs/semantics.md, "Versions".
#include "fs/client/reader.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include <cerrno>
#include <ctime>
#include <deque>

#include "direct_loop.h"
#include "fake_remote.h"
#include "tests/temporary_folder.h"

using namespace rushfs;
using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kBlock = cache::kBlockBytes;

struct Story {
  explicit Story(std::uint64_t size) : inode(std::make_shared<Inode>()) {
    time.now = transport::TimePoint{} + 1h;
    inode->number = {7};
    inode->node = {"clip"};
    inode->server.mode = S_IFREG | 0644;
    inode->server.size = size;
    inode->server.version = {1};
    inode->content.disk_known = true;
    reader.attached(1 << 20);
  }
  ~Story() { reader.forget(*inode); }

  /// Byte i of the server's file.
  static std::uint8_t byte(std::uint64_t i) { return static_cast<std::uint8_t>(i * 7 + i / 1000); }

  void read(std::uint64_t offset, std::uint64_t length) {
    text.reset();
    error = 0;
    reader.read(inode, stream, offset, length, [this](Result<Slices> slices) {
      if (!slices) {
        error = slices.error().value();
        return;
      }
      text.emplace();
      for (const auto& slice : *slices) text->append(slice.bytes.begin(), slice.bytes.end());
    });
  }
  Heard judge(Inode& file, const ReadReply& reply, std::uint64_t asked_epoch) {
    const Heard heard = hear(file, reply.attributes, asked_epoch, time);
    if (heard == Heard::changed) {
      reader.discard(file);
      ++kernel_told;
    }
    return heard;
  }
  /// Answers the first waiting Read as the server would; returns what it asked for.
  Read answer() {
    const Read request = remote.waiting<Read>().front();
    const auto size = inode->server.size;
    const auto end = std::min(request.offset + request.length, size);
    const auto begin = std::clamp(hole_to, request.offset, end);
    Buffer bytes;
    for (auto i = begin; i < end; ++i) bytes.push_back(byte(i));
    ReadReply reply;
    reply.attributes = inode->server;
    reply.attributes.version = version;
    reply.end = end == size;
    reply.data = bytes;
    (bytes.empty() ? reply.zeros_after : reply.zeros_before) = begin - request.offset;
    if (bytes.empty() && hole_to > end) reply.zeros_after = hole_to - request.offset;
    received += bytes.size();
    remote.answer<Read>(reply);
    return request;
  }
  void answer_all() {
    while (!remote.waiting<Read>().empty()) answer();
  }
  std::string expected(std::uint64_t offset, std::uint64_t length) const {
    std::string bytes;
    for (auto i = offset; i < std::min(offset + length, inode->size()); ++i) {
      bytes.push_back(i < hole_to ? '\0' : static_cast<char>(byte(i)));
    }
    return bytes;
  }

  rushfs::testing::TemporaryFolder folder;
  LoopTime time;
  FakeRemote remote;
  DirectLoop loop;
  DiskLoop disk{loop, loop};
  cache::BlockCache blocks{{folder / "blocks", 64 << 20}};
  cache::WriteQueue queue{{folder / "queue", 1 << 30}};
  int kernel_told = 0;
  Reader reader{{remote, disk, blocks, disk, queue, time},
                [this](Inode& file, const ReadReply& reply, std::uint64_t asked_epoch) {
                  return judge(file, reply, asked_epoch);
                }};
  InodeRef inode;
  std::shared_ptr<ReadStream> stream = std::make_shared<ReadStream>();
  Version version{1};
  std::uint64_t hole_to = 0;   // the file has a hole from its beginning to here
  std::uint64_t received = 0;  // bytes of data in the server's replies
  std::optional<std::string> text;
  int error = 0;
};

}  // namespace

TEST_CASE("exactly what was asked for is asked of the server first") {
  Story story(100 << 20);
  story.read(50'000'000, 4096);
  const auto first = story.remote.waiting<Read>().front();
  CHECK(first.offset == 50'000'000);
  CHECK(first.length == 4096);
  CHECK_FALSE(story.text);
  story.answer();
  CHECK(story.text == story.expected(50'000'000, 4096));
}

TEST_CASE("a second reader of the same bytes joins the first, and nothing is asked twice") {
  Story story(100 << 20);
  int answered = 0;
  for (int i = 0; i < 2; ++i) {
    story.reader.read(story.inode, story.stream, 60'000'000, 100'000,
                      [&](Result<Slices> slices) { answered += slices.has_value(); });
  }
  std::uint64_t asked = 0;
  for (const auto& read : story.remote.waiting<Read>()) {
    if (read.offset == 60'000'000) asked += read.length;
  }
  CHECK(asked == 100'000);
  story.answer();
  CHECK(answered == 2);
}

TEST_CASE("a small file is fetched whole around the first read of it") {
  Story story(600'000);
  story.read(1000, 10);
  story.answer_all();
  CHECK(story.text == story.expected(1000, 10));
  story.read(0, 600'000);
  CHECK(story.text == story.expected(0, 600'000));
}

TEST_CASE("a sequential reader is kept ahead of, in whole steps and another priority") {
  Story story(200 << 20);
  std::uint64_t ahead = 0;
  for (std::uint64_t at = 0; at < (4u << 20); at += 128 << 10) {
    story.read(at, 128 << 10);
    for (const auto& call : story.remote.calls) ahead += call.priority == Priority::ahead;
    story.answer_all();
    REQUIRE(story.text == story.expected(at, 128 << 10));
  }
  CHECK(ahead > 0);
  CHECK(story.reader.memory_bytes() > (4u << 20));
}

TEST_CASE("a path is kept full also where replies take three round trips for the lost packets") {
  constexpr std::uint64_t kStep = 1 << 20;  // arrives in a quarter of a round trip
  Story story(1ULL << 30);
  story.reader.set_round_trip(100ms);
  std::deque<transport::TimePoint> asked;
  std::uint64_t at = 0, arrived = 0;  // the latter in the last ten round trips
  story.read(0, 128 << 10);
  for (int quarter = 0; quarter < 200; ++quarter) {
    while (asked.size() < story.remote.waiting<Read>().size()) asked.push_back(story.time.now);
    story.time.now += 25ms;
    std::uint64_t got = 0;
    while (!asked.empty() && asked.front() + 300ms <= story.time.now && got < kStep) {
      got += story.answer().length;
      asked.pop_front();
    }
    if (quarter >= 160) arrived += got;
    while (story.text) story.read(at += story.text->size(), 128 << 10);
  }
  CHECK(story.reader.window() >= 12 * kStep);
  CHECK(arrived >= 38 * kStep);
}

TEST_CASE("whole blocks go to the cache and are read from there when memory has given them up") {
  Story story(4 * kBlock);
  story.read(0, 4 * kBlock);
  story.answer_all();
  CHECK(story.blocks.stats().blocks == 4);
  story.reader.forget(*story.inode);
  story.read(kBlock + 5, 1000);
  CHECK(story.remote.calls.empty());
  CHECK(story.text == story.expected(kBlock + 5, 1000));
}

TEST_CASE("a block that was read from disk for a page stays, and counts, as a whole") {
  Story story(3 * kBlock);
  story.read(0, 3 * kBlock);
  story.answer_all();
  story.reader.forget(*story.inode);
  story.loop.rest();
  story.read(kBlock + 4096, 4096);
  SECTION("where nothing has changed of it") {
    story.loop.go_on();
    CHECK(story.reader.memory_bytes() == kBlock);
    story.blocks.drop("clip");  // no disk is needed for what is next to it
    story.read(kBlock, kBlock);
    CHECK(story.remote.calls.empty());
    CHECK(story.text == story.expected(kBlock, kBlock));
  }
  SECTION("but for the page alone where some of it was changed meanwhile") {
    story.reader.changed(*story.inode, {1}, {kBlock + 20'000, kBlock + 20'010});
    story.loop.go_on();
    CHECK(story.text == story.expected(kBlock + 4096, 4096));
    CHECK(story.reader.memory_bytes() == 4096);
    CHECK(story.inode->content.extents.begin()->second->data.owner->size() == 4096);
  }
}

TEST_CASE("a block that is damaged on disk is asked of the server") {
  Story story(2 * kBlock);
  story.read(0, 2 * kBlock);
  story.answer_all();
  story.reader.forget(*story.inode);
  story.blocks.drop("clip");  // as if its checksum had not matched
  story.read(0, 100);
  CHECK_FALSE(story.remote.waiting<Read>().empty());
  story.answer_all();
  CHECK(story.text == story.expected(0, 100));
}

TEST_CASE("queued bytes cover what the server has, and past its end there are zeros") {
  Story story(1000);
  const std::string patch = "patched";
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(patch.data()), patch.size());
  REQUIRE(story.queue.append_write({"clip", "/clip", {}}, 500, bytes));
  REQUIRE(story.queue.append_write({"clip", "/clip", {}}, 2000, bytes));
  story.inode->local.operations = 2;
  story.inode->local.size.write_end_bytes = 2007;
  story.read(0, 5000);
  story.answer_all();
  REQUIRE(story.text);
  auto expected = story.expected(0, 1000);
  expected.resize(2007);
  std::fill(expected.begin() + 1000, expected.end(), '\0');
  expected.replace(500, 7, patch);
  expected.replace(2000, 7, patch);
  CHECK(*story.text == expected);
}

TEST_CASE("a reply of another version drops what was held, and the kernel is told") {
  Story story(8 * kBlock);
  story.read(0, kBlock);
  story.answer_all();
  REQUIRE(story.blocks.stats().blocks > 0);
  story.reader.discard(*story.inode);
  story.read(0, kBlock);
  story.version = {2};
  story.answer_all();
  CHECK(story.kernel_told >= 1);
  CHECK(story.inode->server.version == Version{2});
  story.reader.forget(*story.inode);
  CHECK_FALSE(story.blocks.read("clip", 1, 0));
}

TEST_CASE("our own change drops the range it covers and keeps the rest under the new version") {
  Story story(8 * kBlock);
  story.read(0, 8 * kBlock);
  story.answer_all();
  story.inode->server.version = {2};
  story.version = {2};
  story.reader.changed(*story.inode, {1}, {kBlock, kBlock + 10});
  story.reader.forget(*story.inode);
  story.stream = std::make_shared<ReadStream>();
  story.read(2 * kBlock, kBlock);
  CHECK(story.remote.waiting<Read>().empty());
  CHECK(story.text == story.expected(2 * kBlock, kBlock));
  story.read(kBlock, 10);
  CHECK_FALSE(story.remote.waiting<Read>().empty());
}

TEST_CASE("what is fetched in one piece stays in memory on both sides of a small write into it") {
  Story story(kBlock);
  story.read(0, kBlock);
  story.answer_all();
  story.inode->server.version = {2};
  story.version = {2};
  story.reader.changed(*story.inode, {1}, {5000, 5010});
  CHECK(story.reader.memory_bytes() == kBlock - 10);
  story.read(0, 5000);
  CHECK(story.text == story.expected(0, 5000));
  story.read(5010, kBlock - 5010);
  CHECK(story.text == story.expected(5010, kBlock - 5010));
  for (const Read& request : story.remote.waiting<Read>()) {
    CHECK(request.offset == 5000);
    CHECK(request.length == 10);
  }
}

TEST_CASE("a block asked for before a change of ours was answered is used once and not kept") {
  Story story(4 * kBlock);
  story.inode->content.disk_known = true;
  story.read(0, 100);
  story.inode->epoch = 5;  // a change of ours was answered meanwhile
  story.inode->server.version = {9};
  story.answer_all();
  CHECK(story.text == story.expected(0, 100));
  CHECK(story.inode->content.extents.empty());
}

TEST_CASE("bytes that we wrote are read back from memory and from the cache") {
  Story story(2 * kBlock);
  auto owner = std::make_shared<Buffer>();
  for (std::uint64_t i = 0; i < 2 * kBlock; ++i) owner->push_back(Story::byte(i));
  story.reader.seed(story.inode, 0, owner, *owner);
  story.read(10, 1000);
  CHECK(story.text == story.expected(10, 1000));
  story.reader.forget(*story.inode);
  story.read(kBlock - 10, 20);
  CHECK(story.text == story.expected(kBlock - 10, 20));
  CHECK(story.remote.calls.empty());
}

TEST_CASE("a small write into a block puts the block into the cache only when memory gives it up") {
  Story story(2 * kBlock);
  auto owner = std::make_shared<Buffer>();
  for (std::uint64_t i = 0; i < 2 * kBlock; ++i) owner->push_back(Story::byte(i));
  story.reader.seed(story.inode, 0, owner, *owner);
  const auto cached = [&] {
    return story.blocks.blocks_of(story.inode->node.bytes, story.inode->server.version.value);
  };
  REQUIRE(cached().size() == 2);
  for (std::uint64_t write = 0; write < 10; ++write) {
    const std::uint64_t at = write * 1000;
    const Version before = std::exchange(story.inode->server.version, {write + 2});
    story.reader.changed(*story.inode, before, Spans(at, at + 10));
    const auto bytes = std::make_shared<const Buffer>(owner->begin() + static_cast<long>(at),
                                                      owner->begin() + static_cast<long>(at) + 10);
    story.reader.seed(story.inode, at, bytes, *bytes);
  }
  CHECK(cached() == std::vector<std::uint64_t>{1});
  story.read(0, 2000);
  CHECK(story.text == story.expected(0, 2000));
  story.reader.forget(*story.inode);
  CHECK(cached().size() == 2);
  story.read(0, 2000);
  CHECK(story.text == story.expected(0, 2000));
  CHECK(story.remote.calls.empty());
}

TEST_CASE("a block that small writes have left in many pieces is kept in few") {
  Story story(kBlock);
  constexpr std::uint64_t kPiece = 100;
  const auto seed = [&](std::uint64_t at) {
    auto bytes = std::make_shared<Buffer>();
    for (std::uint64_t i = at; i < at + kPiece; ++i) bytes->push_back(Story::byte(i));
    story.reader.seed(story.inode, at, bytes, *bytes);
  };
  SECTION("one beside the other: all of it is there") {
    for (std::uint64_t i = 0; i < 1000; ++i) {
      seed((i % 2 == 0 ? 500 + i / 2 : 499 - i / 2) * kPiece);
    }
    CHECK(story.inode->content.extents.size() < 100);
    story.read(0, 1000 * kPiece);
    CHECK(story.text == story.expected(0, 1000 * kPiece));
  }
  SECTION("far from each other: what is between them is asked for at once") {
    for (std::uint64_t i = 0; i < 1000; ++i) seed(i * 2 * kPiece);
    CHECK(story.inode->content.extents.size() < 100);
    story.read(0, 1000 * kPiece);
    CHECK(story.remote.waiting<Read>().size() < 70);
    story.answer_all();
    CHECK(story.text == story.expected(0, 1000 * kPiece));
  }
}

TEST_CASE("a failed prefetch is asked for again when somebody wants it; a failed read says so") {
  Story story(100 << 20);
  story.read(0, 4096);
  REQUIRE(story.remote.waiting<Read>().size() > 1);
  story.answer();
  story.read(4096, 4096);  // joins what is fetched ahead
  story.remote.answer<Read>(errno_code(ETIMEDOUT));
  CHECK(story.error == 0);
  story.answer_all();
  CHECK(story.text == story.expected(4096, 4096));
  story.read(90'000'000, 10);
  while (!story.remote.waiting<Read>().empty()) story.remote.answer<Read>(errno_code(EIO));
  CHECK(story.error == EIO);
}

TEST_CASE("closing a handle cancels what only it had wished for") {
  Story story(100 << 20);
  for (std::uint64_t at = 0; at < (1u << 20); at += 128 << 10) {
    story.read(at, 128 << 10);
    story.answer();
  }
  const auto before = story.remote.calls.size();
  REQUIRE(before > 0);
  story.reader.close(*story.stream);
  CHECK(story.remote.calls.size() < before);
}

TEST_CASE("small reads of a file in many pieces do not each go through all of them") {
  constexpr std::uint64_t kPiece = 512, kPieces = 1 << 16, kReads = 1 << 13;
  Story story(kPieces * kPiece);
  const auto begin = std::clock();
  for (std::uint64_t i = 0; i < kPieces; ++i) {
    auto bytes = std::make_shared<const Buffer>(kPiece, std::uint8_t{1});
    story.reader.seed(story.inode, i * kPiece, bytes, *bytes);
  }
  const auto seeded = std::clock();
  for (std::uint64_t i = 0; i < kReads; ++i) story.read(i * kPiece, kPiece);
  CHECK(std::clock() - seeded < 10 * (seeded - begin));
}

TEST_CASE("a hole is asked for once, brings no data, and takes no space in the cache") {
  constexpr std::uint64_t kHole = 100 << 20;
  Story story(kHole + 3 * kBlock);
  story.hole_to = kHole;
  story.read(kBlock, kBlock);
  story.answer_all();
  REQUIRE(story.text == std::string(kBlock, '\0'));
  CHECK(story.received == 0);
  for (std::uint64_t at = 2 * kBlock; at < kHole; at += 8 * kBlock) {
    story.read(at, kBlock);
    REQUIRE(story.text == std::string(kBlock, '\0'));
    for (const auto& read : story.remote.waiting<Read>()) CHECK(read.offset >= kHole);
    story.answer_all();
  }
  CHECK(story.received <= 3 * kBlock);
  CHECK(story.reader.memory_bytes() <= 3 * kBlock);
  CHECK(story.blocks.stats().used_bytes <= story.blocks.stats().blocks * 4096 + 3 * kBlock);
  story.read(kHole - 1000, 3000);
  story.answer_all();
  CHECK(story.text == story.expected(kHole - 1000, 3000));

  // And what was looked at is there without the server, when memory has forgotten it.
  story.reader.forget(*story.inode);
  story.stream = std::make_shared<ReadStream>();
  story.read(10 * kBlock, kBlock);
  CHECK(story.text == std::string(kBlock, '\0'));
}

TEST_CASE("what is written into a hole leaves a hole on both sides") {
  Story story(64 * kBlock);
  story.hole_to = 64 * kBlock;
  story.read(0, kBlock);
  story.answer_all();
  story.inode->server.version = {2};
  story.version = {2};
  story.reader.changed(*story.inode, {1}, {20 * kBlock, 21 * kBlock});
  for (const std::uint64_t block : {2, 19, 21, 63}) {
    story.stream = std::make_shared<ReadStream>();
    story.read(block * kBlock, kBlock);
    for (const Read& ahead : story.remote.waiting<Read>()) CHECK(ahead.offset == 20 * kBlock);
    CHECK(story.text == std::string(kBlock, '\0'));
  }
  story.read(20 * kBlock, 10);
  CHECK_FALSE(story.remote.waiting<Read>().empty());
}

TEST_CASE("a hole that was told of before a write of ours was answered does not cover it") {
  Story story(64 * kBlock);
  story.hole_to = 64 * kBlock;
  story.read(0, kBlock);
  story.inode->epoch = 5;
  story.inode->server.version = {2};
  story.version = {2};
  story.reader.changed(*story.inode, {1}, {20 * kBlock, 21 * kBlock});
  story.answer_all();
  CHECK(story.text == std::string(kBlock, '\0'));
  story.read(20 * kBlock, 10);
  CHECK_FALSE(story.remote.waiting<Read>().empty());
}

TEST_CASE("reading far out in a sparse file costs what reading costs") {
  constexpr std::uint64_t kSize = kMaxOffset;
  Story story(kSize);
  story.hole_to = kSize;
  story.reader.prepare(story.inode, [] {});
  story.read(kSize - 4096, 4096);
  story.answer_all();
  CHECK(story.text == std::string(4096, '\0'));
}

TEST_CASE("what a notice has dropped does not come back from the disk under the same version") {
  Story story(600'000);
  story.read(0, 600'000);
  story.answer_all();
  REQUIRE(story.blocks.stats().blocks == 3);
  story.reader.discard(*story.inode);  // somebody else has written, within a tick of the clock
  story.inode->content = {};           // the inode was given up, or the mount started anew
  story.reader.prepare(story.inode, [] {});
  story.read(0, 1000);
  CHECK_FALSE(story.remote.waiting<Read>().empty());
  story.answer_all();
}

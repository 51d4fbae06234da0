// How reads are put together from memory, the block cache, the queue and a server played by hand:
// docs/semantics.md, "Versions".
#include <cerrno>
#include <ctime>

#include "reader_story.h"

using namespace rushfs;
using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

namespace {
using Story = ReaderStory;
}

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

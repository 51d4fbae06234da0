// What is kept of a file in memory and in the block cache, and when it goes from one to the other:
// docs/semantics.md, "Versions".
#include "reader_story.h"

using namespace rushfs;
using namespace rushfs::fs;
using namespace rushfs::fs::test;

namespace {
using Story = ReaderStory;
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

TEST_CASE("the end of a file that is being written is stored when nobody writes any more") {
  Story story(0);
  story.inode->writers = 1;
  auto owner = std::make_shared<Buffer>(100, std::uint8_t{'x'});
  const auto cached = [&] {
    return story.blocks.blocks_of(story.inode->node.bytes, story.inode->server.version.value);
  };
  for (std::uint64_t at = 0; at < 1000; at += 100) {
    story.inode->server.size = at + 100;
    story.reader.seed(story.inode, at, owner, *owner);
  }
  CHECK(cached().empty());
  story.inode->writers = 0;
  story.reader.written(*story.inode);
  CHECK(cached().size() == 1);
}

TEST_CASE("so many pieces are kept, however small they are") {
  constexpr std::uint64_t kPieces = 300'000;
  Story story(kPieces * kBlock);
  const auto byte = std::make_shared<const Buffer>(1, std::uint8_t{'x'});
  for (std::uint64_t i = 0; i < kPieces; ++i) {
    story.reader.seed(story.inode, i * kBlock, byte, *byte);
  }
  CHECK(story.inode->content.extents.size() == 1 << 18);
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

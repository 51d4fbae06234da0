// What the server refuses for good, or what is damaged on this disk, waits for a person with what
// comes after it: docs/semantics.md, "A full queue, a full disk".
#include <catch2/catch.hpp>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "writeback_story.h"

using namespace rushfs;
using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;
using Story = WritebackStory;
using Offsets = std::vector<std::uint64_t>;

namespace {

/// Three writes, of which the server takes two: they are not committed yet.
void refuse_the_third(Story& story) {
  story.open("clip");
  story.append("clip", 0, "one");
  story.append("clip", 100, "two");
  story.append("clip", 200, "three");
  story.answer_write();
  story.answer_write();
  story.answer_write(EACCES);
  REQUIRE(story.writeback->status().parked.size() == 1);
}

void flip_bytes(const std::filesystem::path& folder, const std::string& text) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    const auto at = content.find(text);
    if (at == std::string::npos) continue;
    file.seekp(static_cast<std::streamoff>(at));
    file.put('!');
    return;
  }
  FAIL("no such bytes");
}

}  // namespace

TEST_CASE("what came before a parked operation is committed without it") {
  Story story;
  refuse_the_third(story);
  story.pass(2s);
  story.answer_commit();
  CHECK(story.done == 2);
  CHECK(story.queue->stats().operations == 1);
}

TEST_CASE("what came before a parked operation is sent again to a server that lost it") {
  Story story;
  refuse_the_third(story);
  SECTION("the server was restarted") { story.writeback->attached(1 << 20, true); }
  SECTION("we were restarted") { story.restart(); }
  story.pass(1s);
  CHECK(story.offsets() == Offsets{0, 100});
  story.answer_write();
  story.append("other", 0, "x");
  const auto other = story.remote.waiting<Write>().back().position;
  CHECK(other.floor == 0);  // nothing is settled
  story.answer_write();
  story.answer_write();
  CHECK(story.offsets().empty());
  story.writeback->retry_now();
  CHECK(story.offsets() == Offsets{200});
  story.answer_write();
  story.writeback->closed({"clip"});
  while (!story.remote.waiting<Commit>().empty()) story.answer_commit();
  story.pass(2s);
  while (!story.remote.waiting<Commit>().empty()) story.answer_commit();
  CHECK(story.writeback->status().operations == 0);
  CHECK(story.queue->stats().operations == 0);
}

TEST_CASE("what came before something damaged in the queue is sent") {
  Story story;
  story.append("clip", 0, "sound");
  story.append("clip", 100, "spoilt");
  story.append("clip", 200, "later");
  story.restart([&] { flip_bytes(story.folder / "queue" / "data", "spoilt"); });
  SECTION("found at once") {}
  SECTION("known from before") { story.restart(); }
  CHECK(story.offsets() == Offsets{0});
  REQUIRE(story.writeback->status().parked.size() == 1);
  story.answer_write();
  story.pass(2s);
  story.answer_commit();
  CHECK(story.queue->stats().operations == 2);
  story.writeback->retry_now();
  CHECK(story.offsets().empty());
  CHECK(story.writeback->status().parked.size() == 1);
}

TEST_CASE("what must not be sent is parked, also while it is still to be loaded again") {
  Story story;
  story.append("clip", 0, "one");
  story.append("clip", 100, "two");
  story.loop.rest();
  story.writeback->attached(1 << 20, true);
  story.writeback->hold_back();
  story.writeback->refuse({"clip"}, EIO);
  story.loop.go_on();
  story.writeback->attached(1 << 20, true);
  CHECK(story.offsets().empty());
  auto parked = story.writeback->status().parked;
  REQUIRE(parked.size() == 1);
  CHECK(parked[0].error == EIO);
  story.restart();
  CHECK(story.offsets().empty());
  CHECK(story.writeback->status().parked.size() == 1);
  story.writeback->retry_now();
  CHECK(story.remote.waiting<Write>().size() == 2);
}

TEST_CASE("what must not be sent is parked with what came before an operation parked already") {
  Story story;
  refuse_the_third(story);
  story.writeback->hold_back();
  story.writeback->refuse({"clip"}, EIO);
  story.writeback->attached(1 << 20, false);
  story.pass(2s);
  CHECK(story.offsets().empty());
  story.writeback->retry_now();
  CHECK(story.offsets() == Offsets{0, 100, 200});
}

TEST_CASE("what the server refuses while parked operations are tried again is parked") {
  Story story;
  story.open("clip");
  story.append("clip", 0, "one");
  story.loop.rest();
  story.writeback->retry_now();
  story.answer_write(EACCES);
  story.loop.go_on();
  REQUIRE(story.writeback->status().parked.size() == 1);
  int synced = kWaiting;
  story.writeback->sync({"clip"}, note(synced));
  CHECK(synced == EACCES);
}

TEST_CASE("what must not be sent stays parked when parked operations are tried again just before") {
  Story story;
  story.append("clip", 0, "one");
  story.loop.rest();
  story.writeback->retry_now();
  story.writeback->refuse({"clip"}, EACCES);
  story.loop.go_on();
  REQUIRE(story.writeback->status().parked.size() == 1);
  int synced = kWaiting;
  story.writeback->sync({"clip"}, note(synced));
  CHECK(synced == EACCES);
}

// What waits in the queue on its way to the server, which is played by hand here:
// docs/semantics.md, "A full queue, a full disk", "Order of changes to one file".
#include <catch2/catch.hpp>

#include <algorithm>
#include <cerrno>

#include "writeback_story.h"

using namespace rushfs;
using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;
using Story = WritebackStory;

TEST_CASE("operations of a file leave in order, each naming the one before it") {
  Story story;
  story.open("clip");
  story.append("clip", 0, "one");
  story.append("clip", 100, "two");
  story.writeback->closed({"clip"});
  const auto writes = story.remote.waiting<Write>();
  REQUIRE(writes.size() == 2);
  CHECK(writes[0].position.after == 0);
  CHECK(writes[1].position.after == writes[0].position.sequence);
  CHECK(story.in_flight == 2);
}

TEST_CASE("the queue forgets what the server has committed, and nothing before") {
  Story story;
  story.open("clip");
  story.append("clip", 0, "one");
  story.writeback->closed({"clip"});
  story.answer_write();
  CHECK(story.done == 0);
  CHECK(story.queue->stats().operations == 1);
  story.answer_commit();
  CHECK(story.done == 1);
  CHECK(story.queue->stats().operations == 0);
  CHECK(story.writeback->status().operations == 0);
}

TEST_CASE("after a commit that failed all is sent again, and committed once it was answered") {
  Story story;
  story.open("clip");
  story.append("clip", 0, "one");
  story.append("clip", 100, "two");
  story.writeback->closed({"clip"});
  story.answer_write();
  story.answer_write();
  story.remote.answer<Commit>(errno_code(EIO));
  CHECK(story.remote.waiting<Write>().empty());
  story.pass(2s);
  CHECK(story.offsets() == std::vector<std::uint64_t>{0, 100});
  CHECK(story.remote.waiting<Commit>().empty());
  story.answer_write();
  for (const auto& commit : story.remote.waiting<Commit>()) CHECK(commit.through < story.last);
  story.answer_write();
  while (!story.remote.waiting<Commit>().empty()) story.answer_commit();
  CHECK(story.queue->stats().operations == 0);
}

TEST_CASE("a file whose writer never pauses is committed all the same") {
  Story story;
  story.open("log");
  for (std::uint64_t i = 0; i < 100; ++i) {
    story.append("log", i * 10, "0123456789");
    story.answer_write();
    story.pass(500ms);
    if (!story.remote.waiting<Commit>().empty()) story.answer_commit();
    CHECK(story.queue->stats().operations <= 12);  // what was written in some five seconds
  }
}

TEST_CASE("a commit answered before its write waits for it") {
  Story story;
  story.append("clip", 0, "one");
  REQUIRE(story.remote.waiting<Commit>().size() == 1);
  story.answer_commit();
  CHECK(story.done == 0);
  story.answer_write();
  CHECK(story.done == 1);
}

TEST_CASE("answers that overtake each other are told in the order of the operations") {
  Story story;
  story.open("clip");
  for (int i = 0; i < 3; ++i) story.append("clip", 100 * i, "x");
  story.writeback->closed({"clip"});
  story.answer_commit();
  auto last = std::move(story.remote.calls.back());
  story.remote.calls.pop_back();
  WriteReply reply;
  std::move(last.handler)(encode_reply(reply));
  CHECK(story.applied_offsets.empty());
  story.answer_write();
  CHECK(story.applied_offsets == std::vector<std::uint64_t>{0});
  story.answer_write();
  CHECK(story.applied_offsets == std::vector<std::uint64_t>{0, 100, 200});
}

TEST_CASE("a restarted server is sent again what it had not committed") {
  Story story;
  story.open("clip");
  story.append("clip", 0, "one");
  story.answer_write();
  story.append("clip", 100, "two");
  const auto first = story.remote.waiting<Write>().front().position;
  story.writeback->attached(1 << 20, true);
  const auto writes = story.remote.waiting<Write>();
  REQUIRE(writes.size() == 2);
  CHECK(writes[0].offset == 0);
  CHECK(writes[1].position.sequence == first.sequence);
  CHECK(story.in_flight == 2);
}

TEST_CASE("a full disk at the server is asked again after one second, then two") {
  Story story;
  story.append("clip", 0, "one");
  for (const auto pause : {1s, 2s, 4s}) {
    story.answer_write(ENOSPC);
    CHECK(story.writeback->status().retry_error == ENOSPC);
    story.pass(pause - 100ms);
    CHECK(story.remote.waiting<Write>().empty());
    story.pass(200ms);
    CHECK(story.remote.waiting<Write>().size() == 1);
  }
  story.answer_write();
  CHECK(story.writeback->status().retry_error == 0);
}

TEST_CASE("what is refused for good is parked with what follows it, and other files go on") {
  Story story;
  story.append("locked", 0, "one");
  story.answer_write(EACCES);
  story.append("locked", 100, "two");
  story.append("free", 0, "three");
  REQUIRE(story.remote.waiting<Write>().size() == 1);
  CHECK(story.remote.waiting<Write>()[0].node.bytes == "free");
  REQUIRE(story.writeback->status().parked.size() == 1);
  CHECK(story.writeback->status().parked[0].error == EACCES);
  int error = kWaiting;
  story.writeback->wait({"locked"}, note(error));
  CHECK(error != 0);
  story.writeback->retry_now();
  CHECK(story.remote.waiting<Write>().size() == 3);
}

TEST_CASE("fsync overtakes the bulk of other files and is answered by the commit") {
  Story story;
  story.open("bulk");
  story.open("project");
  const std::string piece(1 << 20, 'b');
  for (std::uint64_t i = 0; i < 40; ++i) story.append("bulk", i << 20, piece);
  story.append("project", 0, "precious");
  const auto before = story.remote.waiting<Write>().size();
  CHECK(before < 40);  // the window holds the rest back
  int error = kWaiting;
  story.writeback->sync({"project"}, note(error));
  const auto writes = story.remote.waiting<Write>();
  REQUIRE(writes.size() == before + 1);
  CHECK(writes.back().node.bytes == "project");
  CHECK(story.remote.waiting<Commit>().size() == 1);
  CHECK(error == kWaiting);
  WriteReply reply;
  for (auto call = story.remote.calls.begin(); call != story.remote.calls.end(); ++call) {
    if (call->priority != Priority::demand) continue;
    auto handler = std::move(call->handler);
    story.remote.calls.erase(call);
    std::move(handler)(encode_reply(reply));
    break;
  }
  story.answer_commit();
  CHECK(error == 0);
}

TEST_CASE("fsync ends with ETIMEDOUT when nothing was heard for the timeout, a waiter waits on") {
  Story story;
  story.append("clip", 0, "one");
  int synced = kWaiting, waited = kWaiting;
  story.writeback->sync({"clip"}, note(synced));
  story.writeback->wait({"clip"}, note(waited));
  story.pass(59s);
  CHECK(synced == kWaiting);
  story.remote.heard = story.time.now;  // a sign of life
  story.pass(59s);
  CHECK(synced == kWaiting);
  story.pass(2s);
  CHECK(synced == ETIMEDOUT);
  CHECK(waited == kWaiting);
  story.answer_write();
  story.answer_commit();
  CHECK(waited == 0);
}

TEST_CASE("neighbouring writes that wait travel as one") {
  Story story;
  story.open("bulk");
  story.open("log");
  story.writeback->set_path(1 << 20);
  const std::string piece(1 << 20, 'b');
  for (std::uint64_t i = 0; i < 8; ++i) story.append("bulk", i << 20, piece);
  for (std::uint64_t i = 0; i < 100; ++i) story.append("log", i * 10, "0123456789");
  CHECK(story.remote.waiting<Write>().size() == 8);
  while (!story.remote.waiting<Write>().empty() &&
         story.remote.waiting<Write>().front().node.bytes == "bulk") {
    story.answer_write();
  }
  const auto writes = story.remote.waiting<Write>();
  REQUIRE(writes.size() == 1);
  CHECK(writes[0].data.size() == 1000);
}

TEST_CASE("small changes gather while others are under way, until somebody wants them") {
  Story story;
  for (const char* file : {"log", "other"}) story.open(file);
  auto write_ten = [&story, at = std::uint64_t{0}](const std::string& file) mutable {
    for (int i = 0; i < 10; ++i, at += 10) story.append_at_once(file, at, "0123456789");
  };
  const auto in_messages = [&story] {
    std::vector<std::size_t> sizes;
    for (const auto& write : story.remote.waiting<Write>()) sizes.push_back(write.data.size());
    return sizes;
  };
  using Sizes = std::vector<std::size_t>;
  write_ten("log");
  CHECK(in_messages() == Sizes{10});
  CHECK_FALSE(story.writeback->deadline());  // they wait for its answer
  story.answer_write();
  CHECK(in_messages().empty());  // which came at once
  REQUIRE(story.writeback->deadline() == story.time.now + 2ms);
  story.time.now += 2ms;
  story.writeback->send_gathered();
  CHECK(in_messages() == Sizes{90});
  CHECK_FALSE(story.writeback->deadline());
  write_ten("log");
  write_ten("other");
  story.pass(1s);  // an answer that does not come holds nothing up for long
  CHECK(in_messages() == Sizes{90, 100, 100});
  write_ten("log");
  int error = kWaiting;
  SECTION("closed") { story.writeback->closed({"log"}); }
  SECTION("waited for") { story.writeback->wait({"log"}, note(error)); }
  SECTION("fsync") { story.writeback->sync({"log"}, note(error)); }
  SECTION("large") {
    story.append("other", 1 << 20, std::string(1 << 20, 'b'));
    CHECK(in_messages() == Sizes{90, 100, 100, 100, 1 << 20});
    return;
  }
  CHECK(in_messages() == Sizes{90, 100, 100, 100});
}

TEST_CASE("four times what the path holds is sent before an answer is waited for") {
  Story story;
  story.open("bulk");
  story.writeback->set_path(10 << 20);
  const std::string piece(1 << 20, 'b');
  for (std::uint64_t i = 0; i < 60; ++i) story.append("bulk", i << 20, piece);
  CHECK(story.remote.waiting<Write>().size() == 40);
}

TEST_CASE("a file that was removed and that nobody has open is not sent any more") {
  Story story;
  story.append("scratch", 0, "one");
  int error = kWaiting;
  story.writeback->wait({"scratch"}, note(error));
  story.writeback->give_up({"scratch"});
  CHECK(story.given_up == 1);
  CHECK(story.remote.calls.empty());
  CHECK(story.queue->stats().operations == 0);
  CHECK(error == 0);
}

TEST_CASE("an appended record is where the server says, whatever others did to the file since") {
  struct Others {
    std::uint64_t offset, size;
  };
  for (const auto& others : {Others{0, 10}, Others{100, 5100}, Others{100, 9000}}) {
    Story story;
    story.open("log");
    story.append_record("log", 0, std::string(5000, 'x'));
    story.answer_append(others.offset, others.size);
    CHECK(story.applied_offsets == std::vector<std::uint64_t>{others.offset});
    CHECK(story.queue->pending("log").size.write_end_bytes == others.offset + 5000);
    // Another server is sent it as a write to its place, not as one more append.
    story.writeback->attached(1 << 20, true);
    CHECK(story.offsets() == std::vector<std::uint64_t>{others.offset});
  }
}

TEST_CASE("who writes while a parked file is given up is not left waiting") {
  Story story;
  story.open("clip");
  story.append("clip", 0, "one");
  story.answer_write(EACCES);
  const auto parked = story.writeback->status().parked;
  REQUIRE(parked.size() == 1);
  story.loop.rest();
  const std::uint8_t byte = 1;
  story.writeback->appending({"clip"});
  story.disk.run([&] { return story.queue->append_write({"clip", "/clip", {}}, 100, {&byte, 1}); },
                 [&](Result<std::uint64_t> sequence) {
                   story.writeback->appended({"clip"}, "/clip", *sequence, 1);
                 });
  int given_up = kWaiting, waited = kWaiting, synced = kWaiting;
  story.writeback->discard_parked(parked[0].operation, note(given_up));
  story.loop.go_on();
  CHECK(given_up == 0);
  CHECK(story.queue->stats().operations == 0);
  CHECK(story.writeback->status().operations == 0);
  story.writeback->wait({"clip"}, note(waited));
  CHECK(waited == 0);
  story.append("clip", 200, "two");  // what is written from then on goes its way
  story.writeback->sync({"clip"}, note(synced));
  story.answer_write();
  story.answer_commit();
  CHECK(synced == 0);
}

TEST_CASE("what is queued for a file that the server has not got is told of, then parked") {
  Story story;
  story.open("clip");
  story.append("clip", 0, "one");
  story.append("clip", 100, "two");
  story.answer_write(ESTALE);
  CHECK(story.missed.size() == 1);
  CHECK(story.in_flight == 0);
  story.pass(60s);
  CHECK(story.offsets().empty());
  CHECK(story.writeback->status().parked.empty());
  story.writeback->resume({"clip"});
  story.answer_write(ESTALE);
  CHECK(story.missed.size() == 1);
  CHECK(story.writeback->status().parked.size() == 1);
}

TEST_CASE("fsync waits for no other file's backlog, whatever its name is") {
  Story story;
  story.writeback->set_path(1 << 20);
  story.open("bulk");
  const std::string piece(1 << 20, 'b');
  for (std::uint64_t i = 0; i < 60; ++i) story.append("bulk", i << 20, piece);
  story.answer_write(ENOSPC);
  story.pass(1s);
  story.answer_write();  // there is room again: all of it is known, and the window is full
  int bulk = kWaiting, project = kWaiting;
  const auto projects = [&] {
    const auto writes = story.remote.waiting<Write>();
    return std::count_if(writes.begin(), writes.end(),
                         [](const Write& write) { return write.node.bytes == "project"; });
  };
  SECTION("that nobody waits for") {
    story.append("project", 0, "precious");
    CHECK(projects() == 0);
    story.writeback->sync({"project"}, note(project));
  }
  SECTION("that somebody waits for too") {
    story.writeback->sync({"bulk"}, note(bulk));
    CHECK(story.offsets().size() < 48);  // in memory: four windows, and one load more
    story.append("project", 0, "precious");
    story.writeback->sync({"project"}, note(project));
    for (int i = 0; i < 20; ++i) story.answer_write();
  }
  CHECK(projects() == 1);
}

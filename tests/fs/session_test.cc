#include "fs/client/session.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cerrno>
#include <map>
#include <vector>

using namespace rushfs::fs;
using namespace rushfs;
using namespace std::chrono_literals;

namespace {

/// Records what a session sends, and plays the server by hand.
class ScriptedCarrier : public Carrier {
 public:
  struct Message {
    std::uint64_t token;
    Buffer body;
  };
  void connect() override { ++connects; }
  void request(std::uint64_t token, Priority, transport::Body body) override {
    sent.push_back({token, Buffer(body.bytes().begin(), body.bytes().end())});
  }
  void cancel(std::uint64_t token) override { cancelled.push_back(token); }
  void reply(transport::RequestId, transport::Body body) override {
    replies.emplace_back(body.bytes().begin(), body.bytes().end());
  }
  void disconnect(transport::CloseReason) override { ++disconnects; }

  int connects = 0, disconnects = 0;
  std::vector<Message> sent;
  std::vector<std::uint64_t> cancelled;
  std::vector<Buffer> replies;
};

struct Story {
  explicit Story(std::chrono::seconds timeout = 60s) {
    time.now = transport::TimePoint{} + 1h;
    SessionConfig config;
    config.timeout = timeout;
    config.export_name = "footage";
    session = std::make_unique<Session>(
        config, carrier, time, [](std::span<std::uint8_t> bytes) { bytes[0] = 128; },
        [this](const AttachReply&, bool restarted) { attaches.push_back(restarted); });
    session->start();
  }
  void attach(std::uint64_t instance) {
    session->connected();
    REQUIRE_FALSE(carrier.sent.empty());
    REQUIRE(carrier.sent.back().token == 0);
    AttachReply reply;
    reply.root = {"root"};
    reply.max_read = reply.max_write = kDefaultTransfer;
    reply.instance = {instance};
    carrier.sent.clear();
    session->answered(0, encode_reply(reply));
  }
  void pass(transport::Duration duration) {
    time.now += duration;
    session->tick();
  }
  /// Time in which the connection shows signs of life.
  void live(transport::Duration duration) {
    for (const auto end = time.now + duration; time.now < end;) {
      session->heard();
      pass(std::min<transport::Duration>(10s, end - time.now));
    }
  }
  CallId call(int& error, std::uint64_t number = 0, Patience patience = Patience::prompt) {
    return session->call(Priority::urgent, patience, encode(GetAttributes{{"x"}}),
                         [&error](Result<Buffer> result) {
                           error = result ? 0 : result.error().value();
                         },
                         number);
  }

  LoopTime time;
  ScriptedCarrier carrier;
  std::unique_ptr<Session> session;
  std::vector<bool> attaches;
};

constexpr int kUnanswered = -1;

}  // namespace

TEST_CASE("calls made before the connection is there go out once it is attached, in order") {
  Story story;
  int first = kUnanswered, second = kUnanswered;
  const auto a = story.call(first), b = story.call(second);
  CHECK(story.carrier.sent.empty());
  story.attach(7);
  REQUIRE(story.carrier.sent.size() == 2);
  CHECK(story.carrier.sent[0].token == a.value);
  CHECK(story.carrier.sent[1].token == b.value);
  story.session->answered(b.value, {});
  CHECK(second == 0);
  CHECK(first == kUnanswered);
}

TEST_CASE("a lost connection is made again, and what was unanswered is repeated") {
  Story story;
  story.attach(7);
  int error = kUnanswered;
  const auto id = story.call(error);
  story.carrier.sent.clear();
  story.session->closed({transport::CloseCode::idle_timeout, false, ""});
  CHECK(story.session->status().state == LinkState::connecting);
  CHECK(story.carrier.connects == 1);
  story.pass(250ms);
  CHECK(story.carrier.connects == 2);
  story.attach(7);
  REQUIRE(story.carrier.sent.size() == 1);
  CHECK(story.carrier.sent[0].token == id.value);
  CHECK(story.attaches == std::vector<bool>{false, false});
  story.session->answered(id.value, {});
  CHECK(error == 0);
}

TEST_CASE("another instance of the server is told to the listener before calls are repeated") {
  Story story;
  story.attach(7);
  story.session->closed({});
  story.pass(250ms);
  story.attach(8);
  CHECK(story.attaches == std::vector<bool>{false, true});
}

TEST_CASE("attempts become rarer up to five seconds") {
  Story story;
  std::vector<transport::Duration> pauses;
  for (int i = 0; i < 10; ++i) {
    story.session->closed({transport::CloseCode::handshake_timeout, false, ""});
    const auto before = story.time.now;
    const int connects = story.carrier.connects;
    while (story.carrier.connects == connects) story.pass(10ms);
    pauses.push_back(story.time.now - before);
  }
  CHECK(pauses.front() <= 200ms);
  CHECK(pauses.back() >= 2500ms);
  CHECK(pauses.back() <= 5010ms);
}

TEST_CASE("a prompt call ends by its deadline, a patient one waits for the next connection") {
  Story story;
  story.attach(7);
  int prompt = kUnanswered, patient = kUnanswered;
  const auto id = story.call(prompt);
  story.call(patient, 0, Patience::patient);
  story.live(59s);
  CHECK(prompt == kUnanswered);
  story.live(2s);
  CHECK(prompt == ETIMEDOUT);
  CHECK(patient == kUnanswered);
  CHECK(story.carrier.cancelled == std::vector<std::uint64_t>{id.value});
}

TEST_CASE("a connection that is silent while calls wait is given up, and made again") {
  Story story;
  story.attach(7);
  story.pass(10min);  // nobody waits: an idle connection may be silent
  int error = kUnanswered;
  story.call(error, 0, Patience::patient);
  story.live(30s);
  CHECK(story.carrier.disconnects == 0);
  story.pass(14s);
  CHECK(story.carrier.disconnects == 1);
  CHECK(error == kUnanswered);
  story.pass(1s);
  CHECK(story.carrier.connects == 2);
  story.attach(7);
  CHECK(story.carrier.sent.size() == 1);
}

TEST_CASE("a glance ends after five seconds, or as soon as the link is known to be dead") {
  Story story;
  story.attach(7);
  int first = kUnanswered, second = kUnanswered;
  story.call(first, 0, Patience::glance);
  story.live(5s);
  CHECK(first == ETIMEDOUT);
  story.call(second, 0, Patience::glance);
  story.session->closed({transport::CloseCode::idle_timeout, false, ""});
  CHECK(story.session->reachable());  // it may only have been restarted
  story.pass(2s);
  CHECK(second == kUnanswered);
  story.pass(1s);
  CHECK(second == ETIMEDOUT);
  CHECK_FALSE(story.session->reachable());
}

TEST_CASE("once a call has waited in vain for the timeout, the next end sooner until a sign") {
  Story story;
  int first = kUnanswered, second = kUnanswered;
  story.call(first);
  for (int i = 0; i < 7; ++i) story.pass(10s);
  CHECK(first == ETIMEDOUT);
  story.call(second);
  story.pass(5s);
  CHECK(second == ETIMEDOUT);
  story.pass(1min);
  story.attach(7);
  int third = kUnanswered;
  story.call(third);
  story.live(50s);
  CHECK(third == kUnanswered);
}

TEST_CASE("what is asked one after the other of a dead link ends by one timeout") {
  Story story;
  story.attach(7);
  std::vector<int> errors(4, kUnanswered);
  story.call(errors[0], 0, Patience::glance);  // as for a path, of which some is known
  for (int second = 0; second < 5; ++second) story.pass(1s);
  CHECK(errors[0] == ETIMEDOUT);
  story.call(errors[1]);
  for (int second = 5; second < 59; ++second) story.pass(1s);
  CHECK(errors[1] == kUnanswered);
  story.pass(1s);
  CHECK(errors[1] == ETIMEDOUT);
  for (int again : {2, 3}) {  // the kernel asks again for what it could not read
    story.call(errors[again]);
    CHECK(errors[again] == kUnanswered);
    story.pass(1ms);
    CHECK(errors[again] == ETIMEDOUT);
  }
}

TEST_CASE("a link that is dead by its timeout is asked again after a second") {
  for (const bool answers : {false, true}) {
    Story story(10s);
    story.attach(7);
    int first = kUnanswered, second = kUnanswered;
    story.call(first);
    story.pass(10s);
    CHECK(first == ETIMEDOUT);
    story.pass(1s);
    const auto id = story.call(second);
    story.pass(1s);
    CHECK(second == kUnanswered);
    if (answers) story.session->answered(id.value, {});
    story.pass(4s);
    CHECK(second == (answers ? 0 : ETIMEDOUT));
  }
}

TEST_CASE("who asks after a pause has the whole timeout, unless somebody waited all of it before") {
  Story story;
  story.attach(7);
  int known = kUnanswered, unknown = kUnanswered;
  story.call(known, 0, Patience::glance);
  story.pass(5s);
  CHECK(known == ETIMEDOUT);
  story.pass(2s);
  story.call(unknown);
  story.pass(59s);
  CHECK(unknown == kUnanswered);
  story.pass(1s);
  CHECK(unknown == ETIMEDOUT);
}

TEST_CASE("a cancelled call is told so at once, and its late answer is nobody's") {
  Story story;
  story.attach(7);
  int error = kUnanswered;
  const auto id = story.call(error);
  story.session->cancel(id);
  CHECK(error == ECANCELED);
  error = kUnanswered;
  story.session->answered(id.value, {});
  CHECK(error == kUnanswered);
}

TEST_CASE("an export that does not exist is reported as such and looked for rarely") {
  Story story;
  story.session->connected();
  story.session->answered(0, encode_error(ENOENT));
  CHECK(story.session->status().state == LinkState::refused);
  CHECK(story.session->refusal()->find("footage") != std::string::npos);
  story.pass(10s);
  CHECK(story.carrier.connects == 1);
  story.pass(21s);
  CHECK(story.carrier.connects == 2);
}

TEST_CASE("a number counts as unanswered until the call that carries it was answered") {
  Story story;
  story.attach(7);
  const auto first = story.session->number_call();
  const auto second = story.session->number_call();
  CHECK(second.lowest_unanswered == first.number);
  int error = kUnanswered;
  const auto id = story.call(error, first.number);
  story.session->answered(id.value, {});
  CHECK(story.session->number_call().lowest_unanswered == second.number);
}

TEST_CASE("calls far ahead of one that is slow wait for it, for the server remembers so many") {
  Story story;
  story.attach(7);
  const auto unlink = [&] {
    return ask(*story.session, Priority::urgent, Unlink{{}, {"folder"}, "clip", false},
               [](const Result<Answer<RemoveReply>>&) {});
  };
  const CallId slow = unlink();
  for (std::uint64_t i = 1; i < Session::kNumbersAhead; ++i) {
    story.session->answered(unlink().value, encode_error(ENOENT));
  }
  story.carrier.sent.clear();
  const CallId waits = unlink();
  CHECK(story.carrier.sent.empty());
  story.session->answered(slow.value, encode_error(ENOENT));
  REQUIRE(story.carrier.sent.size() == 1);
  CHECK(story.carrier.sent[0].token == waits.value);
  const auto sent = std::get<Request>(decode_request(story.carrier.sent[0].body));
  CHECK(std::get<Unlink>(sent).call ==
        CallNumber{Session::kNumbersAhead + 1, Session::kNumbersAhead + 1});
}

TEST_CASE("when the mount is taken down every waiting call is told") {
  Story story;
  story.attach(7);
  int before = kUnanswered, after = kUnanswered;
  story.call(before, 0, Patience::patient);
  story.session->stop();
  CHECK(before == ENOTCONN);
  story.call(after);
  CHECK(after == kUnanswered);
  story.pass(1ms);
  CHECK(after == ENOTCONN);
}

TEST_CASE("a server that asks something this version does not know is answered ENOSYS") {
  Story story;
  story.attach(7);
  story.session->asked({3}, {1, 2, 3});
  REQUIRE(story.carrier.replies.size() == 1);
  CHECK(decode_reply<AttributesReply>(story.carrier.replies[0]).error().value() == ENOSYS);
}

TEST_CASE("notices are taken in the order of their numbers, after the answer to Attach") {
  Story story;
  std::vector<std::uint64_t> taken;
  story.session->on_notice([&](const Notice& notice) { taken.push_back(notice.number); });
  const auto arrives = [&](std::uint64_t number) {
    story.session->asked({number}, encode(Notice{number, false, {}}));
  };
  story.session->connected();
  arrives(2);
  arrives(1);
  CHECK(taken.empty());
  story.attach(7);
  CHECK(taken == std::vector<std::uint64_t>{1, 2});
  arrives(4);
  CHECK(taken.size() == 2);
  CHECK(story.carrier.replies.size() == 2);  // who waits is not answered yet
  arrives(3);
  CHECK(taken == std::vector<std::uint64_t>{1, 2, 3, 4});
  SECTION("and counted anew on each connection") {
    arrives(6);
    story.session->closed({transport::CloseCode::idle_timeout, false, ""});
    story.pass(1s);
    story.attach(7);
    arrives(1);
    CHECK(taken.back() == 1);
  }
  SECTION("and the end of a connection that they cannot be of") {
    SECTION("one that was taken") { arrives(4); }
    SECTION("one too far ahead") { arrives(5 + kMaxWaitingNotices); }
    SECTION("no notice at all") { story.session->asked({5}, {128}); }
    CHECK(taken.size() == 4);
    CHECK(story.carrier.disconnects == 1);
    story.pass(1s);
    CHECK(story.carrier.connects == 2);
  }
}

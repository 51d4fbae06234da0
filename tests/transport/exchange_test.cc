// Two Exchanges that hand each other their frames, with a hand on every packet between them.
#include "transport/messages/exchange.h"

#include <catch2/catch.hpp>

#include <numeric>

#include "tests/transport/exchange_feed.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

struct Packet {
  std::vector<std::uint8_t> payload;
  std::vector<SentFrame> frames;
};

struct End {
  explicit End(Role role, Bytes credit_limit = 256_MiB)
      : exchange({.role = role, .credit_limit = credit_limit, .peer_credit = initial()}) {}
  static std::array<Bytes, kPriorities> initial() {
    std::array<Bytes, kPriorities> credit;
    credit.fill(kInitialCredit);
    return credit;
  }
  /// The next packet; empty if there is nothing to send.
  Packet write(std::size_t room = 1200) {
    Packet packet;
    packet.payload.resize(room);
    FrameWriter writer(packet.payload);
    exchange.write(writer, packet.frames, now);
    packet.payload.resize(writer.size());
    return packet;
  }
  Violation take(const Packet& packet) {
    FrameReader reader(packet.payload, scratch);
    while (const auto frame = reader.next()) {
      const Violation violation = rushfs::testing::feed(exchange, *frame, now);
      if (violation) return violation;
    }
    REQUIRE_FALSE(reader.error());
    return std::nullopt;
  }
  void acknowledged(const Packet& packet) {
    for (const SentFrame& frame : packet.frames) exchange.on_acknowledged(frame);
  }
  void lost(const Packet& packet) {
    for (const SentFrame& frame : packet.frames) exchange.on_lost(frame);
  }
  template <class E>
  E expect() {
    auto event = exchange.poll(now);
    REQUIRE(event);
    return std::get<E>(std::move(*event));
  }

  Exchange exchange;
  TimePoint now{1s};
  std::vector<NumberRange> scratch;
};

/// Everything `from` has to send reaches `to` and is acknowledged. Packets that went.
std::size_t deliver(End& from, End& to) {
  std::size_t count = 0;
  for (;; ++count) {
    const Packet packet = from.write();
    if (packet.frames.empty()) return count;
    REQUIRE_FALSE(to.take(packet));
    from.acknowledged(packet);
  }
}

void deliver_both(End& a, End& b) {
  while (deliver(a, b) + deliver(b, a) > 0) {
  }
}

Buffer numbered(std::size_t size) {
  Buffer body(size);
  for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return body;
}

}  // namespace

TEST_CASE("a small urgent message is repeated once, later, if asked for and not acknowledged") {
  End client{Role::client};
  const auto ask = [&](Priority priority, std::size_t size) {
    client.exchange.request(priority, Buffer(size));
    return client.write();
  };
  ask(Priority::urgent, 100);
  CHECK_FALSE(client.exchange.deadline());  // the path is good
  client.exchange.set_repeat_spacing(5ms);
  ask(Priority::demand, 100);
  ask(Priority::urgent, 1100);
  CHECK_FALSE(client.exchange.deadline());
  const Packet first = ask(Priority::urgent, 100);
  const Packet second = ask(Priority::urgent, 100);
  client.acknowledged(second);
  REQUIRE(client.exchange.deadline() == client.now + 5ms);
  client.now += 4ms;
  client.exchange.tick(client.now);
  CHECK(client.write().frames.empty());
  client.now += 1ms;
  client.exchange.tick(client.now);
  const Packet again = client.write();
  REQUIRE(again.frames.size() == 1);
  CHECK(again.frames.front().id == first.frames.front().id);
  CHECK(again.payload == first.payload);
  CHECK_FALSE(client.exchange.deadline());
}

TEST_CASE("a request and its reply arrive whole, whatever their size") {
  const auto size = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{1000},
                             std::size_t{100'000}, std::size_t{4 << 20});
  End client(Role::client);
  End server(Role::server);
  const RequestId id = client.exchange.request(Priority::demand, numbered(size));
  deliver_both(client, server);
  const auto request = server.expect<RequestArrived>();
  CHECK(request.id == id);
  CHECK(request.priority == Priority::demand);
  CHECK(request.body == numbered(size));
  server.exchange.reply(id, numbered(size), server.now);
  deliver_both(client, server);
  const auto reply = client.expect<ReplyArrived>();
  CHECK(reply.id == id);
  CHECK(reply.body == numbered(size));
  CHECK_FALSE(client.exchange.poll(client.now));
  CHECK(client.exchange.messages_to_send() == 0);
  CHECK(server.exchange.messages_to_send() == 0);
  CHECK(client.exchange.bytes_held_for_peer() == 0);
  CHECK(server.exchange.bytes_held_for_peer() == 0);
}

TEST_CASE("parts in any order and twice make the message once") {
  End client(Role::client);
  End server(Role::server);
  client.exchange.request(Priority::ahead, numbered(50'000));
  std::vector<Packet> packets;
  for (Packet packet = client.write(); !packet.frames.empty(); packet = client.write()) {
    packets.push_back(packet);
  }
  for (auto packet = packets.rbegin(); packet != packets.rend(); ++packet) {
    REQUIRE_FALSE(server.take(*packet));
    REQUIRE_FALSE(server.take(*packet));
  }
  for (const Packet& packet : packets) REQUIRE_FALSE(server.take(packet));
  CHECK(server.expect<RequestArrived>().body == numbered(50'000));
  CHECK_FALSE(server.exchange.poll(server.now));
}

TEST_CASE("only what was lost is sent again, before anything new of its class") {
  End client(Role::client);
  End server(Role::server);
  client.exchange.request(Priority::behind, numbered(10'000));
  client.exchange.request(Priority::behind, numbered(10'000));
  const Packet first = client.write();
  const Packet second = client.write();
  client.acknowledged(second);
  client.lost(first);
  client.lost(second);  // a late verdict on what had arrived
  const Packet again = client.write();
  REQUIRE(!again.frames.empty());
  CHECK(again.frames.front().offset == first.frames.front().offset);
  CHECK(again.frames.front().length == first.frames.front().length);
  const Packet next = client.write();
  CHECK(next.frames.front().offset == second.frames.front().offset + second.frames.front().length);
  CHECK(client.exchange.bytes_retransmitted() == first.frames.front().length);
}

TEST_CASE("a message of a higher class overtakes those of lower ones") {
  End client(Role::client);
  End server(Role::server);
  const RequestId bulk = client.exchange.request(Priority::behind, numbered(100'000));
  const Packet started = client.write();
  CHECK(started.frames.front().id == bulk.value);
  const RequestId ahead = client.exchange.request(Priority::ahead, numbered(2000));
  const RequestId urgent = client.exchange.request(Priority::urgent, numbered(50));
  CHECK(client.exchange.next_is_urgent());
  const Packet packet = client.write();
  REQUIRE(packet.frames.size() == 2);
  CHECK(packet.frames[0].id == urgent.value);
  CHECK(packet.frames[1].id == ahead.value);
  CHECK_FALSE(client.exchange.next_is_urgent());
}

TEST_CASE("small replies do not starve behind bulk of a higher class") {
  End client(Role::client);
  End server(Role::server);
  const RequestId write = client.exchange.request(Priority::behind, numbered(10));
  const RequestId read = client.exchange.request(Priority::ahead, numbered(10));
  deliver_both(client, server);
  server.exchange.reply(read, numbered(100'000), server.now);
  CHECK(server.write().frames.front().id == read.value);
  server.exchange.reply(write, numbered(100), server.now);
  const Packet packet = server.write();
  REQUIRE(packet.frames.size() == 2);
  CHECK(packet.frames[0].id == write.value);
  CHECK(packet.frames[1].id == read.value);
}

TEST_CASE("what waits for credit does not hold up other classes") {
  End client(Role::client);
  End server(Role::server);
  for (int i = 0; i < 5; ++i) client.exchange.request(Priority::urgent, numbered(4 << 20));
  client.exchange.request(Priority::behind, numbered(100));
  deliver_both(client, server);
  CHECK(client.exchange.is_held_back());
  std::vector<RequestArrived> arrived;
  while (auto event = server.exchange.poll(server.now)) {
    arrived.push_back(std::get<RequestArrived>(std::move(*event)));
  }
  CHECK(arrived.size() == 4);  // three urgent ones fit 16 MiB with their overhead
  for (const auto& request : arrived) server.exchange.reply(request.id, {}, server.now);
  deliver_both(client, server);
  CHECK(std::get<RequestArrived>(*server.exchange.poll(server.now)).body.size() == 4 << 20);
  CHECK_FALSE(client.exchange.is_held_back());
}

TEST_CASE("two ends that are full of each other's requests can still answer") {
  End client(Role::client);
  End server(Role::server);
  for (int i = 0; i < 6; ++i) {
    client.exchange.request(Priority::demand, numbered(4 << 20));
    server.exchange.request(Priority::demand, numbered(4 << 20));
  }
  int answered = 0;
  for (int round = 0; round < 20; ++round) {
    deliver_both(client, server);
    for (End* end : {&client, &server}) {
      while (auto event = end->exchange.poll(end->now)) {
        if (auto* request = std::get_if<RequestArrived>(&*event)) {
          end->exchange.reply(request->id, std::move(request->body), end->now);
        } else {
          ++answered;
        }
      }
    }
  }
  CHECK(answered == 12);
}

TEST_CASE("a cancelled request ends on both sides, however far it had come") {
  End client(Role::client);
  End server(Role::server);
  const RequestId id = client.exchange.request(Priority::demand, numbered(20'000));
  const auto settle = [&] {
    deliver_both(client, server);
    CHECK_FALSE(client.exchange.poll(client.now));
    CHECK(client.exchange.messages_to_send() == 0);
    CHECK(server.exchange.messages_to_send() == 0);
    CHECK(client.exchange.bytes_held_for_peer() == 0);
    CHECK(server.exchange.bytes_held_for_peer() == 0);
  };
  SECTION("not started") {
    client.exchange.cancel(id, client.now);
    settle();
    CHECK_FALSE(server.exchange.poll(server.now));
  }
  SECTION("half sent") {
    REQUIRE_FALSE(server.take(client.write()));
    client.exchange.cancel(id, client.now);
    settle();
    CHECK_FALSE(server.exchange.poll(server.now));
  }
  SECTION("sent, and none of it arrived but the CANCEL") {
    const Packet lost = client.write();
    client.exchange.cancel(id, client.now);
    settle();
    REQUIRE_FALSE(server.take(lost));  // late: the number is used up
    CHECK_FALSE(server.exchange.poll(server.now));
  }
  SECTION("delivered") {
    deliver_both(client, server);
    server.expect<RequestArrived>();
    client.exchange.cancel(id, client.now);
    deliver_both(client, server);
    CHECK(server.expect<RequestCancelled>().id == id);
    CHECK(server.exchange.bytes_held_for_peer() > 0);  // the application still has its body
    server.exchange.reply(id, numbered(100), server.now);  // goes nowhere
    settle();
    server.exchange.reply(id, numbered(100), server.now);  // harmless
    settle();
  }
  SECTION("reply under way") {
    deliver_both(client, server);
    server.expect<RequestArrived>();
    server.exchange.reply(id, numbered(100'000), server.now);
    REQUIRE_FALSE(client.take(server.write()));
    client.exchange.cancel(id, client.now);
    settle();
  }
  SECTION("reply under way, none of it arrived") {
    deliver_both(client, server);
    server.expect<RequestArrived>();
    server.exchange.reply(id, numbered(100'000), server.now);
    server.write();
    client.exchange.cancel(id, client.now);
    settle();
  }
  SECTION("the last of the reply crosses the CANCEL") {
    deliver_both(client, server);
    server.expect<RequestArrived>();
    server.exchange.reply(id, numbered(100), server.now);
    const Packet reply = server.write();
    client.exchange.cancel(id, client.now);
    REQUIRE_FALSE(client.take(reply));
    server.acknowledged(reply);
    settle();
  }
  SECTION("answered, but not yet looked at") {
    deliver_both(client, server);
    server.expect<RequestArrived>();
    server.exchange.reply(id, numbered(100), server.now);
    deliver_both(client, server);
    client.exchange.cancel(id, client.now);
    settle();
  }
  const RequestId next = client.exchange.request(Priority::demand, numbered(10));
  deliver_both(client, server);
  while (auto event = server.exchange.poll(server.now)) {
    if (auto* request = std::get_if<RequestArrived>(&*event)) CHECK(request->id == next);
  }
}

TEST_CASE("CANCEL and RESET survive their loss") {
  End client(Role::client);
  End server(Role::server);
  const RequestId id = client.exchange.request(Priority::demand, numbered(100));
  deliver_both(client, server);
  client.exchange.cancel(id, client.now);
  client.lost(client.write());
  const Packet cancel = client.write();
  REQUIRE(cancel.frames.size() == 1);
  REQUIRE_FALSE(server.take(cancel));
  server.lost(server.write());
  const Packet reset = server.write();
  REQUIRE(reset.frames.size() == 1);
  REQUIRE_FALSE(client.take(reset));
  client.lost(cancel);  // a late verdict: the request is over
  CHECK(client.write().frames.empty());
}

namespace {

/// A peer that sends messages of a MiB as fast as its credit lets it.
struct Peer {
  explicit Peer(Bytes limit) : credit(limit) {}
  /// One more has begun. False: no credit for it.
  bool begin() {
    if (granted < charged + kCharge) return false;
    REQUIRE(credit.charge(window, kCharge));
    charged += kCharge;
    while (const auto news = credit.take_news()) granted = news->limit;
    return true;
  }
  void arrive() { credit.arrived(window, kCharge); }
  void take(Duration later) {
    now += later;
    credit.release(window, kCharge, 100ms, now);
    released += kCharge;
    while (const auto news = credit.take_news()) granted = news->limit;
  }
  std::uint64_t size() const { return credit.window(window); }

  static constexpr std::uint64_t kCharge = 1 << 20;
  const CreditWindow window{MessageKind::request, Priority::behind};
  ReceiveCredit credit;
  std::uint64_t granted = kInitialCredit.count, charged = 0, released = 0;
  TimePoint now{1s};
};

}  // namespace

TEST_CASE("a credit window is doubled as soon as the path is seen to be faster than it") {
  Peer peer(256_MiB);
  const auto move = [&](int mebibytes, Duration each) {
    for (int i = 0; i < mebibytes; ++i) {
      REQUIRE(peer.begin());
      peer.arrive();
      peer.take(each);
    }
  };
  move(4, 50ms);  // a quarter of it in two round trips
  CHECK(peer.size() == kInitialCredit.count);
  move(4, 30ms);
  CHECK(peer.size() == 2 * kInitialCredit.count);
  move(100, 1ms);
  CHECK(peer.size() == 128_MiB .count);  // eight windows stay below 256 MiB
  Peer bounded(48_MiB);
  CHECK(bounded.size() == kInitialCredit.count);
}

TEST_CASE("a credit window that the application fills follows how fast it is emptied") {
  Peer peer(256_MiB);
  REQUIRE(peer.begin());
  peer.arrive();
  peer.take(1ms);
  const auto empty_after = [&](Duration pause) {
    while (peer.begin()) peer.arrive();
    peer.take(pause);
    for (const auto filled = peer.charged; peer.released < filled;) peer.take(0ms);
  };
  empty_after(10s);  // in one lump, which is no sign of speed
  CHECK(peer.size() == kInitialCredit.count / 2);
  for (int i = 0; i < 3; ++i) empty_after(1s);
  CHECK(peer.size() == kMinCredit.count);
  for (int i = 0; i < 8; ++i) empty_after(300ms);
  CHECK(peer.size() >= kInitialCredit.count);
}

TEST_CASE("a lost CREDIT is repeated with the newest limit") {
  End client(Role::client);
  End server(Role::server);
  for (int i = 0; i < 2; ++i) client.exchange.request(Priority::behind, numbered(4 << 20));
  deliver(client, server);
  server.exchange.reply(server.expect<RequestArrived>().id, {}, server.now);
  const Packet first = server.write();
  server.exchange.reply(server.expect<RequestArrived>().id, {}, server.now);
  server.lost(first);
  const Packet second = server.write();
  const auto credit = std::find_if(second.frames.begin(), second.frames.end(), [](const auto& f) {
    return f.kind == SentFrame::Kind::credit;
  });
  REQUIRE(credit != second.frames.end());
  CHECK(credit->id == kInitialCredit.count + 2 * kMaxCharge);
}

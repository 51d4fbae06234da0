#include "transport/wire/frames.h"

#include <catch2/catch.hpp>

using namespace rushfs::transport;
using namespace std::chrono_literals;
using Payload = std::vector<std::uint8_t>;

namespace {

Payload written(const std::function<void(FrameWriter&)>& write, std::size_t room = 1200) {
  Payload payload(room);
  FrameWriter writer(payload);
  write(writer);
  payload.resize(writer.size());
  return payload;
}

struct Parsed {
  std::vector<Frame> frames;
  std::vector<NumberRange> ranges;
  std::optional<std::string_view> error;
};

Parsed parsed(const Payload& payload) {
  Parsed result;
  FrameReader reader(payload, result.ranges);
  while (const auto frame = reader.next()) result.frames.push_back(*frame);
  result.error = reader.error();
  return result;
}

template <class F>
F only(const Payload& payload) {
  const Parsed result = parsed(payload);
  REQUIRE_FALSE(result.error);
  REQUIRE(result.frames.size() == 1);
  return std::get<F>(result.frames.front());
}

}  // namespace

TEST_CASE("every frame is laid out as docs/protocol.md says") {
  const Payload data{0xaa, 0xbb, 0xcc};
  const RequestId id = make_request_id(false, Priority::demand, 3);
  CHECK(id.value == 26);
  CHECK(written([](FrameWriter& w) { w.ping(); }) == Payload{0x01});
  CHECK(written([](FrameWriter& w) { w.ack(25us, std::vector<NumberRange>{{8, 10}, {2, 5}}); }) ==
        Payload{0x02, 10, 25, 1, 2, 1, 3});
  CHECK(written([&](FrameWriter& w) { w.handshake_data(64, data); }) ==
        Payload{0x06, 0x40, 0x40, 3, 0xaa, 0xbb, 0xcc});
  CHECK(written([](FrameWriter& w) { w.path_challenge({1, 2, 3, 4, 5, 6, 7, 8}); }) ==
        Payload{0x1a, 1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(written([](FrameWriter& w) { w.path_response({1, 2, 3, 4, 5, 6, 7, 8}); }) ==
        Payload{0x1b, 1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(written([](FrameWriter& w) { w.close(CloseCode::key_revoked, "bye"); }) ==
        Payload{0x1c, 9, 3, 'b', 'y', 'e'});
  CHECK(written([](FrameWriter& w) { w.handshake_done({0xf0}); }) ==
        Payload{0x1e, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(written([&](FrameWriter& w) {
          w.message({MessageKind::request, id, 1000, 997, data});
        }) == Payload{0x30, 26, 0x43, 0xe8, 0x43, 0xe5, 3, 0xaa, 0xbb, 0xcc});
  CHECK(written([&](FrameWriter& w) { w.message({MessageKind::reply, id, 0, 0, {}}); }) ==
        Payload{0x31, 26, 0, 0, 0});
  CHECK(written([&](FrameWriter& w) { w.cancel({id, 300}); }) == Payload{0x32, 26, 0x41, 0x2c});
  CHECK(written([&](FrameWriter& w) { w.reset({id, 0}); }) == Payload{0x33, 26, 0});
  CHECK(written([](FrameWriter& w) {
          w.credit({{MessageKind::reply, Priority::behind}, 1 << 24});
        }) == Payload{0x34, 7, 0x81, 0, 0, 0});
  CHECK(written([](FrameWriter& w) { w.rate({2, RatePolicy::low, 100'000'000, 5}); }) ==
        Payload{0x35, 2, 3, 0x85, 0xf5, 0xe1, 0, 5});
  CHECK(written([](FrameWriter& w) { w.sending({SendLimit::random_loss, 1 << 24, 150}); }) ==
        Payload{0x36, 2, 0x81, 0, 0, 0, 0x40, 0x96});
}

TEST_CASE("what was written is read back") {
  const Payload data(100, 0x55);
  const RequestId id = make_request_id(true, Priority::behind, 1'000'000);
  const auto message = only<MessageFrame>(written([&](FrameWriter& w) {
    w.message({MessageKind::reply, id, 4 << 20, 1 << 20, data});
  }));
  CHECK(message.kind == MessageKind::reply);
  CHECK(message.id == id);
  CHECK(is_of_server(message.id));
  CHECK(priority_of(message.id) == Priority::behind);
  CHECK(count_of(message.id) == 1'000'000);
  CHECK(message.total == 4 << 20);
  CHECK(message.offset == 1 << 20);
  CHECK(message.data.size() == 100);
  const auto credit = only<CreditFrame>(written([](FrameWriter& w) {
    w.credit({{MessageKind::request, Priority::ahead}, 123'456'789'012});
  }));
  CHECK(credit.window == CreditWindow{MessageKind::request, Priority::ahead});
  CHECK(credit.limit == 123'456'789'012);
  const auto close = only<CloseFrame>(written([](FrameWriter& w) {
    w.close(CloseCode::protocol_violation, std::string(1000, 'x'));
  }));
  CHECK(close.code == CloseCode::protocol_violation);
  CHECK(close.text.size() == kMaxCloseText);
}

TEST_CASE("an ACK carries as many ranges as fit, newest first") {
  std::vector<NumberRange> ranges;
  for (std::uint64_t i = 500; i > 0; --i) ranges.push_back({10 * i, 10 * i + 3});
  const auto room = GENERATE(12, 50, 300, 1200);
  const Payload payload = written([&](FrameWriter& w) { CHECK(w.ack(1ms, ranges)); },
                                  static_cast<std::size_t>(room));
  const Parsed result = parsed(payload);
  REQUIRE_FALSE(result.error);
  const auto& ack = std::get<AckFrame>(result.frames.front());
  CHECK(ack.delay == 1ms);
  REQUIRE(!ack.ranges.empty());
  CHECK(ack.ranges.size() <= kMaxAckRanges);
  CHECK(std::equal(ack.ranges.begin(), ack.ranges.end(), ranges.begin()));
}

TEST_CASE("a message is cut to the room there is, and never to nothing") {
  const Payload data(5000, 1);
  const RequestId id = make_request_id(false, Priority::urgent, 0);
  for (std::size_t room = 0; room < 40; ++room) {
    Payload space(room);
    FrameWriter writer(space);
    const auto count = writer.message({MessageKind::request, id, 5000, 0, data});
    if (count) {
      CHECK(*count > 0);
      CHECK(writer.size() <= room);
    } else {
      CHECK(writer.size() == 0);
      CHECK(room < 10);
    }
  }
}

TEST_CASE("what a correct peer does not write is refused with a sentence") {
  const auto fails = [](const Payload& payload, const std::string& words) {
    const Parsed result = parsed(payload);
    REQUIRE(result.error);
    CAPTURE(*result.error);
    CHECK(result.error->find(words) != std::string_view::npos);
  };
  fails({0x03}, "unknown type");
  fails({0x02, 5, 0, 0}, "ends early");
  fails({0x02, 5, 0, 0, 6}, "below zero");
  fails({0x02, 5, 0, 1, 0, 4, 0}, "below zero");
  fails({0x02, 0x43, 0xe8, 0, 0x41, 0x00, 0}, "too many ranges");
  fails({0x06, 0, 5, 1, 2}, "ends early");
  fails({0x1a, 1, 2, 3}, "ends early");
  fails({0x1c, 0, 9, 'x'}, "ends early");
  fails({0x30, 0, 4, 5, 0}, "beyond its own end");
  fails({0x30, 0, 4, 2, 3, 1, 2, 3}, "beyond its own end");
  fails({0x30, 0, 4, 2, 0}, "without any bytes");
  fails({0x30, 0, 0x80, 0x40, 0x00, 0x01, 0, 1, 1}, "larger than 4 MiB");
  fails({0x32, 0}, "ends early");
  fails({0x34, 8, 1}, "unknown window");
}

TEST_CASE("padding and pings ask for nothing but a ping for an answer") {
  const Parsed result = parsed({0, 0, 0, 0x01, 0, 0});
  REQUIRE(result.frames.size() == 3);
  CHECK_FALSE(is_ack_eliciting(result.frames[0]));
  CHECK(is_ack_eliciting(result.frames[1]));
}

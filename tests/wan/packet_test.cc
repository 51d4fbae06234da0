#include "tests/wan/packet.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>

using namespace rushfs::wan;

namespace {

void put16(std::vector<std::uint8_t>& b, std::size_t at, std::size_t value) {
  b[at] = static_cast<std::uint8_t>(value >> 8);
  b[at + 1] = static_cast<std::uint8_t>(value);
}
std::size_t get16(const std::vector<std::uint8_t>& b, std::size_t at) {
  return static_cast<std::size_t>(b[at] << 8 | b[at + 1]);
}

/// A packet as a kernel hands it over: lengths right, transport checksum left to the device.
struct Maker {
  bool ipv6 = false;
  bool tcp = true;
  std::size_t payload = 3500;
  std::uint16_t segment = 1000;
  std::uint32_t sequence = 1'000'000;
  std::uint8_t tcp_flags = 0x18;  // PSH, ACK

  std::size_t ip() const { return ipv6 ? 40 : 20; }
  std::size_t headers() const { return ip() + (tcp ? 20 : 8); }

  std::shared_ptr<const Frame> make() const {
    std::vector<std::uint8_t> b(headers() + payload);
    std::iota(b.begin() + static_cast<std::ptrdiff_t>(headers()), b.end(), std::uint8_t{0});
    const std::uint8_t protocol = tcp ? 6 : 17;
    if (ipv6) {
      b[0] = 0x60;
      put16(b, 4, b.size() - 40);
      b[6] = protocol;
      b[7] = 64;
      b[23] = 1;
      b[39] = 2;
    } else {
      const std::vector<std::uint8_t> fixed{0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol,
                                            0,    0, 10, 77, 0, 1, 10, 77, 0, 2};
      std::copy(fixed.begin(), fixed.end(), b.begin());
      put16(b, 2, b.size());
      put16(b, 10, static_cast<std::uint16_t>(~checksum(std::span(b).first(20))));
    }
    put16(b, ip(), 5000);
    put16(b, ip() + 2, 7874);
    if (tcp) {
      put16(b, ip() + 4, sequence >> 16);
      put16(b, ip() + 6, sequence & 0xffff);
      b[ip() + 12] = 0x50;
      b[ip() + 13] = tcp_flags;
    } else {
      put16(b, ip() + 4, b.size() - ip());
    }
    OffloadHeader offload;
    offload.flags = OffloadHeader::kNeedsChecksum;
    offload.checksum_start = static_cast<std::uint16_t>(ip());
    offload.checksum_offset = tcp ? 16 : 6;
    put16(b, ip() + offload.checksum_offset, pseudo_sum(b));
    if (segment != 0) {
      offload.gso_type = !tcp ? OffloadHeader::kUdp
                         : ipv6 ? OffloadHeader::kTcp6
                                : OffloadHeader::kTcp4;
      offload.gso_size = segment;
    }
    return parse(offload, b);
  }

  std::uint16_t pseudo_sum(const std::vector<std::uint8_t>& b) const {
    const auto addresses = ipv6 ? std::span(b).subspan(8, 32) : std::span(b).subspan(12, 8);
    return checksum(addresses, (tcp ? 6u : 17u) + static_cast<unsigned>(b.size() - ip()));
  }
};

std::vector<Segment> segments_of(const Maker& maker) {
  std::vector<Segment> out;
  split(maker.make(), out);
  return out;
}

std::vector<std::uint8_t> joined(const Outgoing& out) {
  std::vector<std::uint8_t> bytes = out.headers;
  for (const auto part : out.payload) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

/// What a receiver checks: header and transport checksums over the packet are right.
bool checksums_hold(const Maker& maker, const std::vector<std::uint8_t>& b) {
  if (!maker.ipv6 && checksum(std::span(b).first(20)) != 0xffff) return false;
  return checksum(std::span(b).subspan(maker.ip()), maker.pseudo_sum(b)) == 0xffff;
}

const std::vector<Maker> kKinds{{false, true}, {true, true}, {false, false}, {true, false}};

}  // namespace

TEST_CASE("every segment of a super-packet is a correct packet of its own") {
  for (const Maker& maker : kKinds) {
    const auto segments = segments_of(maker);
    REQUIRE(segments.size() == 4);
    std::vector<std::uint8_t> payload;
    for (std::size_t i = 0; i < 4; ++i) {
      const auto b = materialise(segments[i], 0);
      CHECK(b.size() == segments[i].size());
      CHECK(b.size() == maker.headers() + (i < 3 ? 1000 : 500));
      CHECK(checksums_hold(maker, b));
      CHECK(get16(b, maker.ipv6 ? 4 : 2) == b.size() - (maker.ipv6 ? 40 : 0));
      if (!maker.ipv6) CHECK(get16(b, 4) == 0x1234 + i);
      if (maker.tcp) {
        CHECK((get16(b, maker.ip() + 4) << 16 | get16(b, maker.ip() + 6)) == 1'000'000 + 1000 * i);
        CHECK(b[maker.ip() + 13] == (i < 3 ? 0x10 : 0x18));  // PSH belongs to the last
      } else {
        CHECK(get16(b, maker.ip() + 4) == b.size() - maker.ip());
      }
      payload.insert(payload.end(), b.begin() + static_cast<std::ptrdiff_t>(maker.headers()),
                     b.end());
    }
    std::vector<std::uint8_t> expected(3500);
    std::iota(expected.begin(), expected.end(), std::uint8_t{0});
    CHECK(payload == expected);
  }
}

TEST_CASE("segments that all survive leave as the super-packet they came as") {
  for (const Maker& maker : kKinds) {
    const auto frame = maker.make();
    Grouper grouper(true);
    for (const Segment& segment : segments_of(maker)) {
      REQUIRE(grouper.accepts(segment));
      grouper.add(segment);
    }
    const Outgoing out = grouper.build();
    CHECK(joined(out) == frame->bytes);
    CHECK(out.payload.size() == 1);  // in one piece: nothing was copied
    CHECK(out.offload.gso_type == frame->offload.gso_type);
    CHECK(out.offload.gso_size == 1000);
  }
}

TEST_CASE("a lost segment splits the super-packet in two") {
  const Maker maker{};
  const auto segments = segments_of(maker);
  Grouper grouper(true);
  grouper.add(segments[0]);
  CHECK_FALSE(grouper.accepts(segments[2]));
  CHECK_FALSE(grouper.accepts(segments[0]));  // a duplicate
  grouper.clear();
  grouper.add(segments[2]);
  grouper.add(segments[3]);
  const auto b = joined(grouper.build());
  CHECK(b.size() == 40 + 1500);
  CHECK(get16(b, 2) == 1540);
  CHECK(get16(b, 4) == 0x1236);
  CHECK((get16(b, 24) << 16 | get16(b, 26)) == 1'002'000);
  CHECK(get16(b, 36) == maker.pseudo_sum(b));
}

TEST_CASE("packets that were sent singly are joined when they continue each other") {
  for (Maker maker : kKinds) {
    maker.segment = 0;
    maker.payload = 1000;
    maker.tcp_flags = 0x10;
    const Segment first = segments_of(maker).front();
    maker.sequence += 1000;
    const Segment second = segments_of(maker).front();
    maker.sequence += 1;
    const Segment gap = segments_of(maker).front();
    Grouper grouper(true);
    grouper.add(first);
    REQUIRE(grouper.accepts(second));
    grouper.add(second);
    CHECK(joined(grouper.build()).size() == maker.headers() + 2000);
    CHECK(grouper.accepts(gap) == !maker.tcp);  // UDP has no order to keep
    Grouper old_kernel(false);
    old_kernel.add(first);
    CHECK(old_kernel.accepts(second) == maker.tcp);
  }
}

TEST_CASE("nothing is joined behind a shorter packet, a push, or another flow") {
  Maker maker{};
  maker.segment = 0;
  maker.payload = 1000;
  Grouper grouper(true);
  grouper.add(segments_of(maker).front());  // PSH is set
  maker.sequence += 1000;
  CHECK_FALSE(grouper.accepts(segments_of(maker).front()));

  Maker datagram{false, false, 600, 0};
  grouper.clear();
  grouper.add(segments_of(datagram).front());
  datagram.payload = 700;
  CHECK_FALSE(grouper.accepts(segments_of(datagram).front()));
  datagram.payload = 600;
  datagram.ipv6 = true;
  CHECK_FALSE(grouper.accepts(segments_of(datagram).front()));
}

TEST_CASE("damage is one bit, seen by the checksum unless it is to stay silent") {
  for (const Maker& maker : kKinds) {
    for (const bool silent : {false, true}) {
      Segment segment = segments_of(maker).at(1);
      const auto whole = materialise(segment, 0);
      segment.corrupt = true;
      segment.fix_checksum = silent;
      const auto damaged = materialise(segment, 0x1234567890abcdefu);
      CHECK(checksums_hold(maker, damaged) == silent);
      CHECK(std::memcmp(whole.data(), damaged.data(), maker.ip()) == 0);
      CHECK(whole != damaged);
    }
  }
}

TEST_CASE("what is not understood is handed on as it came") {
  std::vector<std::uint8_t> b(100, 0x45);
  b[6] = 0x20;  // a fragment
  b[9] = 17;
  for (const auto& bytes : {b, std::vector<std::uint8_t>{}, std::vector<std::uint8_t>{0x60, 1},
                            std::vector<std::uint8_t>(25, 0x46)}) {
    std::vector<Segment> segments;
    split(parse({}, bytes), segments);
    REQUIRE(segments.size() == 1);
    CHECK(segments[0].size() == bytes.size());
    CHECK(materialise(segments[0], 0) == bytes);
  }
}

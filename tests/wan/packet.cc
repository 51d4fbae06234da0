#include "tests/wan/packet.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace rushfs::wan {

namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17;
constexpr std::uint8_t kFin = 0x01, kPush = 0x08, kCongestionWindowReduced = 0x80;
constexpr std::size_t kTcpFlags = 13, kTcpChecksum = 16, kUdpLength = 4, kUdpChecksum = 6;
constexpr std::size_t kMostSegments = 64;  // what older kernels take in one UDP super-packet
constexpr std::size_t kLargestPacket = 65535;

std::uint16_t load16(const std::uint8_t* p) { return static_cast<std::uint16_t>(p[0] << 8 | p[1]); }
std::uint32_t load32(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(load16(p)) << 16 | load16(p + 2);
}
void store16(std::uint8_t* p, std::size_t value) {
  p[0] = static_cast<std::uint8_t>(value >> 8);
  p[1] = static_cast<std::uint8_t>(value);
}
void store32(std::uint8_t* p, std::uint32_t value) {
  store16(p, value >> 16);
  store16(p + 2, value & 0xffff);
}

std::size_t checksum_offset(Frame::Kind kind) {
  return kind == Frame::Kind::tcp ? kTcpChecksum : kUdpChecksum;
}

/// Finds the transport header of an unfragmented TCP or UDP packet and its protocol.
std::optional<std::pair<std::uint16_t, std::uint8_t>> find_transport(const Frame& frame) {
  const auto& b = frame.bytes;
  if (!frame.ipv6) {
    if (b.size() < 20 || (load16(&b[6]) & 0x3fff) != 0) return std::nullopt;
    return std::pair{static_cast<std::uint16_t>((b[0] & 0x0f) * 4), b[9]};
  }
  if (b.size() < 40) return std::nullopt;
  if (b[6] == kTcp || b[6] == kUdp) return std::pair{std::uint16_t{40}, b[6]};
  if (!frame.checksum_pending()) return std::nullopt;
  const bool tcp = frame.offload.checksum_offset == kTcpChecksum;  // behind extension headers
  return std::pair{frame.offload.checksum_start, tcp ? kTcp : kUdp};
}

void understand(Frame& frame) {
  const auto& b = frame.bytes;
  if (b.empty()) return;
  frame.ipv6 = b[0] >> 4 == 6;
  const auto found = find_transport(frame);
  if (!found || (found->second != kTcp && found->second != kUdp)) return;
  const std::size_t transport = found->first;
  std::size_t payload = transport + 8;
  if (found->second == kTcp) {
    if (transport + 20 > b.size()) return;
    payload = transport + std::size_t{4} * (b[transport + 12] >> 4);
  }
  if (payload > b.size() || payload > kLargestHeaders) return;
  frame.kind = found->second == kTcp ? Frame::Kind::tcp : Frame::Kind::udp;
  frame.transport_offset = static_cast<std::uint16_t>(transport);
  frame.payload_offset = static_cast<std::uint16_t>(payload);
  if (frame.offload.gso_type != OffloadHeader::kNoSegments) {
    frame.segment_size = frame.offload.gso_size;
  }
}

std::uint8_t tcp_flags(const Frame& frame) {
  return frame.bytes[frame.transport_offset + kTcpFlags];
}

/// The flow and everything else that must be equal in packets that are joined.
bool same_headers(const Frame& a, const Frame& b) {
  if (a.kind != b.kind || a.ipv6 != b.ipv6 || a.payload_offset != b.payload_offset ||
      a.transport_offset != b.transport_offset) {
    return false;
  }
  const auto equal = [&](std::size_t from, std::size_t to) {
    return std::memcmp(&a.bytes[from], &b.bytes[from], to - from) == 0;
  };
  const std::size_t t = a.transport_offset;
  // All but: total length, identification, header checksum (IPv4); payload length (IPv6).
  const bool ip = a.ipv6 ? equal(0, 4) && equal(6, t)
                         : equal(0, 2) && equal(6, 10) && equal(12, t);
  if (!ip) return false;
  if (a.kind == Frame::Kind::udp) return equal(t, t + kUdpLength);
  // All but: sequence number, FIN, PSH, checksum.
  constexpr std::uint8_t kMayDiffer = kFin | kPush;
  return equal(t, t + 4) && equal(t + 8, t + kTcpFlags) &&
         ((tcp_flags(a) ^ tcp_flags(b)) & ~kMayDiffer) == 0 && equal(t + 14, t + kTcpChecksum) &&
         equal(t + 18, a.payload_offset);
}

std::uint32_t sequence(const Segment& segment) {
  return load32(&segment.frame->bytes[segment.frame->transport_offset + 4u]) + segment.begin;
}

std::uint32_t length(const Segment& segment) { return segment.end - segment.begin; }

bool follows(const Segment& back, const Segment& next) {
  if (back.frame == next.frame) return next.index == back.index + 1;
  if (!same_headers(*back.frame, *next.frame)) return false;
  if (back.frame->kind == Frame::Kind::udp) return true;
  return sequence(next) == sequence(back) + length(back) &&
         (tcp_flags(*back.frame) & (kFin | kPush)) == 0 &&
         (tcp_flags(*next.frame) & kCongestionWindowReduced) == 0;
}

std::uint16_t pseudo_header_sum(const Frame& frame, std::span<const std::uint8_t> headers,
                                std::size_t transport_length) {
  const std::uint32_t protocol = frame.kind == Frame::Kind::tcp ? kTcp : kUdp;
  const auto addresses = frame.ipv6 ? headers.subspan(8, 32) : headers.subspan(12, 8);
  return checksum(addresses, protocol + static_cast<std::uint32_t>(transport_length));
}

void write_ip_header(std::vector<std::uint8_t>& h, const Frame& frame, std::size_t payload,
                     std::uint16_t index) {
  if (frame.ipv6) {
    store16(&h[4], h.size() - 40 + payload);
    return;
  }
  store16(&h[2], h.size() + payload);
  store16(&h[4], static_cast<std::uint16_t>(load16(&h[4]) + index));
  store16(&h[10], 0);
  const auto sum = checksum(std::span(h).first(frame.transport_offset));
  store16(&h[10], static_cast<std::uint16_t>(~sum));
}

void write_transport_header(std::vector<std::uint8_t>& h, const Segment& first,
                            const Segment& back, std::size_t payload) {
  const Frame& frame = *first.frame;
  std::uint8_t* transport = &h[frame.transport_offset];
  const std::size_t transport_length = h.size() - frame.transport_offset + payload;
  if (frame.kind == Frame::Kind::udp) {
    store16(transport + kUdpLength, transport_length);
  } else {
    store32(transport + 4, sequence(first));
    std::uint8_t flags = tcp_flags(*back.frame);
    if (!back.last) flags &= static_cast<std::uint8_t>(~(kFin | kPush));
    if (first.index > 0) flags &= static_cast<std::uint8_t>(~kCongestionWindowReduced);
    transport[kTcpFlags] = flags;
  }
  store16(transport + checksum_offset(frame.kind),
          pseudo_header_sum(frame, h, transport_length));
}

}  // namespace

std::uint32_t Segment::size() const { return frame->payload_offset + length(*this); }

std::shared_ptr<const Frame> parse(const OffloadHeader& offload, std::vector<std::uint8_t> bytes) {
  auto frame = std::make_shared<Frame>();
  frame->offload = offload;
  frame->bytes = std::move(bytes);
  understand(*frame);
  return frame;
}

void split(const std::shared_ptr<const Frame>& frame, std::vector<Segment>& out) {
  const auto payload = static_cast<std::uint32_t>(frame->bytes.size() - frame->payload_offset);
  const std::uint32_t step = frame->segment_size != 0 ? frame->segment_size : payload;
  std::uint16_t index = 0;
  std::uint32_t begin = 0;
  do {
    const std::uint32_t end = payload - begin > step ? begin + step : payload;
    out.push_back({frame, begin, end, index++, end == payload});
    begin = end;
  } while (begin < payload);
}

bool Grouper::accepts(const Segment& next) const {
  if (group_.empty()) return true;
  const Segment& first = group_.front();
  const Segment& back = group_.back();
  if (next.frame->kind == Frame::Kind::other || first.frame->kind == Frame::Kind::other ||
      !next.frame->checksum_pending() || !first.frame->checksum_pending()) {
    return false;
  }
  if (next.frame->kind == Frame::Kind::udp && !merge_udp_) return false;
  if (length(back) != length(first) || length(next) > length(first) || length(next) == 0) {
    return false;
  }
  if (group_.size() >= kMostSegments ||
      first.frame->payload_offset + payload_bytes_ + length(next) > kLargestPacket) {
    return false;
  }
  return follows(back, next);
}

void Grouper::add(Segment segment) {
  assert(accepts(segment));
  payload_bytes_ += length(segment);
  group_.push_back(std::move(segment));
}

void Grouper::clear() {
  group_.clear();
  payload_bytes_ = 0;
}

Outgoing Grouper::build() const {
  const Segment& first = group_.front();
  const Frame& frame = *first.frame;
  Outgoing out;
  const auto header_end = frame.bytes.begin() + frame.payload_offset;
  out.headers.assign(frame.bytes.begin(), header_end);
  for (const Segment& s : group_) {
    const std::span<const std::uint8_t> bytes(s.frame->bytes);
    const auto part = bytes.subspan(s.frame->payload_offset + s.begin, length(s));
    if (!out.payload.empty() &&
        out.payload.back().data() + out.payload.back().size() == part.data()) {
      out.payload.back() = {out.payload.back().data(), out.payload.back().size() + part.size()};
    } else {
      out.payload.push_back(part);
    }
  }
  if (!frame.checksum_pending()) return out;
  out.offload.flags = OffloadHeader::kNeedsChecksum;
  out.offload.checksum_start = frame.offload.checksum_start;
  out.offload.checksum_offset = frame.offload.checksum_offset;
  if (frame.kind == Frame::Kind::other) return out;
  write_ip_header(out.headers, frame, payload_bytes_, first.index);
  write_transport_header(out.headers, first, group_.back(), payload_bytes_);
  if (group_.size() > 1) {
    out.offload.gso_type = frame.kind == Frame::Kind::udp ? OffloadHeader::kUdp
                           : frame.ipv6                   ? OffloadHeader::kTcp6
                                                          : OffloadHeader::kTcp4;
    out.offload.gso_size = static_cast<std::uint16_t>(length(first));
    out.offload.header_length = frame.payload_offset;
  }
  return out;
}

std::uint16_t checksum(std::span<const std::uint8_t> bytes, std::uint32_t sum) {
  std::uint64_t total = sum;
  std::size_t i = 0;
  for (; i + 1 < bytes.size(); i += 2) total += load16(&bytes[i]);
  if (i < bytes.size()) total += static_cast<std::uint64_t>(bytes[i]) << 8;
  while (total >> 16) total = (total & 0xffff) + (total >> 16);
  return static_cast<std::uint16_t>(total);
}

std::vector<std::uint8_t> materialise(const Segment& segment, std::uint64_t random) {
  Grouper alone(false);
  alone.add(segment);
  const Outgoing out = alone.build();
  std::vector<std::uint8_t> packet = out.headers;
  for (const auto part : out.payload) packet.insert(packet.end(), part.begin(), part.end());

  const auto flip_behind = [&](std::size_t from) {
    if (from >= packet.size()) return;
    packet[from + random % (packet.size() - from)] ^=
        static_cast<std::uint8_t>(1u << (random >> 60 & 7));
  };
  const Frame& frame = *segment.frame;
  if (segment.corrupt && segment.fix_checksum) flip_behind(out.headers.size());
  if (out.offload.flags & OffloadHeader::kNeedsChecksum) {
    const std::size_t start = out.offload.checksum_start;
    const std::size_t field = start + out.offload.checksum_offset;
    assert(field + 2 <= packet.size());
    auto sum = static_cast<std::uint16_t>(~checksum(std::span(packet).subspan(start)));
    if (sum == 0 && frame.kind == Frame::Kind::udp) sum = 0xffff;
    store16(&packet[field], sum);
  }
  if (segment.corrupt && !segment.fix_checksum) {
    flip_behind(frame.kind == Frame::Kind::other ? (frame.ipv6 ? 40 : 20)
                                                 : frame.transport_offset);
  }
  return packet;
}

}  // namespace rushfs::wan

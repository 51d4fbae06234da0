// IP packets as a TUN device with a virtio-net header carries them: one packet, or a super-packet
// that stands for up to some forty (TSO, USO). A super-packet is taken apart into segments without
// copying, so that each can have its own fate; segments that are still side by side are put
// together again for the way out. Layouts: RFC 791, 8200, 9293, 768; virtio 1.2, section 5.1.6.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace rushfs::wan {

inline constexpr std::size_t kLargestHeaders = 256;  // IP and transport headers of what is split

/// struct virtio_net_hdr, whose own header <linux/virtio_net.h> is not C++. Host byte order.
struct OffloadHeader {
  static constexpr std::uint8_t kNeedsChecksum = 1;
  static constexpr std::uint8_t kNoSegments = 0, kTcp4 = 1, kTcp6 = 4, kUdp = 5;

  std::uint8_t flags = 0;
  std::uint8_t gso_type = kNoSegments;
  std::uint16_t header_length = 0;
  std::uint16_t gso_size = 0;         // payload bytes per segment
  std::uint16_t checksum_start = 0;   // where the sum begins ...
  std::uint16_t checksum_offset = 0;  // ... and how far behind that it is stored
};
static_assert(sizeof(OffloadHeader) == 10);

/// A packet as it was read. Immutable, shared by its segments.
struct Frame {
  OffloadHeader offload{};
  std::vector<std::uint8_t> bytes;
  enum class Kind : std::uint8_t { other, tcp, udp } kind = Kind::other;
  bool ipv6 = false;
  std::uint16_t transport_offset = 0;  // of the TCP or UDP header
  std::uint16_t payload_offset = 0;    // behind all headers; 0 for `other`
  std::uint16_t segment_size = 0;      // payload bytes per segment; 0: not a super-packet

  bool checksum_pending() const { return (offload.flags & OffloadHeader::kNeedsChecksum) != 0; }
};

/// One packet of the wire: all of a frame, or one slice of a super-packet's payload.
struct Segment {
  std::shared_ptr<const Frame> frame;
  std::uint32_t begin = 0;  // the payload slice, counted from Frame::payload_offset
  std::uint32_t end = 0;
  std::uint16_t index = 0;  // its place in the super-packet
  bool last = true;
  bool corrupt = false;         // to be damaged on the way out
  bool fix_checksum = false;    // so that the damage cannot be seen
  std::uint32_t size() const;   // of the IP packet
};

/// Understands a packet. Never fails: what it cannot read becomes Kind::other, handed on as is.
std::shared_ptr<const Frame> parse(const OffloadHeader& offload, std::vector<std::uint8_t> bytes);

/// The packets a frame stands for, in order.
void split(const std::shared_ptr<const Frame>& frame, std::vector<Segment>& out);

/// A packet or super-packet ready to be written: `offload`, then `headers`, then the payload parts.
struct Outgoing {
  OffloadHeader offload{};
  std::vector<std::uint8_t> headers;
  std::vector<std::span<const std::uint8_t>> payload;
};

/// Puts segments that follow each other (same flow, same headers, consecutive data, equal sizes
/// but for the last) together into super-packets.
class Grouper {
 public:
  /// `merge_udp`: the device takes UDP super-packets.
  explicit Grouper(bool merge_udp) : merge_udp_(merge_udp) {}

  /// Whether `next` can join the group held now; true for an empty group.
  bool accepts(const Segment& next) const;
  void add(Segment segment);
  bool empty() const { return group_.empty(); }
  /// The group as one packet; valid until clear().
  Outgoing build() const;
  void clear();

 private:
  bool merge_udp_;
  std::vector<Segment> group_;
  std::size_t payload_bytes_ = 0;
};

/// Internet checksum (RFC 1071) of `bytes` onto `sum`; folded, not complemented.
std::uint16_t checksum(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0);

/// The segment as a packet of its own with all checksums filled in; damaged by flipping one bit
/// chosen by `random` if it is marked corrupt.
std::vector<std::uint8_t> materialise(const Segment& segment, std::uint64_t random);

}  // namespace rushfs::wan

// The encoding of packet numbers (RFC 9000, appendix A). docs/protocol.md, "Packet numbers".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace rushfs::transport {

/// A packet is taken as long as no more than this many numbers above its own have been seen: behind
/// that nothing is remembered, and all count as duplicates. Larger than the reordering of any path
/// at 10 Gbit/s (2^18 packets: 290 ms).
inline constexpr std::uint64_t kDuplicateWindow = std::uint64_t{1} << 18;

/// Bytes that `number` needs, given the largest number the peer acknowledged (RFC 9000, A.2), to be
/// taken for what it is by a peer that has not seen it within kDuplicateWindow: 3 or 4.
std::size_t packet_number_length(std::uint64_t number,
                                 std::optional<std::uint64_t> largest_acknowledged);

/// The full number behind the `length` bytes that were sent of it (RFC 9000, A.3).
std::uint64_t decode_packet_number(std::optional<std::uint64_t> largest_received,
                                   std::uint64_t truncated, std::size_t length);

}  // namespace rushfs::transport

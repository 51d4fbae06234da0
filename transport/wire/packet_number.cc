#include "transport/wire/packet_number.h"

#include <algorithm>
#include <bit>

namespace rushfs::transport {

std::size_t packet_number_length(std::uint64_t number,
                                 std::optional<std::uint64_t> largest_acknowledged) {
  const std::uint64_t unacknowledged =
      largest_acknowledged ? number - *largest_acknowledged : number + 1;
  // Packets that leave after this one may overtake it.
  const std::uint64_t distance = std::max(unacknowledged, kDuplicateWindow);
  // One bit more than the distance, so that the receiver can tell both directions apart.
  const auto bits = static_cast<std::size_t>(std::bit_width(distance)) + 1;
  return std::min<std::size_t>((bits + 7) / 8, 4);
}

std::uint64_t decode_packet_number(std::optional<std::uint64_t> largest_received,
                                   std::uint64_t truncated, std::size_t length) {
  const std::uint64_t expected = largest_received ? *largest_received + 1 : 0;
  const std::uint64_t window = std::uint64_t{1} << (8 * length);
  const std::uint64_t half = window / 2;
  const std::uint64_t candidate = (expected & ~(window - 1)) | truncated;
  if (candidate + half <= expected && candidate < (std::uint64_t{1} << 62) - window) {
    return candidate + window;
  }
  if (candidate > expected + half && candidate >= window) return candidate - window;
  return candidate;
}

}  // namespace rushfs::transport

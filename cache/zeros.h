// Runs of zeros: what need be neither stored nor sent.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace rushfs::cache {

/// How many bytes at the beginning are zero.
inline std::size_t leading_zeros(std::span<const std::uint8_t> bytes) {
  std::size_t count = 0;
  for (std::uint64_t word = 0; count + sizeof word <= bytes.size(); count += sizeof word) {
    std::memcpy(&word, bytes.data() + count, sizeof word);
    if (word != 0) break;
  }
  while (count < bytes.size() && bytes[count] == 0) ++count;
  return count;
}

/// How many bytes at the end are zero.
inline std::size_t trailing_zeros(std::span<const std::uint8_t> bytes) {
  std::size_t left = bytes.size();
  for (std::uint64_t word = 0; left >= sizeof word; left -= sizeof word) {
    std::memcpy(&word, bytes.data() + left - sizeof word, sizeof word);
    if (word != 0) break;
  }
  while (left > 0 && bytes[left - 1] == 0) --left;
  return bytes.size() - left;
}

}  // namespace rushfs::cache

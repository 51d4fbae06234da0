// Bytes that tell where they came from.
#pragma once

#include <cstdint>
#include <random>

#include "cache/result.h"

namespace rushfs::cache {

inline Buffer bytes_from_seed(std::uint64_t seed, std::size_t length) {
  Buffer bytes(length);
  std::mt19937_64 random(seed);
  std::size_t i = 0;
  for (; i + 8 <= length; i += 8) {
    const std::uint64_t word = random();
    for (std::size_t k = 0; k < 8; ++k) bytes[i + k] = static_cast<std::uint8_t>(word >> (8 * k));
  }
  for (; i < length; ++i) bytes[i] = static_cast<std::uint8_t>(random());
  return bytes;
}

}  // namespace rushfs::cache

// Randomness as an argument: nothing pure draws its own.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace rushfs::transport {

/// Fills the span. Production passes the system's generator, tests a seeded one.
using RandomSource = std::function<void(std::span<std::uint8_t>)>;

}  // namespace rushfs::transport

// The time of the file loop's current turn. Nothing on the file loop reads a clock: whoever runs
// the loop sets this before it hands over an event (tests: whenever they like).
#pragma once

#include <chrono>
#include <cstdint>

#include "transport/units.h"

namespace rushfs::fs {

struct LoopTime {
  transport::TimePoint now{};        // monotonic: deadlines, validity
  std::chrono::nanoseconds wall{0};  // since 1970, for the times of files
};

}  // namespace rushfs::fs

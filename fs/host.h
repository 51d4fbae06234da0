// What only this host can say: its randomness, its clock, its name.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "transport/units.h"

namespace rushfs::fs {

/// Throws std::system_error where the kernel has none.
void system_random(std::span<std::uint8_t> bytes);
std::uint64_t random_number();
/// Time since 1970; may jump.
transport::Duration wall_clock();
/// "" where there is none.
std::string own_hostname();

}  // namespace rushfs::fs

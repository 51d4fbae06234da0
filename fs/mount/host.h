// What only this host can say: its randomness, its clock, its name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/units.h"

namespace rushfs::fs {

/// Throws std::system_error where the kernel has none.
void system_random(std::span<std::uint8_t> bytes);
std::uint64_t random_number();
/// Time since 1970; may jump.
transport::Duration wall_clock();
/// "" where there is none.
std::string own_hostname();
/// The supplementary groups of a thread on this host; none: it cannot be seen, or has ended.
std::optional<std::vector<std::uint32_t>> groups_of(std::int32_t thread);

}  // namespace rushfs::fs

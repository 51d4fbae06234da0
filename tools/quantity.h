// Amounts as people write them: 64G, 500M, 30s. Pure.
#pragma once

#include <string>
#include <string_view>

#include "transport/units.h"

namespace rushfs::tools {

// Each throws CommandError (usage) that quotes the text and says what would be right.

/// "64G", "500M", "4096", "1.5T": powers of 1024; a trailing B or iB is allowed.
transport::Bytes parse_size(std::string_view text);
/// "500M" is 500 Mbit/s, "2.5G" 2.5 Gbit/s: powers of 1000; a trailing bit/s or bps is allowed.
transport::BitRate parse_rate(std::string_view text);
/// "30", "30s", "500ms", "5m", "1h"; a bare number is seconds.
transport::Duration parse_duration(std::string_view text);

/// "1.5 GiB", "640 KiB", "12 B".
std::string format_size(transport::Bytes);
/// "487 Mbit/s", "1.20 Gbit/s"; "unlimited" for an infinite rate.
std::string format_rate(transport::BitRate);
/// "1.2 ms", "4.5 s", "3 min 20 s".
std::string format_duration(transport::Duration);

}  // namespace rushfs::tools

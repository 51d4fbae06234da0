// What known_hosts and authorized_keys have in common: one key per line as in SSH. A bad line is
// reported and ignored, never fatal. docs/protocol.md, "Identities".
//
// Pure.
#pragma once

#include <absl/functional/function_ref.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "transport/security/identity.h"

namespace rushfs::transport {

/// Limits of a trust file: far beyond honest use.
inline constexpr std::size_t kMaxTrustFile = 4u << 20;  // bytes; a larger file is refused
inline constexpr std::size_t kMaxTrustLine = 8192;      // bytes; a longer line is bad

/// A line that could not be used.
struct BadLine {
  std::size_t number = 0;  // from 1
  std::string reason;
};

// For the parsers.
namespace trust_lines {

/// Why a line is bad: thrown within for_each_line() alone.
struct LineError {
  std::string reason;
};

/// Calls `take` with each line that is neither empty nor a comment, without the blanks around it,
/// and returns those for which it throws LineError.
std::vector<BadLine> for_each_line(std::string_view text,
                                   absl::FunctionRef<void(std::string_view)> take);

/// What separates words.
inline constexpr std::string_view kBlank = " \t";
inline constexpr std::string_view kKeyType = "ssh-ed25519";

std::string_view trim(std::string_view text);
std::string lower(std::string_view text);
/// Takes the next word off the front of a line.
std::string_view take_word(std::string_view& line);
/// The same with `ssh-ed25519 BASE64`. Throws LineError.
PublicKey take_key(std::string_view& line);

}  // namespace trust_lines

}  // namespace rushfs::transport

// What peers say, made fit for terminals and logs.
#pragma once

#include <cstddef>
#include <string>

namespace rushfs::transport {

/// Control characters become question marks, also those of two bytes in UTF-8 (U+0080 to U+009F):
/// no peer writes lines of its own into a log, nor tells a terminal what to do.
inline std::string printable(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool second_of_two = byte >= 0x80 && byte < 0xa0 && i > 0 && text[i - 1] == '\xc2';
    if (byte < 0x20 || byte == 0x7f || second_of_two) text[i] = '?';
  }
  return text;
}

}  // namespace rushfs::transport

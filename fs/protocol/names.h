// What may be the name of something in a folder.
#pragma once

#include <string_view>

namespace rushfs::fs {

inline bool is_dots(std::string_view name) {
  return name == "." || name == "..";
}
/// Not the name of something in a folder: used as a path, it would lead elsewhere.
inline bool leads_away(std::string_view name) {
  return name.empty() || is_dots(name) || name.find('/') != name.npos ||
         name.find('\0') != name.npos;
}

}  // namespace rushfs::fs

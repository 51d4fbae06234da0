// Words shared by everything that is kept on local disk.
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rushfs::cache {

// Steady-state results carry an errno value in boost::system::generic_category().
template <class T>
using Result = boost::system::result<T>;

using Buffer = std::vector<std::uint8_t>;

// Opaque bytes made by the server that name a file for as long as it lives.
using NodeId = std::string;
inline constexpr std::size_t kMaximumNodeIdBytes = 160;

struct NodeIdHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view node) const {
    return std::hash<std::string_view>()(node);
  }
};
// Can be searched with a std::string_view.
template <class T>
using NodeMap = std::unordered_map<NodeId, T, NodeIdHash, std::equal_to<>>;

inline boost::system::error_code error_from_errno(int value) {
  return {value, boost::system::generic_category()};
}

}  // namespace rushfs::cache

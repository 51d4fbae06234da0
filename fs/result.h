// What may fail for a reason of the world's: a value, or an errno.
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

namespace rushfs::fs {

/// The error is an errno in boost::system::generic_category().
template <class T>
using Result = boost::system::result<T>;

inline boost::system::error_code errno_code(int error) {
  return {error, boost::system::generic_category()};
}

}  // namespace rushfs::fs

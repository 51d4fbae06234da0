// For tests of what only root may do.
#pragma once

#include <unistd.h>

#include <catch2/catch.hpp>

namespace rushfs::testing {

/// False, and said aloud: not root.
inline bool as_root() {
  if (::geteuid() == 0) return true;
  WARN("not tested: this needs root");
  return false;
}

}  // namespace rushfs::testing

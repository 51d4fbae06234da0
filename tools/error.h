// A command that cannot go on: what was tried, what went wrong, what to do about it.
#pragma once

#include <stdexcept>
#include <string>

#include "tools/exit_code.h"

namespace rushfs::tools {

class CommandError : public std::runtime_error {
 public:
  CommandError(ExitCode exit_code, const std::string& message)
      : std::runtime_error(message), exit_code_(exit_code) {}
  ExitCode exit_code() const { return exit_code_; }

 private:
  ExitCode exit_code_;
};

inline CommandError usage_error(const std::string& message) {
  return {ExitCode::usage, message};
}

}  // namespace rushfs::tools

// An open file descriptor with an owner; a path to what is open.
#pragma once

#include <unistd.h>

#include <string>
#include <utility>

namespace rushfs::fs {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// A path to what `fd` reaches, wherever it is now: for calls that take no descriptor, or none that
/// is O_PATH. Needs /proc.
inline std::string proc_path(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

}  // namespace rushfs::fs

#include "fs/host.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>

namespace rushfs::fs {

void system_random(std::span<std::uint8_t> bytes) {
  if (getentropy(bytes.data(), bytes.size()) != 0) {
    throw std::system_error(errno, std::generic_category(), "getentropy");
  }
}

std::uint64_t random_number() {
  std::array<std::uint8_t, 8> bytes;
  system_random(bytes);
  std::uint64_t value = 0;
  for (const auto byte : bytes) value = value << 8 | byte;
  return value;
}

transport::Duration wall_clock() {
  return std::chrono::system_clock::now().time_since_epoch();
}

std::string own_hostname() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace rushfs::fs

#include "fs/mount/host.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
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

std::optional<std::vector<std::uint32_t>> groups_of(std::int32_t thread) {
  std::ifstream status("/proc/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view kGroups = "Groups:";
    if (!line.starts_with(kGroups)) continue;
    std::istringstream numbers(line.substr(kGroups.size()));
    return std::vector<std::uint32_t>(std::istream_iterator<std::uint32_t>(numbers), {});
  }
  return std::nullopt;
}

}  // namespace rushfs::fs

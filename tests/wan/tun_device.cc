#include "tests/wan/tun_device.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <system_error>

#ifndef TUN_F_USO4  // Linux 6.2
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace rushfs::wan {

namespace {

constexpr std::size_t kLargestRead = 65536 + sizeof(OffloadHeader);
constexpr std::size_t kKeepWhole = 16384;  // smaller packets are copied to memory of their size

int check(int result, const std::string& what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

}  // namespace

TunDevice::TunDevice(const std::string& namespace_path, const std::string& name) : name_(name) {
  const int home = check(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC),
                         "open /proc/thread-self/ns/net");
  try {
    open_in_namespace(namespace_path);
  } catch (...) {
    ::setns(home, CLONE_NEWNET);
    ::close(home);
    throw;
  }
  check(::setns(home, CLONE_NEWNET), "return to the first network namespace");
  ::close(home);
}

void TunDevice::open_in_namespace(const std::string& namespace_path) {
  const int there = check(::open(namespace_path.c_str(), O_RDONLY | O_CLOEXEC),
                          "open network namespace " + namespace_path);
  const int entered = ::setns(there, CLONE_NEWNET);
  ::close(there);
  check(entered, "enter network namespace " + namespace_path);
  fd_ = check(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "open /dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  std::strncpy(request.ifr_name, name_.c_str(), IFNAMSIZ - 1);
  check(::ioctl(fd_, TUNSETIFF, &request), "create TUN device " + name_);
  const unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  udp_offload_ = ::ioctl(fd_, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0;
  if (!udp_offload_) check(::ioctl(fd_, TUNSETOFFLOAD, tcp), "offer TSO on " + name_);
  counters_fd_ = ::open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
}

TunDevice::~TunDevice() {
  if (fd_ >= 0) ::close(fd_);
  if (counters_fd_ >= 0) ::close(counters_fd_);
}

bool TunDevice::read(OffloadHeader& offload, std::vector<std::uint8_t>& bytes) {
  scratch_.resize(kLargestRead - sizeof offload);
  const std::array<iovec, 2> parts{iovec{&offload, sizeof offload},
                                   iovec{scratch_.data(), scratch_.size()}};
  const ssize_t got = ::readv(fd_, parts.data(), static_cast<int>(parts.size()));
  if (got <= static_cast<ssize_t>(sizeof offload)) return false;
  const std::size_t size = static_cast<std::size_t>(got) - sizeof offload;
  if (size >= kKeepWhole) {
    scratch_.resize(size);
    bytes = std::move(scratch_);
    scratch_ = {};
  } else {
    bytes.assign(scratch_.begin(), scratch_.begin() + static_cast<std::ptrdiff_t>(size));
  }
  return true;
}

void TunDevice::write(const Outgoing& packet) {
  std::array<iovec, 2 + 64> parts;
  std::size_t n = 0;
  const auto add = [&](const void* data, std::size_t size) {
    parts.at(n++) = {const_cast<void*>(data), size};
  };
  add(&packet.offload, sizeof packet.offload);
  add(packet.headers.data(), packet.headers.size());
  for (const auto part : packet.payload) add(part.data(), part.size());
  if (::writev(fd_, parts.data(), static_cast<int>(n)) < 0) {
    ++write_errors_;
    last_write_error_ = errno;
  }
}

std::uint64_t TunDevice::overruns() const {
  std::array<char, 8192> text{};
  const ssize_t got = ::pread(counters_fd_, text.data(), text.size() - 1, 0);
  if (got <= 0) return 0;
  std::istringstream lines(std::string(text.data(), static_cast<std::size_t>(got)));
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(name_ + ":");
    if (colon == std::string::npos) continue;
    std::istringstream fields(line.substr(colon + name_.size() + 1));
    std::uint64_t value = 0;  // the twelfth: dropped on transmit, see proc(5)
    for (int i = 0; i < 12; ++i) fields >> value;
    return value;
  }
  return 0;
}

}  // namespace rushfs::wan

// A TUN device in a network namespace, opened so that the kernel hands over super-packets (TSO,
// USO) and unfinished checksums, and takes the same back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/wan/packet.h"

namespace rushfs::wan {

class TunDevice {
 public:
  /// Creates device `name` in the namespace at `namespace_path` (/run/netns/...). The device goes
  /// when this object does. Throws std::system_error naming what failed.
  TunDevice(const std::string& namespace_path, const std::string& name);
  ~TunDevice();
  TunDevice(const TunDevice&) = delete;
  TunDevice& operator=(const TunDevice&) = delete;

  int descriptor() const { return fd_; }
  /// UDP super-packets work both ways (Linux 6.2 and later).
  bool udp_offload() const { return udp_offload_; }

  /// Reads one packet or super-packet; false when there is none.
  bool read(OffloadHeader& offload, std::vector<std::uint8_t>& bytes);
  void write(const Outgoing& packet);

  std::uint64_t write_errors() const { return write_errors_; }
  int last_write_error() const { return last_write_error_; }
  /// Packets the kernel dropped because they were not read in time.
  std::uint64_t overruns() const;

 private:
  void open_in_namespace(const std::string& namespace_path);

  std::string name_;
  int fd_ = -1;
  int counters_fd_ = -1;  // that namespace's /proc/net/dev
  bool udp_offload_ = false;
  std::vector<std::uint8_t> scratch_;
  std::uint64_t write_errors_ = 0;
  int last_write_error_ = 0;
};

}  // namespace rushfs::wan

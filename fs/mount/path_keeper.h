// Keeps what the transport learns of paths in a mount's folder, so that the next mount starts from
// it: docs/disk-format.md, "What was learned of paths". Owner: the file loop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "fs/asio_loop.h"
#include "transport/path_report.h"
#include "transport/udp/udp_driver.h"

namespace rushfs::fs {

class PathKeeper {
 public:
  /// Gives the driver what an earlier mount kept. Both outlive this.
  PathKeeper(std::filesystem::path folder, transport::UdpDriver& driver);
  /// Writes on the loop `disk` if it is time to and something has moved.
  void tick(const std::optional<transport::PathReport>& path, transport::TimePoint now,
            AsioLoop& file_loop, DiskLoop& disk);
  /// Says farewell to the server, waits no longer than `patience` for that, and writes.
  void shut_down(transport::Duration patience);

 private:
  std::filesystem::path folder_;
  transport::UdpDriver& driver_;
  transport::TimePoint next_{};
  std::uint64_t packets_ = 0;  // that had come when it was last written
};

}  // namespace rushfs::fs

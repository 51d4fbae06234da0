// Disk space kept aside for the moment the disk is full.
#pragma once

#include <cstdint>
#include <filesystem>

namespace rushfs::cache {

// About one checkpoint of SQLite's log: on a full disk completed operations can still be deleted
// from the write queue's log (which needs room itself) so that their data can be freed.
inline constexpr std::uint64_t kReserveBytes = 4 * 1024 * 1024;

// Best effort: without it the queue works until the disk is full. Starts released, so that what
// an earlier process kept aside is there for starting up.
class SpaceReserve {
 public:
  explicit SpaceReserve(const std::filesystem::path& path);
  void take();
  void release();
  bool taken() const { return taken_; }

 private:
  std::filesystem::path path_;
  bool taken_ = false;
};

}  // namespace rushfs::cache

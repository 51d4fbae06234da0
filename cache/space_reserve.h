// Disk space kept aside for the moment the disk is full.
#pragma once

#include <cstdint>
#include <filesystem>

namespace rushfs::cache {

// About one checkpoint of SQLite's log: on a full disk completed operations can still be deleted
// from the write queue's log (which needs room itself) so that their data can be freed.
inline constexpr std::uint64_t kReserveBytes = 4 * 1024 * 1024;

// Best effort: without it the queue works until the disk is full. Starts with a part of what an
// earlier process kept given back, so that there is room for starting up.
class SpaceReserve {
 public:
  explicit SpaceReserve(const std::filesystem::path& path);
  // Fills up towards the whole size as far as there is room.
  void take();
  // Gives a part back; false when there was nothing left to give.
  bool release_part();

 private:
  std::filesystem::path path_;
  std::uint64_t kept_bytes_ = 0;
};

}  // namespace rushfs::cache

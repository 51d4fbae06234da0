// The bytes of queued writes: append-only sparse files of bounded size, freed from the front. Where
// the disk can do so, space is taken some MiB ahead of what is appended.
//
// Knows positions, not operations. Freed ranges are punched out and finished files deleted, but
// only in reclaim(), which the owner calls once the log no longer refers to them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "cache/result.h"
#include "cache/sparse_file.h"

namespace rushfs::cache {

struct DataPlace {
  std::uint64_t file = 0;
  std::uint64_t position_bytes = 0;
  std::uint64_t length_bytes = 0;
};

// A data file is closed for appending here, so that space comes back file by file even where the
// file system cannot punch holes.
inline constexpr std::uint64_t kDataFileBytes = 256 * 1024 * 1024;

// Space is taken so far ahead: a few of the largest writes, and little enough to leave unused.
inline constexpr std::uint64_t kAheadBytes = 8 * 1024 * 1024;

class QueueData {
 public:
  // Throws std::runtime_error when the folder cannot be made or listed.
  explicit QueueData(const std::filesystem::path& folder);

  bool empty() const { return files_.empty(); }
  // Start-up, before anything else: a range the log refers to. False when it cannot exist.
  bool keep(const DataPlace& place);
  // Start-up, after keep(): frees what the log does not refer to.
  void collect_garbage();

  // On error nothing has changed. ENOSPC: also when less than 256 MiB, or a 64th of a small disk,
  // would be left to others.
  Result<DataPlace> append(std::span<const std::uint8_t> bytes);
  // So much more can be appended however full the disk gets.
  std::uint64_t ahead_bytes() const;
  Result<void> read(const DataPlace& place, std::uint64_t skip_bytes, std::span<std::uint8_t> out);
  // Everything appended is on the disk. A file whose sync failed once is never trusted again (the
  // kernel forgets which pages it could not write): fails until its unsynced ranges are freed.
  Result<void> sync();
  void free(const DataPlace& place);
  void reclaim();

 private:
  struct DataFile {
    std::optional<SparseFile> open;
    std::uint64_t end_bytes = 0;
    std::uint64_t taken_bytes = 0;    // space on the disk is ours up to here
    std::uint64_t started_bytes = 0;  // what lies before this is being written to the disk
    std::uint64_t synced_bytes = 0;   // what lies before this is on the disk
    bool sync_failed = false;
    bool overlapping = false;  // a damaged log claims some bytes twice: nothing is punched
    std::map<std::uint64_t, std::uint64_t> live;  // begin to end
  };

  bool has_room(std::uint64_t bytes) const;
  std::filesystem::path path_of(std::uint64_t file) const;
  Result<SparseFile*> open(std::uint64_t id, DataFile& file, SparseFile::Mode mode);
  Result<DataFile*> current(std::uint64_t length_bytes);
  void leave_current();
  bool take_ahead(DataFile& file, std::uint64_t length_bytes);
  void give_back(std::uint64_t id, DataFile& file, std::uint64_t begin, std::uint64_t end);
  void punch_around(std::uint64_t id, DataFile& file, std::uint64_t begin, std::uint64_t end);
  bool has_unsynced(const DataFile& file) const;

  std::filesystem::path folder_;
  std::map<std::uint64_t, DataFile> files_;
  std::optional<std::uint64_t> current_;  // the file that is appended to
  bool can_take_ahead_ = true;            // as far as is known
  std::uint64_t next_file_ = 1;
  std::size_t open_files_ = 0;
  bool folder_changed_ = false;
  std::vector<DataPlace> freed_;
};

}  // namespace rushfs::cache

// The block cache's data: one sparse file per cached remote file, blocks at their own offsets, so
// that giving up a block gives its disk space back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <span>
#include <unordered_map>

#include "cache/result.h"
#include "cache/sparse_file.h"

namespace rushfs::cache {

class BlockFiles {
 public:
  // Throws std::runtime_error when the folder cannot be made or its file system cannot punch holes.
  explicit BlockFiles(const std::filesystem::path& folder);

  Result<void> read(std::uint64_t file, std::uint64_t index, std::span<std::uint8_t> out);
  Result<void> write(std::uint64_t file, std::uint64_t index, std::span<const std::uint8_t> bytes);
  // Frees the block's space beyond its first `keep_bytes`.
  void punch(std::uint64_t file, std::uint64_t index, std::uint64_t keep_bytes = 0);
  void remove(std::uint64_t file);

  // Start-up: visits every data file. `expected_bytes` gives what the index knows to lie in it
  // (0: the file is deleted); where more is allocated, every block is cut to `length_of`.
  struct Known {
    std::function<std::uint64_t(std::uint64_t file)> expected_bytes;
    std::function<std::uint64_t(std::uint64_t file, std::uint64_t index)> length_of;
  };
  void collect_garbage(const Known& known);

 private:
  struct Open {
    SparseFile file;
    std::list<std::uint64_t>::iterator order;
  };

  std::filesystem::path path_of(std::uint64_t file) const;
  Result<SparseFile*> open(std::uint64_t file, SparseFile::Mode mode);
  void collect(std::uint64_t file, const Known& known);

  std::filesystem::path folder_;
  std::unordered_map<std::uint64_t, Open> open_;
  std::list<std::uint64_t> order_;  // open files, latest used first
};

}  // namespace rushfs::cache

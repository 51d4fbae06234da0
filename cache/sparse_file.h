// A file written at offsets, whose unneeded ranges are given back to the file system.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "cache/result.h"

namespace rushfs::cache {

// File systems hand out space in pages of this size.
inline constexpr std::uint64_t kPageBytes = 4096;

constexpr std::uint64_t round_up_to_page(std::uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

class SparseFile {
 public:
  enum class Mode { existing, create };

  static Result<SparseFile> open(const std::filesystem::path& path, Mode mode);
  SparseFile(SparseFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  SparseFile& operator=(SparseFile&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~SparseFile();

  // All or an error; EIO when the file ends before the range does.
  Result<void> read(std::uint64_t offset_bytes, std::span<std::uint8_t> out) const;
  Result<void> write(std::uint64_t offset_bytes, std::span<const std::uint8_t> bytes);
  // Gives the whole pages of the range back; the rest of it reads as zeros.
  Result<void> punch(std::uint64_t offset_bytes, std::uint64_t length_bytes);
  // Takes space for the range in advance, or ENOSPC.
  Result<void> allocate(std::uint64_t offset_bytes, std::uint64_t length_bytes);
  // The same; the file's end stays where it is.
  Result<void> allocate_behind(std::uint64_t offset_bytes, std::uint64_t length_bytes);
  Result<void> truncate(std::uint64_t size_bytes);
  // The file is at least this long; what is new of it takes no space and reads as zeros.
  Result<void> reach(std::uint64_t size_bytes);
  // Asks the kernel to begin writing the range to the disk, so that sync() has less to wait for.
  void start_writing(std::uint64_t offset_bytes, std::uint64_t length_bytes);
  // The data and what is needed to find it again are on the disk.
  Result<void> sync();

  Result<std::uint64_t> size_bytes() const;
  Result<std::uint64_t> allocated_bytes() const;
  // Ranges that hold data, as offset and end.
  Result<std::vector<std::pair<std::uint64_t, std::uint64_t>>> data_ranges() const;

 private:
  explicit SparseFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

// Makes created and deleted names in the folder durable.
Result<void> sync_folder(const std::filesystem::path& folder);

}  // namespace rushfs::cache

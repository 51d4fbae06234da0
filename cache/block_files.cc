#include "cache/block_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <stdexcept>
#include <vector>

#include "cache/block_cache.h"
#include "cache/zeros.h"

namespace rushfs::cache {
namespace {

// Descriptors kept open: enough for the files of a busy timeline, far from the usual 1024.
constexpr std::size_t kOpenFiles = 128;

std::optional<std::uint64_t> id_of(const std::string& name) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id, 16);
  if (name.size() != 16 || error != std::errc() || end != name.data() + name.size()) return {};
  return id;
}

void require_holes(const std::filesystem::path& folder) {
  const std::filesystem::path probe = folder / "probe";
  Result<SparseFile> file = SparseFile::open(probe, SparseFile::Mode::create);
  Result<void> punched = file ? file->punch(0, kPageBytes) : Result<void>(file.error());
  std::error_code ignored;
  std::filesystem::remove(probe, ignored);
  if (!punched) {
    throw std::runtime_error("folder " + folder.string() +
                             " cannot hold a cache: its file system must be writable and able to"
                             " punch holes (ext4, xfs, btrfs, tmpfs): " +
                             punched.error().message());
  }
}

}  // namespace

BlockFiles::BlockFiles(const std::filesystem::path& folder) : folder_(folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw std::runtime_error("cannot create folder " + folder.string() + ": " + error.message());
  }
  require_holes(folder);
}

std::filesystem::path BlockFiles::path_of(std::uint64_t file) const {
  return folder_ / fmt::format("{:02x}", file & 0xff) / fmt::format("{:016x}", file);
}

Result<SparseFile*> BlockFiles::open(std::uint64_t file, SparseFile::Mode mode) {
  if (const auto found = open_.find(file); found != open_.end()) {
    order_.splice(order_.begin(), order_, found->second.order);
    return &found->second.file;
  }
  const std::filesystem::path path = path_of(file);
  if (mode == SparseFile::Mode::create) {
    std::error_code error;
    std::filesystem::create_directory(path.parent_path(), error);
    if (error) return error_from_errno(error.value());
  }
  Result<SparseFile> opened = SparseFile::open(path, mode);
  if (!opened) return opened.error();
  if (open_.size() >= kOpenFiles) {
    open_.erase(order_.back());
    order_.pop_back();
  }
  order_.push_front(file);
  return &open_.emplace(file, Open{std::move(*opened), order_.begin()}).first->second.file;
}

Result<void> BlockFiles::read(std::uint64_t file, std::uint64_t index,
                              std::span<std::uint8_t> out) {
  const Result<SparseFile*> data = open(file, SparseFile::Mode::existing);
  if (!data) return data.error();
  return (*data)->read(index * kBlockBytes, out);
}

Result<void> BlockFiles::write(std::uint64_t file, std::uint64_t index,
                               std::span<const std::uint8_t> bytes) {
  const Result<SparseFile*> data = open(file, SparseFile::Mode::create);
  if (!data) return data.error();
  const std::uint64_t begin = index * kBlockBytes;
  if (leading_zeros(bytes) == bytes.size() && (*data)->punch(begin, kBlockBytes)) {
    return (*data)->reach(begin + bytes.size());
  }
  return (*data)->write(begin, bytes);
}

void BlockFiles::punch(std::uint64_t file, std::uint64_t index, std::uint64_t keep_bytes) {
  const std::uint64_t keep = round_up_to_page(keep_bytes);
  const Result<SparseFile*> data = open(file, SparseFile::Mode::existing);
  if (data && keep < kBlockBytes) {
    (void)(*data)->punch(index * kBlockBytes + keep, kBlockBytes - keep);
  }
}

void BlockFiles::remove(std::uint64_t file) {
  if (const auto found = open_.find(file); found != open_.end()) {
    order_.erase(found->second.order);
    open_.erase(found);
  }
  std::error_code ignored;
  std::filesystem::remove(path_of(file), ignored);
}

void BlockFiles::collect_garbage(const Known& known) {
  std::vector<std::uint64_t> files;
  std::error_code error;
  for (auto shard = std::filesystem::directory_iterator(folder_, error);
       !error && shard != std::filesystem::directory_iterator(); shard.increment(error)) {
    std::error_code inner;
    for (auto entry = std::filesystem::directory_iterator(shard->path(), inner);
         !inner && entry != std::filesystem::directory_iterator(); entry.increment(inner)) {
      if (const auto id = id_of(entry->path().filename().string())) files.push_back(*id);
    }
  }
  for (const std::uint64_t file : files) collect(file, known);
}

void BlockFiles::collect(std::uint64_t file, const Known& known) {
  const std::uint64_t expected = known.expected_bytes(file);
  if (expected == 0) return remove(file);
  const Result<SparseFile*> data = open(file, SparseFile::Mode::existing);
  if (!data) return;
  const Result<std::uint64_t> allocated = (*data)->allocated_bytes();
  if (allocated && *allocated <= expected) return;
  const auto ranges = (*data)->data_ranges();
  if (!ranges) return;
  for (const auto& [begin, end] : *ranges) {
    for (std::uint64_t index = begin / kBlockBytes; index * kBlockBytes < end; ++index) {
      punch(file, index, known.length_of(file, index));
    }
  }
}

}  // namespace rushfs::cache

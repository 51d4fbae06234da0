#include "cache/space_reserve.h"

#include <algorithm>

#include "cache/sparse_file.h"

namespace rushfs::cache {

namespace {

constexpr std::uint64_t kPartBytes = kReserveBytes / 4;

}  // namespace

SpaceReserve::SpaceReserve(const std::filesystem::path& path) : path_(path) {
  const Result<SparseFile> file = SparseFile::open(path_, SparseFile::Mode::existing);
  const Result<std::uint64_t> size = file ? file->size_bytes() : file.error();
  kept_bytes_ = size ? std::min(*size, kReserveBytes) / kPartBytes * kPartBytes : 0;
  release_part();
}

void SpaceReserve::take() {
  if (kept_bytes_ == kReserveBytes) return;
  Result<SparseFile> file = SparseFile::open(path_, SparseFile::Mode::create);
  while (file && kept_bytes_ < kReserveBytes && file->allocate(kept_bytes_, kPartBytes)) {
    kept_bytes_ += kPartBytes;
  }
}

bool SpaceReserve::release_part() {
  if (kept_bytes_ == 0) return false;
  kept_bytes_ -= kPartBytes;
  Result<SparseFile> file = SparseFile::open(path_, SparseFile::Mode::existing);
  return file && file->truncate(kept_bytes_);
}

}  // namespace rushfs::cache

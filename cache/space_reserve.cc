#include "cache/space_reserve.h"

#include "cache/sparse_file.h"

namespace rushfs::cache {

SpaceReserve::SpaceReserve(const std::filesystem::path& path) : path_(path) {
  release();
}

void SpaceReserve::take() {
  if (taken_) return;
  Result<SparseFile> file = SparseFile::open(path_, SparseFile::Mode::create);
  taken_ = file && file->allocate(0, kReserveBytes);
  if (!taken_) release();
}

void SpaceReserve::release() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
  taken_ = false;
}

}  // namespace rushfs::cache

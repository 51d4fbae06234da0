#include "cache/sparse_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace rushfs::cache {
namespace {

Result<void> from_call(int result) {
  if (result != 0) return error_from_errno(errno);
  return {};
}

}  // namespace

Result<SparseFile> SparseFile::open(const std::filesystem::path& path, Mode mode) {
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (mode == Mode::create ? O_CREAT : 0);
  const int descriptor = ::open(path.c_str(), flags, 0600);
  if (descriptor < 0) return error_from_errno(errno);
  return SparseFile(descriptor);
}

SparseFile::~SparseFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<void> SparseFile::read(std::uint64_t offset_bytes, std::span<std::uint8_t> out) const {
  while (!out.empty()) {
    const ssize_t got =
        ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset_bytes));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return error_from_errno(got < 0 ? errno : EIO);
    out = out.subspan(static_cast<std::size_t>(got));
    offset_bytes += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<void> SparseFile::write(std::uint64_t offset_bytes, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return error_from_errno(put < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset_bytes += static_cast<std::uint64_t>(put);
  }
  return {};
}

Result<void> SparseFile::punch(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  return from_call(::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               static_cast<off_t>(offset_bytes), static_cast<off_t>(length_bytes)));
}

Result<void> SparseFile::allocate(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  return from_call(::fallocate(descriptor_, 0, static_cast<off_t>(offset_bytes),
                               static_cast<off_t>(length_bytes)));
}

Result<void> SparseFile::allocate_behind(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  return from_call(::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset_bytes),
                               static_cast<off_t>(length_bytes)));
}

Result<void> SparseFile::truncate(std::uint64_t size_bytes) {
  return from_call(::ftruncate(descriptor_, static_cast<off_t>(size_bytes)));
}

Result<void> SparseFile::reach(std::uint64_t size_bytes) {
  const Result<std::uint64_t> size = this->size_bytes();
  if (!size) return size.error();
  return *size < size_bytes ? truncate(size_bytes) : Result<void>();
}

void SparseFile::start_writing(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  (void)::sync_file_range(descriptor_, static_cast<off_t>(offset_bytes),
                          static_cast<off_t>(length_bytes), SYNC_FILE_RANGE_WRITE);
}

Result<void> SparseFile::sync() {
  return from_call(::fdatasync(descriptor_));
}

Result<std::uint64_t> SparseFile::size_bytes() const {
  struct stat status;
  if (::fstat(descriptor_, &status) != 0) return error_from_errno(errno);
  return static_cast<std::uint64_t>(status.st_size);
}

Result<std::uint64_t> SparseFile::allocated_bytes() const {
  struct stat status;
  if (::fstat(descriptor_, &status) != 0) return error_from_errno(errno);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

Result<std::vector<std::pair<std::uint64_t, std::uint64_t>>> SparseFile::data_ranges() const {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  off_t position = 0;
  while (true) {
    const off_t begin = ::lseek(descriptor_, position, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return ranges;
    const off_t end = begin < 0 ? -1 : ::lseek(descriptor_, begin, SEEK_HOLE);
    if (end < 0) return error_from_errno(errno);
    ranges.emplace_back(begin, end);
    position = end;
  }
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return error_from_errno(errno);
  const int result = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  if (result != 0) return error_from_errno(reason);
  return {};
}

}  // namespace rushfs::cache

#include "cache/queue_data.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <iterator>
#include <stdexcept>
#include <string>
#include <tuple>

namespace rushfs::cache {
namespace {

// Descriptors kept open for reading what is sent next; a file covers 256 MiB.
constexpr std::size_t kOpenFiles = 32;
// A commit then waits for about this much at most, rather than for all that was written before.
constexpr std::uint64_t kEarlyWriteBytes = 8 * 1024 * 1024;
constexpr std::string_view kSuffix = ".data";

std::optional<std::uint64_t> id_of(const std::string& name) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (error != std::errc() || std::string_view(end) != kSuffix) return std::nullopt;
  return id;
}

}  // namespace

QueueData::QueueData(const std::filesystem::path& folder) : folder_(folder) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  std::filesystem::directory_iterator entry;
  if (!error) entry = std::filesystem::directory_iterator(folder_, error);
  if (error) {
    throw std::runtime_error("cannot use folder " + folder_.string() + ": " + error.message());
  }
  for (const auto& item : entry) {
    const auto id = id_of(item.path().filename().string());
    if (!id) continue;
    const std::uint64_t size = item.file_size(error);
    DataFile& file = files_[*id];
    file.end_bytes = file.synced_bytes = error ? 0 : size;
    next_file_ = std::max(next_file_, *id + 1);
  }
}

bool QueueData::keep(const DataPlace& place) {
  const auto file = files_.find(place.file);
  if (place.length_bytes == 0 || file == files_.end()) return false;
  const std::uint64_t size = file->second.end_bytes;
  if (place.position_bytes > size || place.length_bytes > size - place.position_bytes) return false;
  // Of ranges that overlap (a damaged log) the longer one is kept; neither is lost.
  std::uint64_t& end = file->second.live[place.position_bytes];
  end = std::max(end, place.position_bytes + place.length_bytes);
  return true;
}

void QueueData::collect_garbage() {
  for (auto& [id, file] : files_) {
    std::uint64_t position = 0;
    for (const auto& [begin, end] : file.live) {
      if (begin > position) freed_.push_back({id, position, begin - position});
      if (begin < position) file.overlapping = true;
      position = std::max(position, end);
    }
    if (file.end_bytes > position || file.live.empty())
      freed_.push_back({id, position, file.end_bytes - position});
  }
  reclaim();
}

std::filesystem::path QueueData::path_of(std::uint64_t file) const {
  return folder_ / fmt::format("{:012}{}", file, kSuffix);
}

Result<SparseFile*> QueueData::open(std::uint64_t id, DataFile& file, SparseFile::Mode mode) {
  if (file.open) return &*file.open;
  if (open_files_ >= kOpenFiles) {
    for (auto& [other, candidate] : files_) {
      if (!candidate.open || has_unsynced(candidate) || other == current_) continue;
      candidate.open.reset();
      --open_files_;
      break;
    }
  }
  Result<SparseFile> opened = SparseFile::open(path_of(id), mode);
  if (!opened) return opened.error();
  file.open = std::move(*opened);
  ++open_files_;
  return &*file.open;
}

// The file to append to, a new one when the bytes would not fit.
Result<QueueData::DataFile*> QueueData::current(std::uint64_t length_bytes) {
  if (current_) {
    DataFile& file = files_.at(*current_);
    if (file.end_bytes + length_bytes <= kDataFileBytes) return &file;
    leave_current();
  }
  const std::uint64_t id = next_file_;
  DataFile& file = files_[id];
  if (const auto opened = open(id, file, SparseFile::Mode::create); !opened) {
    files_.erase(id);
    return opened.error();
  }
  ++next_file_;
  folder_changed_ = true;
  current_ = id;
  return &file;
}

// A disk that is full to the last byte stops everything else on the machine; and what only root
// may use is not for us either.
bool QueueData::has_room(std::uint64_t bytes) const {
  constexpr std::uint64_t kLeftToOthers = 256ULL << 20;
  struct statvfs disk;
  if (statvfs(folder_.c_str(), &disk) != 0) return true;
  const std::uint64_t left = std::min(kLeftToOthers, disk.f_blocks * disk.f_frsize / 64);
  return disk.f_bavail * disk.f_frsize >= left + bytes;
}

// Nothing else would look at it again if it is empty by now.
void QueueData::leave_current() {
  DataFile& file = files_.at(*current_);
  if (file.taken_bytes > file.end_bytes) (void)file.open->truncate(file.end_bytes);
  file.taken_bytes = 0;
  if (file.live.empty()) freed_.push_back({*current_, 0, file.end_bytes});
  current_.reset();
}

// Half of it is always there, as long as the disk has room. Not every file system that says so
// keeps space for us.
bool QueueData::take_ahead(DataFile& file, std::uint64_t length_bytes) {
  const std::uint64_t end = file.end_bytes + length_bytes;
  if (end + kAheadBytes / 2 <= file.taken_bytes) return true;
  const std::uint64_t wanted = std::min(end + kAheadBytes, kDataFileBytes);
  const std::uint64_t taken = std::max(file.taken_bytes, file.end_bytes);
  if (can_take_ahead_ && wanted > taken && has_room(wanted - taken)) {
    const auto before = file.open->allocated_bytes();
    const auto done = file.open->allocate_behind(taken, wanted - taken);
    const auto after = file.open->allocated_bytes();
    const bool kept = before && after && *after + 2 * kPageBytes >= *before + wanted - taken;
    can_take_ahead_ = done ? kept : done.error().value() == ENOSPC;
    if (done && kept) file.taken_bytes = wanted;
  }
  return end <= file.taken_bytes || has_room(length_bytes);
}

std::uint64_t QueueData::ahead_bytes() const {
  if (!current_) return 0;
  const DataFile& file = files_.at(*current_);
  return std::max(file.taken_bytes, file.end_bytes) - file.end_bytes;
}

Result<DataPlace> QueueData::append(std::span<const std::uint8_t> bytes) {
  const Result<DataFile*> file = current(bytes.size());
  if (!file) return file.error();
  DataFile& data = **file;
  if (!take_ahead(data, bytes.size())) return error_from_errno(ENOSPC);
  const DataPlace place{*current_, data.end_bytes, bytes.size()};
  if (const Result<void> written = data.open->write(data.end_bytes, bytes); !written) {
    (void)data.open->truncate(data.end_bytes);
    data.taken_bytes = 0;
    return written.error();
  }
  data.end_bytes += bytes.size();
  data.live.emplace_hint(data.live.end(), place.position_bytes, data.end_bytes);
  if (data.end_bytes - data.started_bytes >= kEarlyWriteBytes) {
    data.open->start_writing(data.started_bytes, data.end_bytes - data.started_bytes);
    data.started_bytes = data.end_bytes;
  }
  return place;
}

Result<void> QueueData::read(const DataPlace& place, std::uint64_t skip_bytes,
                             std::span<std::uint8_t> out) {
  assert(skip_bytes + out.size() <= place.length_bytes);
  const auto file = files_.find(place.file);
  if (file == files_.end()) return error_from_errno(EIO);
  const Result<SparseFile*> data = open(file->first, file->second, SparseFile::Mode::existing);
  if (!data) return data.error();
  return (*data)->read(place.position_bytes + skip_bytes, out);
}

bool QueueData::has_unsynced(const DataFile& file) const {
  return !file.live.empty() && std::prev(file.live.end())->second > file.synced_bytes;
}

Result<void> QueueData::sync() {
  for (auto& [id, file] : files_) {
    if (!has_unsynced(file)) continue;
    if (file.sync_failed) return error_from_errno(EIO);
    if (const Result<void> synced = file.open->sync(); !synced) {
      file.sync_failed = true;
      if (id == current_) leave_current();
      return synced.error();
    }
    file.synced_bytes = file.end_bytes;
  }
  if (folder_changed_) {
    if (const Result<void> synced = sync_folder(folder_); !synced) return synced.error();
    folder_changed_ = false;
  }
  return {};
}

void QueueData::free(const DataPlace& place) {
  const auto file = files_.find(place.file);
  if (place.length_bytes == 0 || file == files_.end()) return;
  const auto live = file->second.live.find(place.position_bytes);
  if (live == file->second.live.end() ||
      live->second != place.position_bytes + place.length_bytes) {
    return;
  }
  file->second.live.erase(live);
  freed_.push_back(place);
}

void QueueData::reclaim() {
  std::sort(freed_.begin(), freed_.end(), [](const DataPlace& a, const DataPlace& b) {
    return std::tie(a.file, a.position_bytes) < std::tie(b.file, b.position_bytes);
  });
  for (std::size_t i = 0; i < freed_.size();) {
    const std::uint64_t id = freed_[i].file;
    const std::uint64_t begin = freed_[i].position_bytes;
    std::uint64_t end = begin;
    for (; i < freed_.size() && freed_[i].file == id && freed_[i].position_bytes <= end; ++i) {
      end = std::max(end, freed_[i].position_bytes + freed_[i].length_bytes);
    }
    if (const auto file = files_.find(id); file != files_.end()) {
      give_back(id, file->second, begin, end);
    }
  }
  freed_.clear();
}

void QueueData::give_back(std::uint64_t id, DataFile& file, std::uint64_t begin,
                          std::uint64_t end) {
  // The current file is kept while it is small: making a new one costs a sync of the folder; and
  // where space was taken ahead in it, which somebody may count on.
  const bool kept =
      id == current_ && (file.end_bytes < kDataFileBytes / 4 || file.taken_bytes > file.end_bytes);
  if (!file.live.empty() || kept) return punch_around(id, file, begin, end);
  if (id == current_) current_.reset();
  if (file.open) --open_files_;
  std::error_code ignored;
  std::filesystem::remove(path_of(id), ignored);
  files_.erase(id);
}

// Ranges freed one by one may each hold only parts of a page: widen to whole pages as far as the
// neighbours are dead too.
void QueueData::punch_around(std::uint64_t id, DataFile& file, std::uint64_t begin,
                             std::uint64_t end) {
  const auto next = file.live.lower_bound(begin);
  const std::uint64_t floor = next == file.live.begin() ? 0 : std::prev(next)->second;
  // Of the page in which space taken ahead begins nothing is given back.
  const std::uint64_t last =
      file.taken_bytes > file.end_bytes ? file.end_bytes : round_up_to_page(file.end_bytes);
  const std::uint64_t ceiling = next == file.live.end() ? last : next->first;
  begin = std::max(floor, begin / kPageBytes * kPageBytes);
  end = std::min(ceiling, round_up_to_page(end));
  if (begin >= end || file.overlapping) return;
  // Failing costs space, not data.
  if (const auto opened = open(id, file, SparseFile::Mode::existing)) {
    (void)(*opened)->punch(begin, end - begin);
  }
}

}  // namespace rushfs::cache

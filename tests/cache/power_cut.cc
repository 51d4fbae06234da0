#include "tests/cache/power_cut.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <fstream>
#include <set>

namespace rushfs::cache {
namespace {

PowerCutRecorder* recorder = nullptr;
using Kind = PowerCutRecorder::Kind;
constexpr std::uint64_t kSectorBytes = 512;

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

void record(Kind kind, int descriptor, std::uint64_t offset, std::uint64_t length,
            const void* bytes) {
  if (recorder == nullptr) return;
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t size = ::readlink(link.c_str(), path, sizeof path);
  if (size > 0) {
    recorder->record(kind, std::string(path, static_cast<std::size_t>(size)), offset, length,
                     bytes);
  }
}

void record_sync(int descriptor) {
  struct stat status;
  if (::fstat(descriptor, &status) != 0) return;
  record(S_ISDIR(status.st_mode) ? Kind::sync_folder : Kind::sync, descriptor, 0, 0, nullptr);
}

}  // namespace

PowerCutRecorder::PowerCutRecorder(const std::filesystem::path& folder)
    : folder_(std::filesystem::canonical(folder).string()) {
  recorder = this;
}

PowerCutRecorder::~PowerCutRecorder() {
  recorder = nullptr;
}

void PowerCutRecorder::record(Kind kind, const std::string& path, std::uint64_t offset,
                              std::uint64_t length, const void* bytes) {
  if (path.compare(0, folder_.size(), folder_) != 0) return;
  std::string below = path.substr(folder_.size());
  if (below.starts_with("/")) below.erase(0, 1);
  const bool irrelevant = below == "lock" || below == "reserve";
  if (irrelevant) return;
  Event event{kind, below, offset, length, {}};
  const auto* data = static_cast<const std::uint8_t*>(bytes);
  if (data != nullptr) event.bytes.assign(data, data + length);
  events_.push_back(std::move(event));
}

// One past the last event that made earlier changes of the path durable.
std::size_t PowerCutRecorder::synced_until(const std::string& path, std::size_t events,
                                           Kind kind) const {
  for (std::size_t i = events; i > 0; --i) {
    if (events_[i - 1].kind == kind && events_[i - 1].path == path) return i;
  }
  return 0;
}

void PowerCutRecorder::apply(const Event& event, bool torn, std::mt19937_64& random,
                             std::vector<std::uint8_t>& content) {
  const std::uint64_t end = event.offset + event.length;
  if (event.kind == Kind::truncate) content.resize(event.length, 0);
  if (event.kind == Kind::punch) {
    const std::uint64_t stop = std::min<std::uint64_t>(end, content.size());
    for (std::uint64_t i = event.offset; i < stop; ++i) content[i] = 0;
  }
  if (event.kind != Kind::write) return;
  if (content.size() < end) content.resize(end, 0);
  for (std::uint64_t done = 0; done < event.length;) {
    const std::uint64_t sector_end = (event.offset + done) / kSectorBytes * kSectorBytes;
    const std::uint64_t count =
        std::min(event.length - done, sector_end + kSectorBytes - event.offset - done);
    if (!torn || random() % 2 == 0) {
      std::copy_n(event.bytes.begin() + static_cast<std::ptrdiff_t>(done), count,
                  content.begin() + static_cast<std::ptrdiff_t>(event.offset + done));
    }
    done += count;
  }
}

void PowerCutRecorder::build_image(const std::filesystem::path& image, std::size_t events,
                                   std::mt19937_64& random) const {
  std::set<std::string> paths;
  for (std::size_t i = 0; i < events; ++i) {
    if (events_[i].kind != Kind::sync_folder) paths.insert(events_[i].path);
  }
  for (const std::string& path : paths) {
    const std::size_t synced = synced_until(path, events, Kind::sync);
    const std::string parent = std::filesystem::path(path).parent_path().string();
    const std::size_t named = synced_until(parent, events, Kind::sync_folder);
    std::vector<std::uint8_t> content;
    bool exists = false;
    for (std::size_t i = 0; i < events; ++i) {
      const Event& event = events_[i];
      if (event.path != path) continue;
      if (event.kind == Kind::create || event.kind == Kind::remove) {
        if (i >= named && random() % 2 == 0) continue;
        exists = event.kind == Kind::create;
        if (!exists) content.clear();
      } else if (i < synced || random() % 2 == 0) {
        apply(event, i >= synced && random() % 4 == 0, random, content);
      }
    }
    if (!exists) continue;
    std::filesystem::create_directories((image / path).parent_path());
    std::ofstream file(image / path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
  }
}

}  // namespace rushfs::cache

using rushfs::cache::real;
using rushfs::cache::record;
using rushfs::cache::record_sync;
using Kind = rushfs::cache::PowerCutRecorder::Kind;

// The program's own definitions come before those of the C library, also for SQLite.
extern "C" {

ssize_t pwrite64(int descriptor, const void* bytes, size_t length, off64_t offset) {
  static auto* const call = real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  const ssize_t done = call(descriptor, bytes, length, offset);
  if (done > 0) {
    record(Kind::write, descriptor, static_cast<std::uint64_t>(offset),
           static_cast<std::uint64_t>(done), bytes);
  }
  return done;
}

ssize_t pwrite(int descriptor, const void* bytes, size_t length, off_t offset) {
  return pwrite64(descriptor, bytes, length, offset);
}

int ftruncate64(int descriptor, off64_t length) noexcept {
  static auto* const call = real<int(int, off64_t)>("ftruncate64");
  const int result = call(descriptor, length);
  if (result == 0) {
    record(Kind::truncate, descriptor, 0, static_cast<std::uint64_t>(length), nullptr);
  }
  return result;
}

int ftruncate(int descriptor, off_t length) noexcept {
  return ftruncate64(descriptor, length);
}

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
  static auto* const call = real<int(int, int, off_t, off_t)>("fallocate");
  const int result = call(descriptor, mode, offset, length);
  if (result == 0 && (mode & FALLOC_FL_PUNCH_HOLE) != 0) {
    record(Kind::punch, descriptor, static_cast<std::uint64_t>(offset),
           static_cast<std::uint64_t>(length), nullptr);
  }
  return result;
}

int fdatasync(int descriptor) {
  static auto* const call = real<int(int)>("fdatasync");
  const int result = call(descriptor);
  if (result == 0) record_sync(descriptor);
  return result;
}

int fsync(int descriptor) {
  static auto* const call = real<int(int)>("fsync");
  const int result = call(descriptor);
  if (result == 0) record_sync(descriptor);
  return result;
}

int open64(const char* path, int flags, ...) {
  static auto* const call = real<int(const char*, int, ...)>("open64");
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  const bool is_new = (flags & O_CREAT) != 0 && ::access(path, F_OK) != 0;
  const int descriptor = call(path, flags, mode);
  if (descriptor >= 0 && is_new) record(Kind::create, descriptor, 0, 0, nullptr);
  return descriptor;
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return open64(path, flags, mode);
}

int unlink(const char* path) noexcept {
  static auto* const call = real<int(const char*)>("unlink");
  const int result = call(path);
  if (result == 0 && rushfs::cache::recorder != nullptr) {
    rushfs::cache::recorder->record(Kind::remove, path, 0, 0, nullptr);
  }
  return result;
}

int remove(const char* path) noexcept {
  struct stat status;
  if (::lstat(path, &status) == 0 && S_ISDIR(status.st_mode)) return ::rmdir(path);
  return unlink(path);
}

}  // extern "C"

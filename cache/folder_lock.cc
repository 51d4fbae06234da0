#include "cache/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cache/sparse_file.h"

namespace rushfs::cache {
namespace {

std::string holder_of(int descriptor) {
  char text[32] = {};
  const ssize_t length = ::pread(descriptor, text, sizeof text - 1, 0);
  std::string pid(text, length > 0 ? static_cast<std::size_t>(length) : 0);
  while (!pid.empty() && pid.back() == '\n') pid.pop_back();
  return pid.empty() ? "another process" : "process " + pid;
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) {
    (void)sync_folder(folder / "..");
  }
  if (error) {
    throw std::runtime_error("cannot create folder " + folder.string() + ": " + error.message());
  }
  const std::filesystem::path file = folder / "lock";
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor_ < 0) {
    throw std::runtime_error("cannot open " + file.string() + ": " + std::strerror(errno));
  }
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    const std::string holder = holder_of(descriptor_);
    ::close(descriptor_);
    if (reason == EWOULDBLOCK) {
      throw FolderInUse("folder " + folder.string() + " is in use by " + holder +
                        "; give each mount a cache folder of its own");
    }
    throw std::runtime_error("cannot lock " + file.string() + ": " + std::strerror(reason));
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  // The pid is for people; the lock itself does not depend on it, so a full disk is no obstacle.
  if (::ftruncate(descriptor_, 0) != 0 ||
      ::pwrite(descriptor_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return;
  }
}

FolderLock::~FolderLock() {
  ::close(descriptor_);
}

}  // namespace rushfs::cache

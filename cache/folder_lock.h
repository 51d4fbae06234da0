// Keeps a folder to one process: two owners of one cache would corrupt it.
#pragma once

#include <filesystem>

namespace rushfs::cache {

// Holds flock() on the file "lock" in the folder, which names the holder's pid, until destroyed.
class FolderLock {
 public:
  // Creates the folder when missing. Throws std::runtime_error naming the folder, and the pid of
  // the process that holds it if that is why.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace rushfs::cache

// Keeps a folder to one process: two owners of one cache would corrupt it.
#pragma once

#include <filesystem>
#include <stdexcept>

namespace rushfs::cache {

// Another process holds the folder; says which.
struct FolderInUse : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Holds flock() on the file "lock" in the folder, which names the holder's pid, until destroyed.
class FolderLock {
 public:
  // Creates the folder when missing. Throws FolderInUse, or std::runtime_error naming the folder.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace rushfs::cache

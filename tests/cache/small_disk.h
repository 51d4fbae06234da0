// A file system of a few megabytes, seen by this process only and gone with it.
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <string>

#include "tests/temporary_folder.h"

namespace rushfs::cache {

class SmallDisk {
 public:
  explicit SmallDisk(unsigned mebibytes) {
    static const bool is_private = ::unshare(CLONE_NEWNS) == 0 &&
                                   ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    const std::string size = "size=" + std::to_string(mebibytes) + "m";
    mounted_ =
        is_private && ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, size.c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // False without the right to mount.
  bool mounted() const { return mounted_; }
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  testing::TemporaryFolder folder_;
  bool mounted_ = false;
};

}  // namespace rushfs::cache

// The file systems of an export that the kernel tells us of: a fanotify(7) group, which names files
// by the handles that node ids are made of, so that nothing has to be walked or watched one by one.
//
// Needs CAP_SYS_ADMIN. Any thread.
#pragma once

#include "fs/descriptor.h"
#include "fs/result.h"

namespace rushfs::fs {

class DiskMarks {
 public:
  DiskMarks();

  /// All of the file system that this is on. Errors: EPERM (no capability), EOPNOTSUPP or ENODEV
  /// (it has no handles, or no id), and what fanotify_mark(2) says.
  Result<void> add(int fd) const;
  /// Becomes readable with the events, at most 16,384 of which wait. Errors: as add().
  Result<Descriptor> events() const;

 private:
  Descriptor group_;
  int error_ = 0;
};

}  // namespace rushfs::fs

// Tells of changes that programs on this machine make to what is exported: to files, as the marks
// see it, and to what is mounted in it. Changes of this process are not told.
//
// A mapping that is written through (mmap) is not told of before it is unmapped, if at all. Owner:
// the file loop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/descriptor.h"
#include "fs/mount_info.h"
#include "fs/server/disk_marks.h"
#include "fs/server/node_id.h"
#include "fs/server/store.h"

struct fanotify_event_metadata;

namespace rushfs::fs {

class DiskWatch final : public StoreWatch {
 public:
  /// `root`: the exported directory's path. Errors: those of the marks.
  static Result<std::unique_ptr<StoreWatch>> open(const DiskMarks& marks, std::string root,
                                                  const NodeIdCodec::Key& key);

  int descriptor() const override { return events_.get(); }
  std::optional<std::vector<StoreChange>> take() override;

 private:
  DiskWatch(Descriptor events, Descriptor mounts, std::string root, const NodeIdCodec::Key& key);
  bool mounts_changed();
  /// `bytes`: where the event was read to.
  void add(const fanotify_event_metadata& event, const char* bytes,
           std::vector<StoreChange>& out) const;

  Descriptor events_, mounts_;
  std::string root_;
  NodeIdCodec codec_;
  std::vector<MountInfo> mounted_;  // beneath the root, when last looked
};

}  // namespace rushfs::fs

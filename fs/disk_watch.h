// Tells of changes that programs on this machine make to what is exported: fanotify(7) on the whole
// file system, which names files by the handles that node ids are made of, so that nothing has to
// be walked or watched one by one. Changes of this process are not told.
//
// Needs CAP_SYS_ADMIN. A mapping that is written through (mmap) is not told of before it is
// unmapped, if at all. Owner: the file loop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/descriptor.h"
#include "fs/node_id.h"
#include "fs/store.h"

struct fanotify_event_metadata;

namespace rushfs::fs {

class DiskWatch final : public StoreWatch {
 public:
  /// Errors: EPERM (no capability), EOPNOTSUPP or ENODEV (this file system has no handles), and
  /// what fanotify_mark(2) says.
  /// `file_system`: as node ids have it.
  static Result<std::unique_ptr<StoreWatch>> open(int root, const NodeIdCodec::Key& key,
                                                  std::uint64_t file_system);

  int descriptor() const override { return fd_.get(); }
  std::optional<std::vector<StoreChange>> take() override;

 private:
  DiskWatch(Descriptor fd, const NodeIdCodec::Key& key, std::uint64_t file_system)
      : fd_(std::move(fd)), codec_(key), file_system_(file_system) {}
  /// `bytes`: where the event was read to.
  void add(const fanotify_event_metadata& event, const char* bytes,
           std::vector<StoreChange>& out) const;

  Descriptor fd_;
  NodeIdCodec codec_;
  std::uint64_t file_system_;
};

}  // namespace rushfs::fs

// The files that programs have open, by the number the kernel uses. Owner: the file loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "fs/client/inodes.h"
#include "fs/client/reader.h"
#include "fs/client/volume_types.h"

namespace rushfs::fs {

struct Handle {
  InodeRef inode;
  OpenFlags flags;
  std::shared_ptr<ReadStream> stream = std::make_shared<ReadStream>();
  bool lost = false;  // had locks that somebody else may have had meanwhile: of no use
  std::uint32_t losses_told = 0;  // of Inode::losses

  /// As Linux tells of a disk's errors: each descriptor that was open is told once; and who opened
  /// the file afterwards, if nobody was told before.
  bool take_loss();

  /// The kernel keeps what it reads and writes in its pages.
  bool uses_pages() const { return !flags.append || !flags.write; }
};

/// Counts them in Inode::opens and writers.
class Handles {
 public:
  HandleNumber add(const InodeRef& inode, OpenFlags flags);
  /// Null: there is none. Good for this turn.
  Handle* find(HandleNumber number);
  /// EBADF: there is none; EIO: of no use.
  Result<Handle*> usable(HandleNumber number);
  /// Nothing: there is none.
  std::optional<Handle> remove(HandleNumber number);
  /// It goes on in another file.
  void move(Handle& handle, const InodeRef& to);
  void each(const std::function<void(HandleNumber, Handle&)>& visit);
  std::uint64_t size() const { return handles_.size(); }

 private:
  static void count(const Handle& handle, int change);

  std::uint64_t next_ = 1;
  std::unordered_map<std::uint64_t, Handle> handles_;
};

}  // namespace rushfs::fs

// The kernel's cache of this mount: what it must be told when others change files.
// Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <string>
#include <utility>

#include "fs/client/inodes.h"
#include "fs/client/remote_event.h"
#include "fs/protocol/spans.h"

namespace rushfs::fs {

/// Told when what the kernel holds of a file is no longer what the server has. Must not call back
/// into Volume.
class KernelCache {
 public:
  virtual ~KernelCache() = default;
  virtual void invalidate(NodeNumber, const Spans& pages) = 0;
  /// What the kernel knows under a name, also that there is nothing.
  virtual void invalidate_name(NodeNumber parent, const std::string& name) = 0;
  /// Later, on the file loop, when the kernel has dropped what it was told to so far; what programs
  /// wrote through mappings of it has then come to us.
  virtual void settle(absl::AnyInvocable<void() &&> then) = 0;
  /// Whether programs that watch what the kernel knows are to be told what others do to it.
  virtual bool tells_events() const = 0;
  virtual void happened(RemoteEvent event) = 0;
};

/// The same as the client's parts see it: until there is a kernel, nothing is cached.
class KernelSide {
 public:
  void set(KernelCache* cache) { cache_ = cache; }

  /// Not without need: attributes on their way to the kernel meanwhile, a new size among them, have
  /// no effect there.
  void drop_pages(Inode& inode) {
    if (std::exchange(inode.kernel_has_pages, false)) invalidate(inode.number);
  }
  /// Attributes, and these pages.
  void invalidate(NodeNumber node, const Spans& pages = Spans::everything()) {
    if (cache_) cache_->invalidate(node, pages);
  }
  void invalidate_name(NodeNumber parent, const std::string& name) {
    if (cache_) cache_->invalidate_name(parent, name);
  }
  /// Runs `then` when the kernel has dropped what it was told to, perhaps at once.
  void settle(absl::AnyInvocable<void() &&> then) {
    if (!cache_) return std::move(then)();
    cache_->settle(std::move(then));
  }
  bool tells_events() const { return cache_ && cache_->tells_events(); }
  void happened(RemoteEvent event) {
    if (cache_) cache_->happened(std::move(event));
  }

 private:
  KernelCache* cache_ = nullptr;
};

}  // namespace rushfs::fs

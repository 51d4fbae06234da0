// When files were last read. The kernel leaves that to us, and the server does not see what is read
// from a cache: so a read shows here at once, by the rules of mount(8), and the server is told in
// the background once the file is closed. docs/semantics.md, "Access times". Owner: the file loop.
#pragma once

#include "fs/client/inodes.h"

namespace rushfs::fs {

enum class AccessRule : std::uint8_t {
  none,      // noatime
  relative,  // relatime: only what tells that a file was read since it changed, or today
  always,    // strictatime
};

class AccessTimes {
 public:
  struct Options {
    AccessRule rule = AccessRule::relative;
    bool folders = true;  // nodiratime: false
  };
  AccessTimes(Remote& remote, const LoopTime& time, Options options)
      : remote_(remote), time_(time), options_(options) {}

  /// Where nothing can be changed, reading leaves no time.
  void set_read_only(bool read_only) { read_only_ = read_only; }
  /// Whether reading the file now would change its access time.
  bool due(const Inode& inode) const;
  /// A program has read it.
  void read(Inode& inode) const;
  /// Tells the server of reads it has not heard of, unless something queued would come behind and
  /// undo that.
  void tell(const InodeRef& inode) const;

 private:
  Remote& remote_;
  const LoopTime& time_;
  Options options_;
  bool read_only_ = false;
};

}  // namespace rushfs::fs

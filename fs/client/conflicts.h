// Two versions of a file meet: what was queued here while we were cut off, and what somebody else
// did to the file meanwhile. Both are kept: ours moves to a file of its own beside theirs.
// docs/semantics.md, "Conflicts". Owner: the file loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "fs/client/handles.h"
#include "fs/client/holds.h"
#include "fs/client/known.h"
#include "fs/client/locking.h"
#include "fs/client/mount_status.h"
#include "fs/client/rescuer.h"
#include "fs/client/writeback.h"

namespace rushfs::fs {

class Conflicts {
 public:
  Conflicts(const ClientParts& parts, Known& known, Handles& handles, Holds& holds,
            Locking& locking, ChangeLog& log, Writeback& writeback, Rescuer rescuer)
      : parts_(parts),
        known_(known),
        handles_(handles),
        holds_(holds),
        locking_(locking),
        log_(log),
        writeback_(writeback),
        rescuer_(std::move(rescuer)) {}

  /// What an earlier process was keeping apart when it ended.
  void restore(const InodeRef& inode, const BegunCopy& copy) { rescuer_.restore(inode, copy); }
  /// After every attach, before Writeback's: what waits is sent only to a file that is still what
  /// it was made for.
  void attached(const AttachReply& reply, bool restarted);
  /// The server says that there is no such file.
  void missing(const InodeRef& inode);
  /// It is known what became of a removal of ours, counted in Inode::removals. Null: of nothing.
  void removal_answered(const InodeRef& target);
  /// What could not be kept apart is tried again. From time to time; and at once.
  void tick(bool connected);
  void retry_now();
  /// errno of the last that could not, and waits; or 0.
  int retry_error() const { return failed_.empty() ? 0 : failed_.back().error; }
  /// Since the mount started.
  const std::vector<ConflictCopy>& copies() const { return copies_; }

 private:
  struct Meeting {
    InodeRef inode;
    Attributes base;                   // what ours was made to
    std::optional<Attributes> theirs;  // none: removed, or lost
    ConflictFile::Name name = ConflictFile::Name::beside;
    int error = 0;
    transport::Duration backoff{};
    transport::TimePoint retry_at{};
  };

  /// What is queued for it may be sent: once the queue does not tell any more that none of it was.
  void resume(const InodeRef& inode);
  void replace_bases();
  void check(const InodeRef& inode, const Attributes& base);
  /// `gone`: it has no name, or is not there at all.
  void judge(const InodeRef& inode, const Attributes& base, const std::optional<Attributes>& theirs,
             bool gone);
  void unless_only_appended(const InodeRef& inode, std::function<void()> meet);
  void meet(const InodeRef& inode, const Attributes& base, const std::optional<Attributes>& theirs);
  void keep_apart(Meeting meeting);
  void given_up(const Meeting& meeting);
  void rescued(const InodeRef& inode, const std::optional<Attributes>& theirs, const Rescued& ours);

  ClientParts parts_;
  Known& known_;
  Handles& handles_;
  Holds& holds_;
  Locking& locking_;
  ChangeLog& log_;
  Writeback& writeback_;
  Rescuer rescuer_;
  std::uint64_t check_round_ = 0;
  /// Asked about in vain, or found gone while a removal of ours was under way; with what ours was
  /// made to.
  std::map<InodeRef, Attributes> unjudged_;
  std::vector<InodeRef> to_resume_;  // when the queue has new bases of those before
  bool replacing_ = false;
  std::set<InodeRef> lost_copies_;  // while they were being made
  std::vector<Meeting> failed_;
  std::vector<ConflictCopy> copies_;
};

}  // namespace rushfs::fs

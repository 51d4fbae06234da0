// What is queued here for a file that somebody else changed meanwhile is put together, from the
// queue, the cache and the server, and goes to a file of its own beside theirs. docs/semantics.md,
// "Conflicts". Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "fs/client/change_log.h"
#include "fs/client/client_parts.h"
#include "fs/client/conflict_file.h"
#include "fs/client/known.h"
#include "fs/client/questions.h"
#include "fs/client/queued_base.h"

namespace rushfs::fs {

struct Rescued {
  std::string path;                 // of the file
  InodeRef copy;                    // all of ours is queued for it, durably
  std::uint64_t missing_bytes = 0;  // beneath our changes, nowhere to be had: zeros
};

class Rescuer {
 public:
  /// Called once; changes that had to wait go to the copy then. An error: ours is still where it
  /// was; the log says so. Asked again, it goes on with the copy it had begun.
  using Done = absl::AnyInvocable<void(Result<Rescued>) &&>;

  /// `host`: as for ConflictFile.
  Rescuer(const ClientParts& parts, Known& known, Questions& questions, ChangeLog& log,
          std::string host)
      : parts_(parts), known_(known), questions_(questions), log_(log), host_(std::move(host)) {}

  /// `base`: what our changes were made to. Programs may go on writing; at last they wait a moment.
  void rescue(const InodeRef& inode, const Attributes& base, ConflictFile::Name name, Done done);
  /// An earlier process had begun it: rescue() goes on with that copy, from the start.
  void restore(const InodeRef& inode, const BegunCopy& copy);
  /// What was queued was given up: it need not be kept any more.
  void forget(const InodeRef& inode) { begun_.erase(inode); }
  bool begun(const InodeRef& inode) const { return begun_.contains(inode); }
  /// A copy that is not complete yet.
  bool copying_to(const InodeRef& file) const;

 private:
  struct Copying;
  std::shared_ptr<Copying> begin(const InodeRef& inode, const Attributes& base,
                                 ConflictFile::Name name);

  ClientParts parts_;
  Known& known_;
  Questions& questions_;
  ChangeLog& log_;
  std::string host_;
  std::map<InodeRef, std::shared_ptr<Copying>> begun_;  // by the file
};

}  // namespace rushfs::fs

// The file of its own that our version goes to where two versions meet: made at the server, noted
// in the queue, named. Whenever we are killed, the next process goes on with it, or nothing is left
// of it. Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fs/client/client_parts.h"
#include "fs/client/known.h"
#include "fs/client/questions.h"
#include "fs/client/queued_base.h"

namespace rushfs::fs {

class ConflictFile : public std::enable_shared_from_this<ConflictFile> {
 public:
  enum class Name {
    own,     // where it is free: nobody but us ever had it
    beside,  // one that tells of the conflict
  };

  /// `inode`: of what is ours. `host` becomes part of the name.
  ConflictFile(const ClientParts& parts, Known& known, Questions& questions, std::string host,
               InodeRef inode, Name name)
      : parts_(parts),
        known_(known),
        questions_(questions),
        host_(std::move(host)),
        inode_(std::move(inode)),
        attempt_(name == Name::own ? 0 : 1) {}

  /// An earlier process had begun with that one.
  void restore(const BegunCopy& begun);
  enum class Content {
    none,
    perhaps,  // an earlier process may have begun to copy ours there
  };
  using Ready = absl::AnyInvocable<void(Result<Content>) &&>;
  /// `ready` when ours may be copied there. After an error it may be asked again, and goes on.
  void prepare(Ready ready);
  /// Null: not made yet.
  const InodeRef& file() const { return file_; }

 private:
  void find_folder();
  void in_folder(InodeRef folder);
  template <class Request>
  void make(Request request);
  void make_with_name();
  void made(const EntryReply& made, bool with_name, std::optional<InstanceId> instance);
  void record();
  void give_name();
  void has_name(const EntryReply& made);
  void look(int refused);
  void looked(const Attributes* found, int refused);
  void choose_name();
  void finish(Result<Content> result) { std::move(std::exchange(ready_, nullptr))(result); }
  void fail(int error) { finish(errno_code(error)); }
  InodeRef root() const { return known_.inodes().find(kRootNode); }
  bool folder_gone(int error) const;

  ClientParts parts_;
  Known& known_;
  Questions& questions_;
  std::string host_;
  InodeRef inode_, folder_, file_;
  std::string path_, name_;
  int attempt_;            // at a name; 0: its own
  bool recorded_ = false;  // the queue knows of the file
  bool named_ = false;     // it has the name that the queue knows
  Ready ready_;
};

}  // namespace rushfs::fs

// What is known of files and names, how it got known, and for how long it may be believed. Answers,
// our own changes and the server's notices come here; what is no longer so is dropped from Reader
// and from the kernel. docs/semantics.md, "Close-to-open", "What others change", "Without a link".
//
// Nothing here asks the server. Owner: the file loop.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "fs/client/client_parts.h"
#include "fs/client/freshness.h"
#include "fs/client/inodes.h"
#include "fs/client/kernel_side.h"
#include "fs/client/reader.h"
#include "fs/client/writeback.h"
#include "fs/protocol/notices.h"
#include "fs/recent_map.h"

namespace rushfs::fs {

/// How long the kernel may use a name or attributes without asking. As NFS's shortest (acregmin is
/// 3 s): changes by others are seen within this time even where no file is opened.
inline constexpr std::chrono::seconds kValidity{1};
/// And how long we may, when the server tells us of every change; then it costs nothing to ask.
inline constexpr std::chrono::hours kPromisedValidity{1};

/// The server was asked and has not answered in time.
inline bool unanswered(const boost::system::error_code& error) {
  return error.value() == ETIMEDOUT;
}

class Known {
 public:
  Known(const ClientParts& parts, KernelSide& kernel, Reader& reader)
      : parts_(parts), kernel_(kernel), reader_(reader), inodes_(parts.time) {}

  Inodes& inodes() { return inodes_; }
  const Inodes& inodes() const { return inodes_; }

  /// What is known of it may be used without asking.
  bool fresh(const Inode& inode) const;
  /// fresh(), or all there is while the server cannot be asked.
  bool may_trust(const Inode& inode) const;
  /// None: not known; null: there is no such name.
  std::optional<InodeRef> fresh_name(const Inode& directory, const std::string& name) const;
  /// As it was when we last heard of it.
  std::optional<InodeRef> last_known_name(const Inode& directory, const std::string& name);
  /// The inode of an entry listed a while ago, made again if it was given up since.
  InodeRef remembered_entry(NodeNumber directory, const DirectoryEntry& entry);

  // Answers.

  /// Counts changes of ours that were answered, and notices: who asks notes it when he does, and
  /// tells it with the answer.
  std::uint64_t epoch() const { return epoch_; }
  void learn(Inode& inode, const Attributes& attributes, std::uint64_t sent_epoch);
  /// The same of a read or an open. `same`: what it brings may be kept.
  Heard learn(Inode& inode, const ReadReply& reply, std::uint64_t sent_epoch);
  void learn(Inode& inode, const OpenReply& reply, std::uint64_t sent_epoch);
  InodeRef learn(const Entry& entry, NodeNumber parent, const std::string& name,
                 std::uint64_t sent_epoch);
  /// `sent_epoch`: when its first page was asked for.
  void keep_listing(const InodeRef& directory, Listing listing, std::uint64_t sent_epoch);

  // Answers to our own changes.

  void changed(const InodeRef& inode, const AppliedOperation& operation);
  /// Of anything but a file's content and a folder's names.
  void attributes_changed(Inode& inode, const Change& change);
  /// A change of one of its names.
  void renamed(Inode& inode, const Attributes& after);
  /// A folder's names have changed; name_made() or name_gone() tell which.
  void directory_changed(const InodeRef& directory, const Change& change);
  void name_made(const InodeRef& directory, const std::string& name, const Entry& entry);
  void name_gone(const InodeRef& directory, const std::string& name);
  /// A call that changes the name was not answered in time: it may have happened, or still will.
  void name_doubted(const InodeRef& directory, const std::string& name);
  /// It was looked for, and this version of the folder has nothing of the name.
  void name_absent(const InodeRef& directory, const std::string& name, const Version& version);
  /// What we made, and nobody else has seen yet.
  void learn_made(Inode& inode, const Attributes& attributes);
  /// The same of an open file, which the server holds for us.
  InodeRef file_made(const EntryReply& made);
  void folder_made(const InodeRef& inode);

  // What others do.

  /// At every attach, first: the run of the server.
  void attached(InstanceId instance) { instance_ = instance; }
  /// Of the server. Who makes a file notes it with Inode::made_at when he asks for it: the name may
  /// not be on the server's disk before there is another.
  std::optional<InstanceId> instance() const { return instance_; }
  /// The server was restarted since: its power may have been cut before the disk had the name.
  bool name_may_be_lost(const Inode& inode) const {
    return inode.made_at && inode.made_at != instance_;
  }
  /// At every attach: whether the server tells of every change from now on.
  void promise(bool promised);
  void link_lost() { promised_ = false; }
  void noticed(const Notice& notice);
  /// Changed by others in we do not know what.
  void noticed(Inode& inode);
  void noticed_all();
  /// After a cut: from here on what is known of the file waits to be compared with what the server
  /// has. Changes of ours that nobody came between are followed.
  void begin_comparison(const InodeRef& inode);
  bool comparing(const InodeRef& inode) const { return comparisons_.contains(inode); }
  /// What it is to be compared with; none: nobody began it.
  std::optional<Attributes> end_comparison(const InodeRef& inode);
  /// What was queued here for the file is kept elsewhere: theirs, or nothing, has its name.
  void ours_moved(const InodeRef& inode, const std::optional<Attributes>& theirs);
  /// Perhaps it is gone: it is asked for, with a link or without.
  void forget(Inode& inode);
  /// Nothing held of the content is good.
  void content_changed(Inode& inode);

  /// About once a second: what nobody needs is given up.
  void sweep();

 private:
  bool ours(const Inode& inode) const;
  bool follows(const Inode& inode) const;
  static bool in_order(const Inode& inode, const Attributes& after);
  void follow(Inode& inode, const ContentChange& change);
  bool learn_told(Inode& inode, const Attributes& attributes, const std::optional<Untold>& untold,
                  std::uint64_t sent_epoch);
  /// The server has to tell us of every change since we last heard of it.
  bool told_of_changes(const Inode& inode) const { return told_since(inode, inode.validated); }
  /// The server would have told if it had changed since then.
  bool told_since(const Inode& inode, transport::TimePoint then) const;
  void met(Inode& inode);
  bool known_absent(const Inode& directory, const std::string& name) const;
  static std::string name_key(NodeNumber directory, const std::string& name);

  ClientParts parts_;
  KernelSide& kernel_;
  Reader& reader_;
  Inodes inodes_;
  Listings listings_;
  std::uint64_t epoch_ = 0;
  std::optional<InstanceId> instance_;
  // What the server told us since then stays true until it says otherwise.
  bool promised_ = false;
  transport::TimePoint promised_since_{};
  std::map<InodeRef, Attributes> comparisons_;
  RecentMap<NodeTag, std::uint64_t> recently_noticed_{65536};  // epochs, also of strangers
  RecentMap<std::string, std::uint64_t> recently_named_{65536};  // epochs of our own changes
};

}  // namespace rushfs::fs

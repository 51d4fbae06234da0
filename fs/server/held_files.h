// Files that clients hold: kept alive without a name until nobody holds them any more. In memory a
// descriptor does it; a hidden name (Store::keep_orphan) lets them outlive the server process.
//
// Owner: the file loop.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/server/export.h"

namespace rushfs::fs {

/// A client from one of its starts to the next.
struct Holder {
  ClientTag client;
  std::uint64_t incarnation = 0;
  auto operator<=>(const Holder&) const = default;
};

class HeldFiles {
 public:
  /// Files that the clients of one key may hold, each counted for each of them.
  static constexpr std::size_t kMaxPerKey = 32768;
  /// And all clients together, but for those of keys that hold few.
  static constexpr std::size_t kMaxHeld = 65536;
  static constexpr std::size_t kFew = 1024;

  /// `most_kept_open`: of so many the nodes, and so descriptors of the server, are kept open;
  /// others are found by their id.
  explicit HeldFiles(std::size_t most_kept_open) : most_kept_open_(most_kept_open) {}

  /// A limit is reached: no file for this one that nobody holds yet.
  bool full_for(const Holder& holder) const;
  /// False: it is full, and does not hold this file already.
  bool hold(const Holder& holder, const NodeRef& node);
  bool is_held(const NodeId& node) const { return files_.contains(node); }
  /// Null: not held, or not kept open.
  NodeRef node(const NodeId& node) const;

  /// The last name of a held file is now the hidden one.
  void set_orphan(const NodeId& node, std::string name);
  /// It has a name again; the hidden one is gone.
  void clear_orphan(const NodeId& node) { set_orphan(node, {}); }
  /// Then its true number of links is one more than anybody should see.
  bool is_orphan(const NodeId& node) const;
  /// Left by a former server, or by a former start of a client: kept until somebody holds it, or
  /// the time is up.
  void restore(const OrphanFile& orphan, transport::TimePoint until);

  /// What nobody holds any more, and hidden names to drop.
  struct LetGo {
    std::vector<NodeId> nodes;
    std::vector<std::string> orphans;
  };
  LetGo release(const Holder& holder, const NodeId& node);
  LetGo release_all(const Holder& holder);
  /// The holder will never come back, but its successor may still need the files for a while. Until
  /// then they count for their key.
  void retire(const Holder& holder, transport::TimePoint until);
  LetGo expire(transport::TimePoint now);

 private:
  struct File {
    NodeRef node;
    std::set<Holder> holders;
    std::string orphan;                         // empty: has names of its own
    std::optional<transport::TimePoint> until;  // held by nobody now, but kept
    std::optional<std::uint64_t> kept_for;      // then: the key it counts for, if any
  };
  void release(const Holder& holder, const NodeId& node, LetGo& out);
  void keep_open(File& file, const NodeRef& node);
  std::size_t count(std::uint64_t key) const;
  void uncount(std::uint64_t key, std::size_t files);

  std::unordered_map<NodeId, File> files_;
  std::size_t most_kept_open_;
  std::size_t kept_open_ = 0;
  std::map<Holder, std::set<NodeId>> by_holder_;
  // Of what is in by_holder_ and what is kept for a key; none is zero.
  std::unordered_map<std::uint64_t, std::size_t> by_key_;
};

/// The hidden name of a file: the same after a restart.
std::string orphan_name(const NodeId& node);

}  // namespace rushfs::fs

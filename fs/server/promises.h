// Whom the server has told what, and who must hear that it is no longer so: docs/file-protocol.md,
// "Notices". Who was told something a moment ago waits a moment for what is next, which then comes
// together, each change once.
//
// Pure. Owner: the file loop.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "fs/protocol/notices.h"
#include "fs/protocol/spans.h"
#include "fs/server/export.h"

namespace rushfs::fs {

class Promises {
 public:
  struct Limits {
    /// Nodes promised to one client, some 32 MiB; beyond, it is told of every change.
    std::size_t promised = 1 << 20;
    /// And to all; beyond, this happens to who was promised most.
    std::size_t promised_to_all = 8 << 20;
    /// Changes waiting for one client; beyond, it is told to trust nothing.
    std::size_t waiting = kMaxWaitingChanges;
    /// And for all, with those told and not answered, up to 250 MiB; beyond, this happens to whom
    /// most wait for.
    std::size_t waiting_for_all = 4 * kMaxWaitingChanges;
  };

  Promises() = default;
  explicit Promises(const Limits& limits) : limits_(limits) {}

  /// The client listens from now on; nothing is promised to it yet.
  void begin(const ClientTag& client);
  void end(const ClientTag& client);

  /// Counts changes: what a worker looks at after this moment is asked for at `clock()`.
  std::uint64_t clock() const { return clock_; }
  /// The client is being told of the node, as it was at `asked` or later.
  void promise(const ClientTag& client, const NodeId& node, std::uint64_t asked);
  /// The node, or a name in it, has changed. `by` knows; none: a program on this machine.
  void changed(const NodeId& node, const std::optional<ClientTag>& by,
               const std::string& name = "");
  /// The same of a file that is as it was but for some parts, and its attributes.
  void changed(const NodeId& node, const ClientTag& by, const Spans& parts,
               const Attributes& after);
  /// Nobody can say what has changed.
  void changed_everything();

  /// The node is being changed from now on until settled(), by one at a time: who looks at it
  /// meanwhile may see some of it. None: not only in some parts.
  void changing(const NodeId& node, const std::optional<Spans>& parts);
  void settled(const NodeId& node);
  /// What of a file's content, as it was at `asked` or later, others have changed, or are changing,
  /// that the client may not know yet. None: nothing, or nobody can say.
  std::optional<Untold> untold(const ClientTag& client, const NodeId& node,
                               std::uint64_t asked) const;

  struct Due {
    ClientTag client;
    Notice notice;
  };
  /// What is to be sent now; each counts as sent until answered(). Whom it goes to is told no more
  /// before the next rested(), or his answer.
  std::vector<Due> due();
  /// kBetweenNotices after due() gave something: there may be more.
  void rested();
  /// The client has taken one more notice, the oldest of those that it had not.
  void answered(const ClientTag& client);
  /// How many notices, since begin(), will have told the client of all that changed so far.
  std::uint64_t told_with(const ClientTag& client) const;

 private:
  struct Sent {
    bool everything = false;
    std::unordered_map<NodeTag, std::optional<Spans>> contents;  // none: not only in some parts
  };
  struct Listener {
    std::unordered_set<NodeTag> promised;
    bool hears_all = false;  // more was promised than is remembered
    std::deque<NoticedChange> waiting;
    std::map<std::pair<NodeTag, std::string>, NoticedChange*> waiting_by_place;  // the same
    std::uint64_t notices = 0;  // sent
    std::uint64_t owed = 0;     // so many were said to follow: told_with()
    bool everything = false;
    bool rests = false;
    std::deque<Sent> unanswered;
    std::size_t kept() const;
    bool to_be_told() const;
  };
  using Listeners = std::map<ClientTag, Listener>;
  /// When a node changed last, and when last by another than that time.
  struct Last {
    std::uint64_t when = 0;
    std::optional<ClientTag> by;
    std::uint64_t other = 0;
  };
  const Last* last_change(NodeTag tag) const;
  void remember(NodeTag tag, const std::optional<ClientTag>& by);
  void tell(NoticedChange change, const std::optional<ClientTag>& by);
  void add(const ClientTag& client, Listener& listener, const NoticedChange& change);
  void doubt(const ClientTag& client, Listener& listener);
  void hear_all(Listener& listener);
  Listeners::value_type& greatest(std::size_t (*size)(const Listener&));

  Limits limits_;
  Listeners listeners_;
  std::size_t promised_ = 0, kept_ = 0;  // of all listeners
  std::set<ClientTag> due_;              // who may be to_be_told()
  std::unordered_map<NodeTag, std::optional<Spans>> changing_;
  std::uint64_t clock_ = 0;
  // Two generations, so that the oldest are forgotten together.
  std::unordered_map<NodeTag, Last> recent_, older_;
  std::uint64_t recent_since_ = 0, remembered_since_ = 0;
};

}  // namespace rushfs::fs

// Who has locked what, and who waits: the rules of fcntl(2) and flock(2) across clients. Record
// locks of one owner replace and join each other as on Linux; a wait that could never end is
// refused. docs/file-protocol.md, "Locks".
//
// Pure. Owner: the file loop.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "fs/protocol/client_tag.h"
#include "fs/protocol/lock_messages.h"

namespace rushfs::fs {

struct LockOwner {
  ClientTag client;
  std::uint64_t number = 0;  // as the client's kernel has it
  auto operator<=>(const LockOwner&) const = default;
};

struct LockRequest {
  NodeId node;
  LockOwner owner;
  std::uint32_t process = 0;
  LockSpan span;
  bool operator==(const LockRequest&) const = default;
};

class LockTable {
 public:
  /// Locks held and waited for by one client, some 4 MiB.
  static constexpr std::size_t kMaxPerClient = 16384;
  /// And of one file by all, as each call looks at all of them: some 40 us.
  static constexpr std::size_t kMaxPerFile = 4096;

  /// Locks looked at in search of a circle of owners who wait for each other, some 200 us; a larger
  /// one is not found. (Linux gives up after ten owners.)
  static constexpr std::size_t kMaxSearched = 16384;

  /// How often those who wait for a file are looked at again in one call, because one who was
  /// granted a shared lock has let go of an exclusive one: each takes up to some 5 ms.
  static constexpr unsigned kMaxLooks = 16;

  enum class Outcome : std::uint8_t { granted, conflict, deadlock, too_many };
  /// Sets, changes or gives up. Giving up succeeds, but where it cuts a lock in two and there are
  /// too many.
  Outcome set(const LockRequest& request);
  /// Gives up what the request was granted and nobody has heard of: always succeeds.
  void give_up(LockRequest request);
  /// As set(), but instead of a conflict the request waits under its ticket: see granted().
  Outcome set_or_wait(const LockRequest& request, std::uint64_t ticket);
  /// False: the request does not wait under this ticket (any more).
  bool cancel(const LockRequest& request, std::uint64_t ticket);
  /// The owner has it all already.
  bool holds_exactly(const LockRequest& request) const;
  /// That, or an exclusive one where a shared one is asked for.
  bool holds_at_least(const LockRequest& request) const;
  struct Held {
    LockOwner owner;
    std::uint32_t process = 0;
    LockSpan span;
  };
  /// What keeps the request from being granted; of several, what begins first.
  std::optional<Held> conflict(const LockRequest& request) const;
  /// Waits that set() had no time to look at again; every few seconds.
  void grant_rest();
  /// All that the client holds and waits for.
  void release(const ClientTag& client);
  void stop_waiting(const ClientTag& client);

  struct Granted {
    ClientTag client;
    std::uint64_t ticket = 0;
  };
  /// Waits that ended well since the last call, in order.
  std::vector<Granted> granted() { return std::exchange(granted_, {}); }
  bool empty() const { return nodes_.empty(); }
  bool owns(const NodeId& node, const LockOwner& owner, LockKind kind) const;
  /// The owner has some of the span for himself alone.
  bool excludes(const LockRequest& request) const;
  /// The span in parts, in order: what its owner holds of it, and `none` between.
  std::vector<LockSpan> parts(const LockRequest& request) const;
  /// One owner has the bytes from `byte` to here for himself alone; `byte`: not even that one.
  std::uint64_t exclusive_until(const NodeId& node, std::uint64_t byte) const;
  /// All that is held, as it would be asked for.
  std::vector<LockRequest> all() const;

 private:
  struct OwnerHash {
    std::size_t operator()(const LockOwner& owner) const;
  };
  struct Waiting {
    LockRequest request;
    std::uint64_t ticket = 0;
  };
  struct Node {
    std::vector<Held> held;
    std::deque<Waiting> waiting;
    bool full() const { return held.size() + waiting.size() >= kMaxPerFile; }
  };
  /// The two cannot be held at once.
  static bool conflicts(const Held& held, const LockRequest& request);
  static const Held* conflict(const Node& node, const LockRequest& request);
  /// The owner has a lock of the file that matches.
  template <class Matches>
  bool any_held(const NodeId& id, const LockOwner& owner, Matches matches) const;
  /// The owner has a lock that goes on at both sides of what he gives up.
  static bool cuts(const Node& node, const LockRequest& request);
  /// True: the owner has let go of something, so that others may get in now.
  bool apply(Node& node, const LockRequest& request);
  void grant(const NodeId& id);
  bool grant_until_let_go(Node& node);
  bool would_deadlock(const LockRequest& request) const;
  bool full(const LockRequest& request) const;
  void count(const ClientTag& client, long change);
  void begin_wait(const LockRequest& request, std::uint64_t ticket);
  void end_wait(const LockRequest& request);

  std::unordered_map<NodeId, Node> nodes_;
  std::map<ClientTag, std::size_t> counts_;
  std::unordered_map<LockOwner, std::vector<LockRequest>, OwnerHash> waits_;  // of each owner
  std::vector<Granted> granted_;
  std::unordered_set<NodeId> ungranted_;  // to be looked at again
};

}  // namespace rushfs::fs

// The order in which the queued operations of one client are applied: for each node one after the
// other as the client queued them, whatever the order they arrive in, and each once, however often
// they arrive. docs/file-protocol.md, "Queued changes".
//
// Pure; owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fs/server/export.h"

namespace rushfs::fs {

struct QueuedOperation {
  QueuePosition position;
  Request request;  // one with a position; views point into `body`
  Buffer body;
  Responder respond;
};

class WriteOrder {
 public:
  // Held back for missing predecessors, for one client. The transport's credit (256 MiB of requests
  // in flight) is reached first; these keep a client that never sends the predecessor from more.
  static constexpr std::size_t kMaxHeldBytes = 256u << 20;
  static constexpr std::size_t kMaxHeld = 65536;
  // One run of operations on one node: the gate is closed to others meanwhile.
  static constexpr std::size_t kMaxRunBytes = 8u << 20;
  static constexpr std::size_t kMaxRun = 256;

  enum class Arrival {
    queued,          // taken; see next()
    applied_before,  // not taken: answer that it is done
    too_many,        // not taken: EAGAIN
  };
  /// What became of the operations somebody waits for.
  enum class Outcome { applied, failed, lost };
  using Waiter = absl::AnyInvocable<void(Outcome) &&>;
  struct Told {
    Waiter waiter;
    Outcome outcome = Outcome::applied;
    void operator()() && { std::move(waiter)(outcome); }
  };

  /// `operation` is moved from only if queued. One that still waits may come again, the copy that
  /// was given up later than the other, for messages overtake each other: both are answered.
  Arrival arrive(const NodeId& node, QueuedOperation& operation);

  /// What may be applied now, in order; empty: nothing, or a run is under way. Call finished() when
  /// it was.
  std::vector<QueuedOperation> next(const NodeId& node);
  /// A run has ended. `applied`: number of the last operation that took effect, 0 if none. After a
  /// failure everything that waits on the node is handed back, to be answered ECANCELED: the client
  /// repeats it in order, or gives the failed one up.
  struct Undone {
    std::vector<Responder> operations;
    std::vector<QueuedOperation> repeated;  // came again before they were applied: they took effect
    std::vector<Told> waiters;              // to be called now
    void add(QueuedOperation operation, bool took_effect);
  };
  Undone finished(const NodeId& node, std::uint64_t applied, bool failed);

  /// Calls `waiter` once operation `through` is applied (perhaps at once), or cannot be.
  void when_applied(const NodeId& node, std::uint64_t through, Waiter waiter);

  /// A sync that began when `through` was applied has succeeded.
  void settled(const NodeId& node, std::uint64_t through);
  /// A sync has failed: what was applied to the node since the last one, also what is being
  /// applied, may be lost. Repeats are applied again; until the client has sent them, waiting for
  /// them is of no use. Returns who did.
  std::vector<Told> forget(const NodeId& node);

  /// The connection is gone: what waits will be sent again.
  void drop_held();

  std::uint64_t applied_through(const NodeId& node) const;
  std::uint64_t applied_through() const { return highest_; }
  std::size_t held_bytes() const { return held_bytes_; }

 private:
  struct Line {
    std::uint64_t applied = 0;
    std::uint64_t settled = 0;  // of these, on stable storage
    std::uint64_t lost = 0;     // were applied once; above what is, they may be lost
    bool running = false;
    bool running_lost = false;  // what is being applied may be lost too
    std::map<std::uint64_t, QueuedOperation> held;
    std::multimap<std::uint64_t, QueuedOperation> again;  // of those held or running; no bodies
    std::multimap<std::uint64_t, Waiter> waiters;         // by what they wait for
  };
  static std::vector<Told> take_waiters(Line& line, std::uint64_t above, Outcome outcome);
  bool ready(const Line& line, const QueuePosition& position, std::uint64_t applied) const;
  std::uint64_t reached(const Line& line) const;
  void forget_settled();

  std::unordered_map<NodeId, Line> lines_;
  std::uint64_t floor_ = 0;  // the client's: not above is settled
  std::uint64_t highest_ = 0;
  std::size_t held_bytes_ = 0;
  std::size_t held_ = 0;
  std::size_t forget_at_ = 1024;  // lines, when settled ones are next looked for
};

}  // namespace rushfs::fs

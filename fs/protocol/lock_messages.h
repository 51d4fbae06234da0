// Locks between clients: docs/file-protocol.md, "Locks". Structs only, as in messages.h.
#pragma once

#include <cstdint>
#include <optional>

#include "fs/protocol/message_types.h"

namespace rushfs::fs {

/// The two kinds do not see each other, as on Linux.
enum class LockKind : std::uint8_t {
  record = 0,  // fcntl(2): ranges of bytes, of a process or of an open file description
  whole = 1    // flock(2): the file
};
enum class LockType : std::uint8_t { shared = 0, exclusive = 1, none = 2 };

inline constexpr std::uint64_t kLockToEnd = (1ULL << 63) - 1;  // last byte of a lock without end

struct LockSpan {
  LockKind kind = LockKind::record;
  LockType type = LockType::none;
  std::uint64_t first = 0, last = kLockToEnd;  // bytes, both included; of `whole`: these
  bool operator==(const LockSpan&) const = default;
};

struct LockReply {
  Attributes attributes;  // of the file as whoever has the lock now finds it
  std::uint64_t notices = 0;  // of this connection, that tell of all that happened before
};
/// Sets, changes or (`none`) gives up a lock. EAGAIN: another owner has one that conflicts;
/// EDEADLK: waiting would never end; EINTR: given up by CancelLock; ENOLCK: too many, or `reclaim`
/// of a lock that was lost.
struct Lock {
  using Reply = LockReply;
  NodeId node;
  std::uint64_t owner = 0;  // as the client's kernel numbers them
  std::uint32_t process = 0;  // for F_GETLK of others
  LockSpan span;
  bool wait = false;        // answered when the lock is granted
  std::uint64_t ticket = 0;  // with wait: for CancelLock, unique in an incarnation
  bool reclaim = false;     // after a reconnection: it is held already
};

struct TestLockReply {
  std::optional<LockSpan> conflict;  // the first found; none: it could be had
  std::uint32_t process = 0;         // who has it
};
struct TestLock {
  using Reply = TestLockReply;
  NodeId node;
  std::uint64_t owner = 0;
  LockSpan span;
};

/// Whoever waits under the ticket is answered EINTR, if it still waits.
struct CancelLock {
  using Reply = EmptyReply;
  std::uint64_t ticket = 0;
};

}  // namespace rushfs::fs

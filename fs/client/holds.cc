#include "fs/client/holds.h"

#include <algorithm>
#include <utility>

namespace rushfs::fs {

namespace {

/// One cache block from each end.
constexpr std::uint64_t kHead = cache::kBlockBytes;
constexpr std::uint64_t kTail = cache::kBlockBytes;
constexpr std::uint64_t kTailFrom = 2 << 20;

/// A program that opens the same file again and again costs the server nothing new.
constexpr std::chrono::seconds kLinger{2};

}  // namespace

void Holds::hold(const InodeRef& inode) {
  open(inode, false, Patience::patient, [](Result<void>) {});
}

void Holds::open(const InodeRef& inode, bool bring_bytes, Patience patience, Reply<void> reply) {
  Open request{inode->node, true, 0, 0};
  const std::uint64_t size = inode->server.size;
  if (bring_bytes) {
    request.head_bytes = static_cast<std::uint32_t>(std::min(size, kHead));
    if (size >= kTailFrom) {
      const std::uint64_t last_block = (size - 1) / kTail * kTail;
      request.tail_bytes = static_cast<std::uint32_t>(size - last_block);
    }
  }
  ask(
      parts_.remote, Priority::urgent, request,
      [this, inode, epoch = known_.epoch(),
       reply = std::move(reply)](Result<Answer<OpenReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        inode->held = true;
        known_.learn(*inode, answer->reply, epoch);
        if (inode->server.version == (*answer)->attributes.version) {
          const OpenReply opened = answer->reply;
          auto owner = std::make_shared<const Buffer>(std::move(answer->bytes));
          reader_.seed(inode, 0, owner, opened.head, opened.head_zeros);
          reader_.seed(inode, opened.tail_offset, owner, opened.tail);
        }
        reply.ok();
      },
      patience);
}

void Holds::closed(const InodeRef& inode) {
  inode->closed_at = parts_.time.now;
  // A program may have it in its hands still: /proc/self/fd leads to files without a name.
  const bool may_come = inode->lookups > 0 && inode->held;
  if (inode->nameless() && !may_come) return let_go(inode);
  if (inode->held) closed_.push_back(inode);
}

void Holds::leave() {
  for (const auto& weak : std::exchange(closed_, {})) {
    const auto inode = weak.lock();
    if (inode && inode->opens == 0 && inode->nameless()) let_go(inode);
  }
}

// Our queue forgets it for good before the server may: what the next start of this mount would find
// in the queue would be refused.
void Holds::let_go(const InodeRef& inode) {
  abandon(*inode);
  if (!inode->held) return;
  if (inode->local.operations == 0 && !log_.may_remember(inode->node)) return release(inode);
  log_.flush([this, inode](Result<void>) {
    if (inode->opens == 0 && inode->held && !inode->rescuing) release(inode);
  });
}

// What is being kept apart from theirs stays.
void Holds::abandon(Inode& inode) {
  inode.abandoned = true;
  if (inode.rescuing || writeback_.is_appending(inode.node)) return;
  writeback_.give_up(inode.node);
}

void Holds::release(const InodeRef& inode) {
  inode->held = false;
  if (inode->releasing) return;
  inode->releasing = ask(
      parts_.remote, Priority::urgent, Release{inode->node},
      [this, inode](Result<Answer<EmptyReply>>) {
        inode->releasing.reset();
        // Opened again meanwhile: the two messages may have passed each other.
        if (inode->opens > 0) hold(inode);
      },
      Patience::patient);
}

// The server's promises ended with the connection: of what programs have open they are had anew,
// and what has changed meanwhile is learned.
void Holds::attached(bool restarted) {
  known_.inodes().each([&](Inode& inode) {
    if (restarted) inode.held = false;
    if (inode.opens > 0 && inode.regular()) hold(known_.inodes().find(inode.number));
  });
}

void Holds::tick(bool connected) {
  for (auto& weak : std::exchange(closed_, {})) {
    const auto inode = weak.lock();
    if (!inode || inode->opens > 0 || !inode->held) continue;
    const bool lingers = parts_.time.now - inode->closed_at < kLinger;
    // Should others have removed it meanwhile, what our changes were made to is only there.
    const bool unchecked = !connected || inode->rescuing || inode->changes_in_flight > 0;
    if (lingers || (unchecked && !inode->nameless())) {
      closed_.push_back(weak);
    } else if (inode->nameless()) {
      let_go(inode);
    } else {
      release(inode);
    }
  }
}

}  // namespace rushfs::fs

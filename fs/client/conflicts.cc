#include "fs/client/conflicts.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <utility>

#include "fs/client/queued_base.h"

namespace rushfs::fs {

void Conflicts::attached(const AttachReply& reply, bool restarted) {
  ++check_round_;
  for (const auto& [inode, base] : std::exchange(unjudged_, {})) --inode->changes_in_flight;
  for (const auto& waiting : writeback_.suspend_all()) {
    const auto inode = known_.inodes().get(waiting.node);
    // Then the file need not be as we know it, though nobody else has touched it.
    const bool applied = waiting.in_flight && *waiting.in_flight <= reply.applied_through;
    if (waiting.refused || (restarted ? waiting.uncommitted : applied)) inode->base_unknown = true;
    if (inode->rescuing) continue;
    const bool sendable = !inode->known() || inode->unlinked || inode->base_unknown;
    if (sendable && !rescuer_.begun(inode)) {
      resume(inode);
      continue;
    }
    ++inode->changes_in_flight;  // so that no other reply puts theirs in the place of what we know
    known_.begin_comparison(inode);
    check(inode, inode->server);
  }
}

void Conflicts::resume(const InodeRef& inode) {
  if (!inode->base_kept) return writeback_.resume(inode->node);
  to_resume_.push_back(inode);
  if (!replacing_) replace_bases();
}

void Conflicts::replace_bases() {
  replacing_ = true;
  auto inodes = std::exchange(to_resume_, {});
  std::vector<cache::WriteQueue::NewBase> bases;
  for (const auto& inode : inodes) {
    if (inode->rescuing) continue;
    bases.push_back({inode->node.bytes, encode_base(*inode, false)});
  }
  parts_.queue_loop.run(
      [&queue = parts_.queue, bases = std::move(bases)] { return queue.replace_bases(bases); },
      [this, round = check_round_, inodes = std::move(inodes)](Result<void>) {
        // A base that stays on a full disk costs a needless copy at worst.
        for (const auto& inode : inodes) {
          inode->base_kept = false;
          if (round == check_round_) writeback_.resume(inode->node);
        }
        replacing_ = false;
        if (!to_resume_.empty()) replace_bases();
      });
}

// A removal of ours may have overtaken the question: then its answer tells whether it was ours.
void Conflicts::check(const InodeRef& inode, const Attributes& base) {
  ask(
      parts_.remote, Priority::urgent, GetAttributes{inode->node},
      [this, inode, base, round = check_round_,
       epoch = known_.epoch()](Result<Answer<AttributesReply>> answer) {
        const int error = answer ? 0 : answer.error().value();
        const bool gone =
            answer ? (*answer)->attributes.links == 0 : error == ESTALE || error == ENOENT;
        const bool silent = !answer && !gone;  // it was asked, and has not said
        if ((silent || (gone && inode->removals > 0)) && round == check_round_) {
          unjudged_.emplace(inode, base);
          if (silent && error != ENOTCONN) writeback_.cannot_resume(inode->node, error);
          return;
        }
        // A change of ours from before the cut is repeated; its answer tells what it made of the
        // file, perhaps after this one was looked up.
        const bool ours_between = inode->changes_in_flight > 1 || inode->own_epoch > epoch;
        const bool repeated = known_.comparing(inode) && ours_between;
        if (answer && repeated && round == check_round_) return check(inode, base);
        --inode->changes_in_flight;
        if (round != check_round_) return;
        const Attributes known = known_.end_comparison(inode).value_or(base);
        judge(inode, known, answer ? std::optional((*answer)->attributes) : std::nullopt, gone);
      },
      Patience::patient);
}

// What was removed while we were connected is refused as it always was.
void Conflicts::missing(const InodeRef& inode) {
  const bool perhaps_lost = inode->base_unknown || known_.name_may_be_lost(*inode);
  if (!inode->known() || inode->unlinked || !perhaps_lost) {
    return writeback_.refuse(inode->node, ESTALE);
  }
  if (rescuer_.copying_to(inode)) {
    lost_copies_.insert(inode);
    return;
  }
  ++inode->changes_in_flight;
  check(inode, inode->server);
}

void Conflicts::removal_answered(const InodeRef& target) {
  if (!target || --target->removals > 0) return;
  const auto waiting = unjudged_.extract(target);
  if (waiting) check(target, waiting.mapped());
}

void Conflicts::judge(const InodeRef& inode, const Attributes& base,
                      const std::optional<Attributes>& theirs, bool gone) {
  const bool other = theirs && (theirs->mtime != base.mtime || theirs->size != base.size);
  const bool changed = other && !inode->base_unknown;
  const auto& size = inode->local.size;
  const bool data = size.set_size_bytes || size.write_end_bytes > 0 || inode->local.zeros;
  if (rescuer_.begun(inode)) return meet(inode, base, gone ? std::nullopt : theirs);
  const bool nothing = inode->unlinked || inode->local.operations == 0;
  const bool incomplete = rescuer_.copying_to(inode);
  if (nothing || incomplete || !(gone || (changed && data))) return resume(inode);
  if (!gone) {
    return unless_only_appended(inode, [this, inode, base, theirs] { meet(inode, base, theirs); });
  }
  // It had no name when ours were made, and whoever had it open ended with the mount before.
  if (base.links == 0 && inode->opens == 0) return holds_.abandon(*inode);
  meet(inode, base, std::nullopt);
}

// What goes to the end of a file goes to the end of theirs, as where both are connected.
void Conflicts::unless_only_appended(const InodeRef& inode, std::function<void()> meet) {
  ++inode->changes_in_flight;  // as in attached()
  parts_.queue_loop.run(
      [&queue = parts_.queue, node = inode->node.bytes] { return queue.only_appends(node); },
      [this, inode, round = check_round_, meet = std::move(meet)](bool appended) {
        --inode->changes_in_flight;
        if (round == check_round_) appended ? resume(inode) : meet();
      });
}

void Conflicts::meet(const InodeRef& inode, const Attributes& base,
                     const std::optional<Attributes>& theirs) {
  Meeting meeting{inode, base, theirs};
  if (!theirs && known_.name_may_be_lost(*inode)) {
    meeting.name = ConflictFile::Name::own;
    meeting.base.size = meeting.base.blocks = 0;  // all of it is queued
  }
  inode->rescuing = true;
  inode->server = meeting.base;
  ++inode->changes_in_flight;
  keep_apart(std::move(meeting));
}

void Conflicts::keep_apart(Meeting meeting) {
  const InodeRef inode = meeting.inode;
  const Attributes base = meeting.base;
  const auto name = meeting.name;
  auto done = [this, meeting = std::move(meeting)](Result<Rescued> ours) mutable {
    if (ours) return rescued(meeting.inode, meeting.theirs, *ours);
    meeting.error = ours.error().value();
    meeting.backoff = longer_backoff(meeting.backoff);
    meeting.retry_at = parts_.time.now + meeting.backoff;
    const NodeId node = meeting.inode->node;
    const int error = meeting.error;
    failed_.push_back(std::move(meeting));
    if (error != ENOTCONN) writeback_.cannot_resume(node, error);
  };
  rescuer_.rescue(inode, base, name, std::move(done));
}

void Conflicts::tick(bool connected) {
  if (!connected) return;
  for (const auto& [inode, base] : std::exchange(unjudged_, {})) check(inode, base);
  for (Meeting& meeting : std::exchange(failed_, {})) {
    if (parts_.time.now < meeting.retry_at) {
      failed_.push_back(std::move(meeting));
    } else if (meeting.inode->local.operations == 0) {
      given_up(meeting);
    } else {
      keep_apart(std::move(meeting));
    }
  }
}

// By a person, while it could not be kept apart: what is left is theirs.
void Conflicts::given_up(const Meeting& meeting) {
  rescuer_.forget(meeting.inode);
  meeting.inode->rescuing = false;
  --meeting.inode->changes_in_flight;
  known_.ours_moved(meeting.inode, meeting.theirs);
  writeback_.resume(meeting.inode->node);
}

void Conflicts::retry_now() {
  for (Meeting& meeting : failed_) meeting.retry_at = parts_.time.now;
}

void Conflicts::rescued(const InodeRef& inode, const std::optional<Attributes>& theirs,
                        const Rescued& ours) {
  const std::string copy = known_.inodes().path(*ours.copy);
  const bool again = copy == ours.path;
  if (again) {
    spdlog::warn("the server has lost '{}', which was new: it was made again", copy);
  } else {
    spdlog::warn("'{}' was {} by somebody else while this mount was cut off; our version is '{}'",
                 ours.path, theirs ? "changed" : "removed", copy);
    copies_.push_back({ours.path, copy, ours.missing_bytes});
  }
  if (ours.missing_bytes > 0) {
    spdlog::error("{} bytes of '{}' could not be had any more and are zeros", ours.missing_bytes,
                  copy);
  }
  writeback_.move(inode->node, ours.copy->node);
  // Who has ours open goes on with ours.
  handles_.each([&](HandleNumber number, Handle& handle) {
    if (handle.inode != inode || !(handle.flags.write || again)) return;
    locking_.closed(inode, number);  // what it has locked is theirs now
    handles_.move(handle, ours.copy);
    if (handle.flags.write) writeback_.opened(ours.copy->node);
  });
  if (again) inode->made_again = ours.copy;  // for whom it is open in the kernel
  ours.copy->opens > 0 ? holds_.hold(ours.copy) : holds_.closed(ours.copy);
  if (inode->opens == 0) holds_.closed(inode);
  if (ours.copy->writers == 0) writeback_.closed(ours.copy->node);
  // Killed before the queue has forgotten ours, we put it together again: what it was made to is
  // kept until then.
  log_.flush([this, inode, theirs, moved_to = ours.copy](Result<void>) {
    inode->rescuing = false;
    --inode->changes_in_flight;
    known_.ours_moved(inode, theirs);
    writeback_.resume(inode->node);  // what was written to theirs meanwhile
    if (lost_copies_.erase(moved_to) > 0) missing(moved_to);
  });
}

}  // namespace rushfs::fs

#include "fs/client/file_locks.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace rushfs::fs {
namespace {

LockRequest local(const NodeId& node, const LockAsk& ask) {
  return {node, {{}, ask.owner}, ask.process, ask.span};
}

Lock message(const NodeId& node, const LockAsk& ask) {
  Lock request;
  request.node = node;
  request.owner = ask.owner;
  request.process = ask.process;
  request.span = ask.span;
  request.wait = ask.ticket != 0;
  request.ticket = ask.ticket;
  return request;
}

}  // namespace

void FileLocks::acquire(const InodeRef& inode, std::uint64_t handle, const LockAsk& what,
                        Reply<LockReply> reply) {
  const AskedRef asked =
      asked_.emplace(asked_count_++, Asked{inode, handle, what, std::move(reply), time_.now}).first;
  if (!reclaims_.contains(inode->number)) send(asked);
}

void FileLocks::send(AskedRef asked) {
  const LockAsk& what = asked->second.what;
  asked->second.call = ask(
      remote_, Priority::urgent, message(asked->second.inode->node, what),
      [this, asked](Result<Answer<LockReply>> answer) { answered(asked, std::move(answer)); },
      what.ticket != 0 ? Patience::patient : Patience::prompt);
}

void FileLocks::answered(AskedRef asked, Result<Answer<LockReply>> answer) {
  if (!answer) {
    if (!asked->second.call) return;  // held back
    const int error = answer.error().value();
    const bool unknown = error == ETIMEDOUT || error == ECANCELED;
    return unknown ? take_back(asked, ETIMEDOUT) : end(asked, error);
  }
  Asked granted = std::move(asked->second);
  asked_.erase(asked);
  table_.set(local(granted.inode->node, granted.what));
  by_handle_[granted.handle].insert({granted.what.owner, granted.what.span.kind});
  granted.reply((*answer).reply);
}

/// Not had. flock(2) has given up by then what was to be changed.
void FileLocks::failed(const Asked& asked) {
  const auto request = local(asked.inode->node, asked.what);
  const bool changed = request.span.kind == LockKind::whole && !table_.holds_exactly(request);
  if (changed) table_.give_up(request);
}

void FileLocks::end(AskedRef asked, int error) {
  failed(asked->second);
  auto reply = std::move(asked->second.reply);
  asked_.erase(asked);
  reply.fail(error);
}

void FileLocks::take_back(AskedRef asked, int error) {
  failed(asked->second);
  withdraw(asked->second.inode, asked->second.what);
  end(asked, error);
}

void FileLocks::hold_back(const InodeRef& inode) {
  for (auto& [number, asked] : asked_) {
    if (asked.inode != inode || !asked.call) continue;
    remote_.cancel(*std::exchange(asked.call, std::nullopt));
  }
}

void FileLocks::cancel(std::uint64_t ticket) {
  const AskedRef asked = std::ranges::find_if(asked_, [&](const auto& each) {
    return each.second.what.ticket == ticket;
  });
  if (asked == asked_.end()) return;
  if (!asked->second.call) return take_back(asked, EINTR);
  ask(remote_, Priority::urgent, CancelLock{ticket}, [](Result<Answer<EmptyReply>>) {});
}

void FileLocks::end_waits_since(transport::TimePoint then) {
  end_those(
      [&](const Asked& asked) {
        return asked.since <= then && (asked.what.ticket != 0 || !asked.call);
      },
      ETIMEDOUT);
}

void FileLocks::end_those(const std::function<bool(const Asked&)>& whom, int error) {
  std::vector<std::uint64_t> ended;
  for (const auto& [number, asked] : asked_) {
    if (whom(asked)) ended.push_back(number);
  }
  for (const std::uint64_t number : ended) {
    const AskedRef asked = asked_.find(number);
    if (asked == asked_.end()) continue;
    if (asked->second.call) {
      remote_.cancel(*asked->second.call);
    } else {
      take_back(asked, error);
    }
  }
}

/// The server may have granted it, or do so yet, to somebody who no longer waits.
void FileLocks::withdraw(const InodeRef& inode, const LockAsk& what) {
  auto undo = [this, inode, what, ended = withdrawing_(inode)] {
    say_again(inode, what);
    ended();
  };
  if (what.ticket == 0) return undo();
  ask(
      remote_, Priority::urgent, CancelLock{what.ticket},
      [undo = std::move(undo)](Result<Answer<EmptyReply>>) mutable { undo(); }, Patience::patient);
}

/// Tells the server what the owner holds of the span and what not.
void FileLocks::say_again(const InodeRef& inode, const LockAsk& what) {
  if (const auto again = reclaims_.find(inode->number); again != reclaims_.end()) {
    again->second.then.emplace_back([this, inode, what] { say_again(inode, what); });
    return;
  }
  for (const LockSpan& part : table_.parts(local(inode->node, what))) {
    Lock lock = message(inode->node, {what.owner, what.process, part});
    lock.reclaim = part.type != LockType::none;  // lost meanwhile, it is not to be had anew
    ask(
        remote_, Priority::urgent, std::move(lock),
        [ended = reclaim_begins(inode)](Result<Answer<LockReply>>) { ended(); },
        Patience::patient);
  }
}

void FileLocks::give_up(const InodeRef& inode, const LockAsk& what, Reply<void> reply) {
  if (const auto again = reclaims_.find(inode->number); again != reclaims_.end()) {
    // Said again after it was given up, the server would keep it for ever.
    again->second.then.emplace_back([this, inode, what, reply = std::move(reply)]() mutable {
      give_up(inode, what, std::move(reply));
    });
    return;
  }
  auto had = what;
  had.span.type = excludes(inode, what) ? LockType::exclusive : LockType::shared;
  if (table_.set(local(inode->node, what)) == LockTable::Outcome::too_many) {
    return reply.fail(ENOLCK);
  }
  ask(
      remote_, Priority::urgent, message(inode->node, what),
      [this, inode, had, reply = std::move(reply)](Result<Answer<LockReply>> answer) mutable {
        // It was to be cut in two, and is whole at the server.
        if (!answer && answer.error().value() == ENOLCK) table_.set(local(inode->node, had));
        // A file that is gone has no locks either.
        reply(answer || answer.error().value() == ESTALE ? Result<void>()
                                                         : Result<void>(answer.error()));
      },
      Patience::patient);
}

void FileLocks::test(const InodeRef& inode, const LockAsk& what, Reply<TestLockReply> reply) {
  ask(remote_, Priority::urgent, TestLock{inode->node, what.owner, what.span},
      [reply = std::move(reply)](Result<Answer<TestLockReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        reply(answer->reply);
      });
}

bool FileLocks::excludes(const InodeRef& inode, const LockAsk& what) const {
  return table_.excludes(local(inode->node, what));
}

bool FileLocks::holds_any(const InodeRef& inode, std::uint64_t owner, LockKind kind) const {
  return table_.owns(inode->node, {{}, owner}, kind);
}

std::set<std::pair<std::uint64_t, LockKind>> FileLocks::closed(std::uint64_t handle) {
  const auto found = by_handle_.find(handle);
  if (found == by_handle_.end()) return {};
  auto owners = std::move(found->second);
  by_handle_.erase(found);
  return owners;
}

// Who asks for more of them lost those before, and gets no use of it.
void FileLocks::forget(const InodeRef& inode) {
  end_those([&](const Asked& asked) { return asked.inode == inode && !asked.call; }, EIO);
  std::set<std::pair<std::uint64_t, LockKind>> owners;
  for (const LockRequest& held : table_.all()) {
    if (held.node == inode->node) owners.emplace(held.owner.number, held.span.kind);
  }
  for (const auto& [owner, kind] : owners) {
    LockAsk all;
    all.owner = owner;
    all.span.kind = kind;
    all.span.type = LockType::none;
    give_up(inode, all, [ended = withdrawing_(inode)](Result<void>) { ended(); });
  }
}

FileLocks::Ended FileLocks::reclaim_begins(const InodeRef& inode) {
  ++reclaims_[inode->number].unanswered;
  return [this, number = inode->number, ended = withdrawing_(inode)] {
    const auto mine = reclaims_.find(number);
    if (--mine->second.unanswered == 0) {
      auto then = std::move(mine->second.then);
      reclaims_.erase(mine);
      for (auto& each : then) std::move(each)();
      for (AskedRef each = asked_.begin(); each != asked_.end(); ++each) {
        const bool his = each->second.inode->number == number;
        if (his && !each->second.call && !reclaims_.contains(number)) send(each);
      }
    }
    ended();
  };
}

void FileLocks::reclaim(const std::function<InodeRef(const NodeId&)>& find,
                        std::function<void(const InodeRef&)> lost, std::function<void()> done) {
  struct Round {
    std::size_t waiting = 1;
    std::function<void(const InodeRef&)> lost;
    std::function<void()> done;
    void arrive() {
      if (--waiting == 0) done();
    }
  };
  auto round = std::make_shared<Round>();
  round->lost = std::move(lost);
  round->done = std::move(done);
  for (const LockRequest& held : table_.all()) {
    const InodeRef inode = find(held.node);
    if (!inode) continue;
    Lock again = message(held.node, {held.owner.number, held.process, held.span});
    again.reclaim = true;
    ++round->waiting;
    hold_back(inode);
    ask(
        remote_, Priority::urgent, std::move(again),
        [this, round, inode, ended = reclaim_begins(inode)](Result<Answer<LockReply>> answer) {
          if (!answer && answer.error().value() != ENOTCONN) {
            forget(inode);
            round->lost(inode);
          }
          ended();  // now that who waits to lock it would learn that it was lost
          round->arrive();
        },
        Patience::patient);
  }
  round->arrive();
}

}  // namespace rushfs::fs

#include "fs/server/export_locks.h"

#include <algorithm>
#include <cerrno>

namespace rushfs::fs {
namespace {

LockRequest request_of(const ClientTag& client, const Lock& lock) {
  LockSpan span = lock.span;
  if (span.kind == LockKind::whole) span.first = 0, span.last = kLockToEnd;
  return {lock.node, {client, lock.owner}, lock.process, span};
}

int error_of(LockTable::Outcome outcome) {
  switch (outcome) {
    case LockTable::Outcome::granted:
      return 0;
    case LockTable::Outcome::conflict:
      return EAGAIN;
    case LockTable::Outcome::deadlock:
      return EDEADLK;
    case LockTable::Outcome::too_many:
      break;
  }
  return ENOLCK;
}

}  // namespace

void ExportLocks::lock(RequestContext context, const Lock& lock, Responder respond) {
  const LockRequest request = request_of(context.client, lock);
  if (request.span.first > request.span.last) return std::move(respond)(encode_error(EINVAL));
  if (lock.span.type == LockType::none) {
    if (const auto outcome = table_.set(request); outcome != LockTable::Outcome::granted) {
      return std::move(respond)(encode_error(error_of(outcome)));
    }
    granted_(context, request, std::move(respond));
    return wake();
  }
  const bool grace = context.now < grace_end_;
  if (lock.reclaim) {
    // What is beyond it was granted to somebody who never heard of it.
    const bool had = table_.holds_at_least(request);
    const bool set = (had || grace) && table_.set(request) == LockTable::Outcome::granted;
    if (!had && !set) return std::move(respond)(encode_error(ENOLCK));
    granted_(context, request, std::move(respond));
    return wake();
  }
  if (lock.wait && waiting_.contains({context.client, lock.ticket})) {
    return std::move(respond)(encode_error(EINVAL));
  }
  if (grace) {
    // Those who had locks before a restart of the server come first.
    after_grace_.push_back({std::move(context), lock, std::move(respond)});
    return;
  }
  const auto outcome = lock.wait ? table_.set_or_wait(request, lock.ticket) : table_.set(request);
  if (outcome == LockTable::Outcome::granted) {
    granted_(context, request, std::move(respond));
  } else if (outcome == LockTable::Outcome::conflict && lock.wait) {
    const auto ticket = std::pair(context.client, lock.ticket);
    waiting_.emplace(ticket, Asked{std::move(context), lock, std::move(respond)});
  } else {
    std::move(respond)(encode_error(error_of(outcome)));
  }
  wake();  // an flock(2) that was changed was given up first
}

void ExportLocks::test(const RequestContext& context, const TestLock& test,
                       Responder respond) const {
  Lock lock;
  lock.node = test.node;
  lock.owner = test.owner;
  lock.span = test.span;
  const auto held = table_.conflict(request_of(context.client, lock));
  TestLockReply reply;
  if (held) {
    reply.conflict = held->span;
    reply.process = held->process;
  }
  std::move(respond)(encode_reply(reply));
}

void ExportLocks::cancel(const ClientTag& client, std::uint64_t ticket) {
  const auto waiter = waiting_.find({client, ticket});
  if (waiter != waiting_.end() && table_.cancel(request_of(client, waiter->second.lock), ticket)) {
    std::move(waiter->second.respond)(encode_error(EINTR));
    waiting_.erase(waiter);
  }
  const auto early = std::ranges::find_if(after_grace_, [&](const Asked& each) {
    return each.context.client == client && each.lock.wait && each.lock.ticket == ticket;
  });
  if (early != after_grace_.end()) {
    std::move(early->respond)(encode_error(EINTR));
    after_grace_.erase(early);
  }
}

void ExportLocks::give_up(const LockRequest& request) {
  table_.give_up(request);
  wake();
}

void ExportLocks::wake() {
  for (const LockTable::Granted& granted : table_.granted()) {
    const auto found = waiting_.find({granted.client, granted.ticket});
    if (found == waiting_.end()) continue;
    Asked asked = std::move(found->second);
    waiting_.erase(found);
    granted_(asked.context, request_of(granted.client, asked.lock), std::move(asked.respond));
  }
}

void ExportLocks::stop_waiting(const ClientTag& client) {
  table_.stop_waiting(client);
  const auto first = waiting_.lower_bound({client, 0});
  auto last = first;
  while (last != waiting_.end() && last->first.first == client) ++last;
  waiting_.erase(first, last);
  std::erase_if(after_grace_, [&](const auto& each) { return each.context.client == client; });
  wake();
}

void ExportLocks::release(const ClientTag& client) {
  stop_waiting(client);
  table_.release(client);
  wake();
}

void ExportLocks::restart(transport::TimePoint grace_end) {
  table_ = LockTable();
  waiting_.clear();
  grace_end_ = grace_end;
}

void ExportLocks::tick(transport::TimePoint now) {
  table_.grant_rest();
  wake();
  if (now < grace_end_) return;
  for (Asked& early : std::exchange(after_grace_, {})) {
    const CancelFlag cancelled = early.context.cancelled;
    if (cancelled && *cancelled) {
      std::move(early.respond)(encode_error(ECANCELED));
    } else {
      early.context.now = now;
      lock(std::move(early.context), early.lock, std::move(early.respond));
    }
  }
}

}  // namespace rushfs::fs

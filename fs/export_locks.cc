// Locks between clients: docs/file-protocol.md, "Locks".
#include <algorithm>

#include "fs/export_implementation.h"

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

/// The answer to a lock that is held: with the attributes that whoever held it before left.
void Export::Implementation::answer_locked(const RequestContext& context, LockRequest request,
                                           Responder respond) {
  const auto reply = std::make_shared<LockReply>();
  run(
      context.priority, job_on({request.node}),
      [reply](const Store& store, Job& job) {
        auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        job.error = attributes ? 0 : attributes.error().value();
        if (attributes) reply->attributes = *attributes;
      },
      [this, client = context.client, request, reply,
       respond = std::move(respond)](Job& job) mutable {
        if (job.error != 0) {
          request.span.type = LockType::none;
          locks_.set(request);
        }
        promise(client, job);
        reply->notices = promises_.told_with(client);
        std::move(respond)(job.error == 0 ? encode_reply(*reply) : encode_error(job.error));
        wake_lock_waiters();
        tell();
      });
}

void Export::Implementation::on(RequestContext context, Lock& lock, Buffer, Responder respond) {
  const LockRequest request = request_of(context.client, lock);
  if (request.span.first > request.span.last) return std::move(respond)(encode_error(EINVAL));
  if (lock.span.type == LockType::none) {
    locks_.set(request);
    answer_locked(context, request, std::move(respond));
    return wake_lock_waiters();
  }
  if (lock.reclaim) {
    const bool had = locks_.holds(request) || (now_ < lock_grace_until_ &&
                                               locks_.set(request) == LockTable::Outcome::granted);
    if (!had) return std::move(respond)(encode_error(ENOLCK));
    return answer_locked(context, request, std::move(respond));
  }
  if (now_ < lock_grace_until_) {
    // Those who had locks before a restart of the server come first.
    after_grace_.push_back({std::move(context), lock, std::move(respond)});
    return;
  }
  const auto outcome = lock.wait ? locks_.set_or_wait(request, lock.ticket) : locks_.set(request);
  if (outcome == LockTable::Outcome::granted) {
    answer_locked(context, request, std::move(respond));
  } else if (outcome == LockTable::Outcome::conflict && lock.wait) {
    lock_waiters_.insert_or_assign({context.client, lock.ticket},
                                   LockWaiter{std::move(context), request, std::move(respond)});
  } else {
    std::move(respond)(encode_error(error_of(outcome)));
  }
  wake_lock_waiters();  // an flock(2) that was changed was given up first
}

void Export::Implementation::on(RequestContext context, TestLock& test, Buffer, Responder respond) {
  Lock lock;
  lock.node = test.node;
  lock.owner = test.owner;
  lock.span = test.span;
  const auto held = locks_.conflict(request_of(context.client, lock));
  TestLockReply reply;
  if (held) {
    reply.conflict = held->span;
    reply.process = held->process;
  }
  std::move(respond)(encode_reply(reply));
}

void Export::Implementation::on(RequestContext context, CancelLock& cancel, Buffer,
                                Responder respond) {
  const auto waiter = lock_waiters_.find({context.client, cancel.ticket});
  if (waiter != lock_waiters_.end() && locks_.cancel(context.client, cancel.ticket)) {
    std::move(waiter->second.respond)(encode_error(EINTR));
    lock_waiters_.erase(waiter);
  }
  const auto early = std::ranges::find_if(after_grace_, [&](const EarlyLock& each) {
    return each.context.client == context.client && each.request.wait &&
           each.request.ticket == cancel.ticket;
  });
  if (early != after_grace_.end()) {
    std::move(early->respond)(encode_error(EINTR));
    after_grace_.erase(early);
  }
  std::move(respond)(encode_reply(EmptyReply{}));
}

void Export::Implementation::wake_lock_waiters() {
  for (const LockTable::Granted& granted : locks_.granted()) {
    const auto found = lock_waiters_.find({granted.client, granted.ticket});
    if (found == lock_waiters_.end()) continue;
    LockWaiter waiter = std::move(found->second);
    lock_waiters_.erase(found);
    answer_locked(waiter.context, waiter.request, std::move(waiter.respond));
  }
}

/// Its connection is gone: it asks again on the next. What it holds stays for its lease.
void Export::Implementation::stop_lock_waits(const ClientTag& client) {
  locks_.stop_waiting(client);
  std::erase_if(lock_waiters_, [&](const auto& entry) { return entry.first.first == client; });
  std::erase_if(after_grace_, [&](const auto& each) { return each.context.client == client; });
}

void Export::Implementation::release_locks(const ClientTag& client) {
  stop_lock_waits(client);
  locks_.release(client);
  wake_lock_waiters();
}

void Export::Implementation::tick_locks() {
  for (const auto& [client, record] : clients_) {
    if (record.gone_since && now_ - *record.gone_since >= kLockLease) locks_.release(client);
  }
  wake_lock_waiters();
  if (now_ < lock_grace_until_) return;
  for (EarlyLock& early : std::exchange(after_grace_, {})) {
    const CancelFlag cancelled = early.context.cancelled;
    if (cancelled && *cancelled) {
      std::move(early.respond)(encode_error(ECANCELED));
    } else {
      on(std::move(early.context), early.request, {}, std::move(early.respond));
    }
  }
}

}  // namespace rushfs::fs

// Operations on their way to the server, and what it answers.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "fs/client/writeback.h"

namespace rushfs::fs {

namespace {

using namespace std::chrono_literals;

/// Refusals that may pass without anybody touching the operation.
bool worth_retrying(int error) {
  switch (error) {
    case ENOSPC: case EDQUOT: case EIO: case EAGAIN: case EBUSY: case ENOMEM: case EMFILE:
    case ENFILE: case ENOBUFS: case ETIMEDOUT: case EINTR: case EBADMSG:
      return true;
    default:
      return false;
  }
}

std::string refusal(int error) {
  return std::string("the server refused it: ") + std::strerror(error);
}

}  // namespace

void Writeback::send(Batch batch) {
  Node& node = nodes_[batch.node];
  Sent sent;
  sent.last = batch.sequences.back();
  sent.since = parts_.time.now;
  if (cache::carries_data(batch.kind)) sent.bytes = batch.data.size();
  if (batch.kind == cache::OperationKind::append) {
    node.appends_sent = std::max(node.appends_sent, sent.last);
  }
  const QueuePosition position{sent.last, batch.after, floor_};
  const auto priority = node.wanted_urgently() ? Priority::demand : Priority::behind;
  const NodeId id = batch.node;
  listener_.sending(id);
  send_request(batch, sent, position, priority);
  sent.sequences = std::move(batch.sequences);
  in_flight_ += sent.bytes;
  node.uncommitted += sent.bytes;
  node.active = parts_.time.now;
  node.sent.push_back(std::move(sent));
  consider_commit(id, node);
}

void Writeback::send_request(Batch& batch, Sent& sent, const QueuePosition& position,
                             Priority priority) {
  const NodeId id = batch.node;
  AppliedOperation& operation = sent.operation;
  auto handle = [this, id, last = sent.last](auto result) {
    if (!result) return answered(id, last, result.error());
    AppendReply reply{(*result)->change, std::nullopt};
    if constexpr (requires { (*result)->offset; }) reply.offset = (*result)->offset;
    answered(id, last, reply);
  };
  const auto ask_in_order = [&](auto request) {
    sent.call = ask(parts_.remote, priority, std::move(request), handle, Patience::patient);
  };
  if (cache::carries_data(batch.kind)) {
    operation.offset = batch.offset;
    operation.length = batch.data.size();
    operation.append = batch.kind == cache::OperationKind::append;
    if (!operation.append) {
      operation.data = std::make_shared<const Buffer>(std::move(batch.data));
      return ask_in_order(Write{id, position, batch.offset, false, *operation.data});
    }
    const bool repeated = batch.sequences.front() <= repeated_through_;
    return ask_in_order(Append{id, position, batch.offset, repeated, batch.data});
  }
  if (batch.kind == cache::OperationKind::set_attributes) operation.set_size = batch.set_size;
  if (batch.kind == cache::OperationKind::zero) {
    operation.offset = batch.offset;
    operation.length = batch.set_size.value_or(batch.offset) - batch.offset;
  }
  auto decoded = decode_request(batch.data);
  auto* request = std::get_if<Request>(&decoded);
  assert(request && "the queue holds what ChangeLog appended");
  operation.xattrs = std::holds_alternative<SetXattr>(*request);
  std::visit(
      [&](auto& change) {
        if constexpr (requires { change.order = position; }) {
          change.order = position;
          change.node = id;
          ask_in_order(change);
        }
      },
      *request);
}

// Of what is not an append, the reply has no offset.
void Writeback::answered(const NodeId& id, std::uint64_t last, Result<AppendReply> result) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;  // taken back before
  Node& node = found->second;
  const auto at = std::lower_bound(node.sent.begin(), node.sent.end(), last,
                                   [](const Sent& sent, std::uint64_t l) { return sent.last < l; });
  if (at == node.sent.end() || at->last != last || at->answered) return;
  if (!result) {
    const int error = result.error().value();
    if (error == ENOTCONN) return;
    const auto index = static_cast<std::size_t>(at - node.sent.begin());
    if (error == ECANCELED) {
      // One before it failed; that one's own answer says why, and may come later.
      take_back(id, node, index);
      chosen_.insert(id);
    } else {
      refused(id, node, index, error);
    }
    return pump();
  }
  at->answered = true;
  at->operation.change = result->change;
  if (result->offset) place(*at, *result->offset);
  in_flight_ -= at->bytes;
  node.error = 0;
  node.missing = false;
  node.backoff = {};
  node.active = parts_.time.now;
  listener_.not_sending(id);
  while (node.reported < node.sent.size() && node.sent[node.reported].answered) {
    const AppliedOperation applied = std::move(node.sent[node.reported++].operation);
    listener_.applied(id, applied);
  }
  if (node.after_append && !node.append_under_way()) node.after_append = false;
  if (may_choose(node)) chosen_.insert(id);
  consider_commit(id, node);
  retire(id, node);
  pump();
}

void Writeback::place(Sent& append, std::uint64_t offset) {
  append.operation.offset = offset;
  parts_.queue_loop.run([&queue = parts_.queue, sequences = append.sequences, offset] {
    queue.place_appends(sequences, offset);
  });
}

void Writeback::refused(const NodeId& id, Node& node, std::size_t index, int error) {
  const bool gone = error == ESTALE || error == ENOENT;
  spdlog::error("sending '{}': the server answered: {}", node.name, std::strerror(error));
  if (gone && !node.missing) {
    node.missing = true;
    take_back(id, node, 0);
    node.retry_at.reset();
    node.suspended = true;
    return listener_.missing(id);
  }
  take_back(id, node, index);
  node.error = error;
  if (!worth_retrying(error)) return park(id, node, error);
  node.backoff = longer_backoff(node.backoff);
  node.retry_at = parts_.time.now + node.backoff;
  settling_.insert(id);
  wake(node, errno_code(error), true);
}

void Writeback::hold_back() {
  attached_ = false;
  ++generation_;  // what is being loaded is not sent either
  loading_ = false;
  for (auto& [id, node] : nodes_) take_back(id, node, 0);
}

// Only the queue knows its first operation, while it lies behind the cursor.
void Writeback::refuse(const NodeId& id, int error) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || !found->second.any()) return;
  take_back(id, found->second, 0);
  hold(found->second, 1, error);  // where sequences begin
  parts_.queue_loop.run(
      [&queue = parts_.queue, id, error] {
        queue.fail_all(id.bytes, error, refusal(error));
        return queue.parked();
      },
      [this](std::vector<cache::ParkedOperation> parked) { learn_parked(std::move(parked)); });
}

// What was sent from `from` on counts as unsent again.
void Writeback::take_back(const NodeId& id, Node& node, std::size_t from) {
  if (node.commit) {
    const CallId commit = *node.commit;
    node.commit.reset();
    parts_.remote.cancel(commit);
  }
  node.append_through = 0;
  node.after_append = false;
  std::vector<Sent> taken(std::make_move_iterator(node.sent.begin() +
                                                  static_cast<std::ptrdiff_t>(from)),
                          std::make_move_iterator(node.sent.end()));
  node.sent.resize(from);
  node.reported = std::min(node.reported, from);
  // A commit may have been answered before the operations it covers.
  if (!taken.empty()) {
    node.committed = std::min(node.committed, taken.front().sequences.front() - 1);
  }
  for (auto sent = taken.rbegin(); sent != taken.rend(); ++sent) {
    node.unsent.insert(node.unsent.begin(), sent->sequences.begin(), sent->sequences.end());
    node.uncommitted -= sent->bytes;
    if (sent->answered) continue;
    in_flight_ -= sent->bytes;
    listener_.not_sending(id);
    parts_.remote.cancel(sent->call);
  }
}

void Writeback::park(const NodeId& id, Node& node, int error) {
  assert(!node.unsent.empty());
  const std::uint64_t sequence = node.unsent.front();
  parked_.push_back({sequence, id.bytes, node.name, error, refusal(error), false});
  hold(node, sequence, error);
  parts_.queue_loop.run(
      [&queue = parts_.queue, sequence, error] {
        queue.fail(sequence, error, refusal(error));
        return queue.parked();
      },
      [this](std::vector<cache::ParkedOperation> parked) { learn_parked(std::move(parked)); });
}

void Writeback::hold(Node& node, std::uint64_t from, int error) {
  node.hold_from(from);
  node.missing = false;  // once it is tried again
  node.error = 0;
  node.retry_at.reset();
  node.suspended = false;
  wake(node, errno_code(error), false);
}

// The queue decides: what it says last is true, also where this was held or freed meanwhile.
void Writeback::learn_parked(std::vector<cache::ParkedOperation> parked) {
  std::erase_if(parked, [&](const auto& each) { return discarding_.contains(NodeId{each.node}); });
  parked_ = parked;
  for (auto& [id, node] : nodes_) node.parked_from.reset();
  for (const auto& operation : parked) {
    const auto found = nodes_.find(NodeId{operation.node});
    if (found == nodes_.end()) continue;
    found->second.hold_from(operation.sequence);
    wake(found->second, errno_code(operation.error != 0 ? operation.error : EIO), false);
  }
}

}  // namespace rushfs::fs

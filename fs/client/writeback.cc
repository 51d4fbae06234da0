#include "fs/client/writeback.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace rushfs::fs {

namespace {

/// Sent and unanswered, in times of what the path holds: where packets are lost, a write is whole
/// one or two round trips later than it should be, and those behind it are applied after it.
constexpr std::uint64_t kPathsInFlight = 4;
/// Keeps a fast path busy until it has been measured.
constexpr std::uint64_t kFirstWindow = 32 << 20;
constexpr std::uint64_t kSmallestWindow = 8 << 20;
/// Memory held by unanswered writes; fills 10 Gb/s over 200 ms.
constexpr std::uint64_t kLargestWindow = 256 << 20;
std::string describe(const cache::ParkedOperation& operation) {
  return operation.message.empty() ? std::strerror(operation.error) : operation.message;
}

}  // namespace

Writeback::Writeback(const ClientParts& parts, WritebackListener& listener,
                     transport::Duration timeout)
    : parts_(parts), listener_(listener), timeout_(timeout), window_(kFirstWindow) {}

void Writeback::restore(const std::vector<cache::PendingNode>& nodes,
                        const std::vector<cache::ParkedOperation>& parked) {
  for (const auto& pending : nodes) {
    if (!pending.last_sequence) continue;
    Node& node = nodes_[NodeId{pending.node}];
    node.name = pending.display_name;
    node.last = node.known_after = *pending.last_sequence;
    node.operations = pending.operations;
    node.bytes = pending.data_bytes;
    operations_ += pending.operations;
    bytes_ += pending.data_bytes;
    bytes_total_ += pending.data_bytes;
    highest_ = std::max(highest_, *pending.last_sequence);
  }
  repeated_through_ = highest_;
  parked_ = parked;
  for (const auto& each : parked_) nodes_[NodeId{each.node}].hold_from(each.sequence);
}

void Writeback::attached(std::uint32_t max_write, bool restarted) {
  max_write_ = std::min(max_write, kMaxTransfer);
  attached_ = true;
  if (restarted) {
    ++generation_;
    loading_ = false;
    cursor_ = 0;
    repeated_through_ = highest_;
    chosen_.clear();
    for (auto& [id, node] : nodes_) {
      take_back(id, node, 0);
      node.unsent.clear();
      node.known_after = node.last;
    }
    assert(in_flight_ == 0);
  }
  hurry();
}

void Writeback::appending(const NodeId& id) { ++nodes_[id].appending; }

bool Writeback::is_appending(const NodeId& id) const {
  const auto found = nodes_.find(id);
  return found != nodes_.end() && found->second.appending > 0;
}

void Writeback::not_appended(const NodeId& id) {
  --nodes_.at(id).appending;
  settling_.insert(id);
}

void Writeback::appended(const NodeId& id, const std::string& name, std::uint64_t sequence,
                         std::uint64_t bytes) {
  // It was queued before, and goes with the others.
  if (discarding_.contains(id)) return not_appended(id);
  Node& node = nodes_.at(id);
  --node.appending;
  node.name = name;
  if (node.parked_from) {
    node.known_after = sequence;
  } else {
    node.unsent.push_back(sequence);
  }
  node.last = sequence;
  node.bytes += bytes;
  ++node.operations;
  highest_ = std::max(highest_, sequence);
  ++operations_;
  bytes_ += bytes;
  bytes_total_ += bytes;
  gathered_ += bytes;
  pump();
}

void Writeback::opened(const NodeId& id) { nodes_[id].open = true; }

void Writeback::closed(const NodeId& id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  found->second.open = false;
  consider_commit(id, found->second);
  drop_if_idle(id);
  hurry();
}

// A load under way may still bring operations above the cursor that were sent before their turn;
// only the node's record tells them from new ones.
void Writeback::drop_if_idle(const NodeId& id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || !found->second.idle()) return;
  assert(found->second.operations == 0);
  if (found->second.last <= cursor_) {
    nodes_.erase(found);
  } else {
    settling_.insert(id);
  }
}

void Writeback::give_up(const NodeId& id) {
  auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  take_back(id, found->second, 0);
  auto waiters = std::move(found->second.waiters);
  operations_ -= found->second.operations;
  bytes_ -= found->second.bytes;
  bytes_total_ -= found->second.bytes;
  const auto appending = found->second.appending;
  nodes_.erase(found);
  if (appending > 0) nodes_[id].appending = appending;
  chosen_.erase(id);
  settling_.erase(id);
  std::erase_if(parked_, [&](const auto& operation) { return operation.node == id.bytes; });
  ++discarding_[id];
  parts_.queue_loop.run([&queue = parts_.queue, id] { queue.discard(id.bytes); },
                        [this, id] {
                          if (--discarding_[id] == 0) discarding_.erase(id);
                        });
  listener_.discarded(id);
  for (auto& waiter : waiters) waiter.done.ok();
  pump();  // what gathered until its answer
}

void Writeback::move(const NodeId& from, const NodeId& to) {
  const auto found = nodes_.find(from);
  if (found == nodes_.end()) return;
  auto waiters = std::move(found->second.waiters);
  found->second.waiters.clear();
  give_up(from);
  for (auto& waiter : waiters) {
    if (waiter.urgent) {
      sync(to, std::move(waiter.done));
    } else {
      wait(to, std::move(waiter.done));
    }
  }
}

void Writeback::each_queued(const std::function<void(const NodeId&)>& visit) const {
  for (const auto& [id, node] : nodes_) {
    if (node.any()) visit(id);
  }
}

std::vector<Writeback::Suspended> Writeback::suspend_all() {
  std::vector<Suspended> suspended;
  for (auto& [id, node] : nodes_) {
    node.suspended = node.any();
    if (!node.suspended) continue;
    std::size_t first = 0;
    while (first < node.sent.size() && node.sent[first].answered) ++first;
    Suspended waiting{id, std::nullopt, !node.sent.empty(), node.error != 0};
    if (first < node.sent.size()) waiting.in_flight = node.sent[first].sequences.front();
    take_back(id, node, first);
    node.retry_at.reset();
    node.missing = false;
    suspended.push_back(std::move(waiting));
  }
  return suspended;
}

void Writeback::resume(const NodeId& id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || !std::exchange(found->second.suspended, false)) return;
  if (may_choose(found->second)) chosen_.insert(id);
  consider_commit(id, found->second);
  pump();
}

void Writeback::cannot_resume(const NodeId& id, int error) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  found->second.error = error;
  wake(found->second, errno_code(error), true);
}

void Writeback::set_path(std::uint64_t bytes) {
  if (bytes > 0) window_ = std::clamp(kPathsInFlight * bytes, kSmallestWindow, kLargestWindow);
}

void Writeback::retry_now() {
  for (auto& [id, node] : nodes_) {
    if (!node.retry_at) continue;
    node.retry_at = parts_.time.now;
    node.backoff = {};
  }
  parts_.queue_loop.run(
      [&queue = parts_.queue] {
        auto sequences = queue.retry_parked();
        return std::pair(std::move(sequences), queue.parked());
      },
      [this](std::pair<std::vector<std::uint64_t>, std::vector<cache::ParkedOperation>> result) {
        learn_parked(std::move(result.second));
        for (auto& [id, node] : nodes_) {
          if (node.retry_at) settling_.insert(id);
        }
        if (!result.first.empty()) load_again_from(result.first.front());
        hurry();
      });
}

void Writeback::discard_parked(std::uint64_t sequence, Reply<void> done) {
  for (const auto& parked : parked_) {
    if (parked.sequence != sequence) continue;
    spdlog::warn("giving up what was written to '{}', as asked", parked.display_name);
    give_up(NodeId{parked.node});
    return done.ok();
  }
  done.fail(ENOENT);
}

void Writeback::stop() {
  std::vector<Waiter> waiters;
  for (auto& [id, node] : nodes_) {
    for (auto& waiter : node.waiters) waiters.push_back(std::move(waiter));
    node.waiters.clear();
  }
  for (auto& waiter : waiters) waiter.done.fail(ENOTCONN);
}

void Writeback::tick(bool connected) {
  if (parts_.time.now - parts_.remote.last_heard() >= timeout_) {
    for (auto& [id, node] : nodes_) end_late_waits(node);
  }
  compute_floor();
  for (const NodeId& id : std::vector<NodeId>(settling_.begin(), settling_.end())) {
    const auto found = nodes_.find(id);
    if (found == nodes_.end()) {
      settling_.erase(id);
    } else {
      settle(id, found->second, connected);
    }
  }
  hurry();
}

QueueStatus Writeback::status() const {
  QueueStatus status;
  status.operations = operations_;
  status.bytes = bytes_;
  status.bytes_total = bytes_total_;
  status.bytes_done = bytes_done_;
  for (const auto& [id, node] : nodes_) {
    if (node.operations > 0) ++status.files;
    for (const auto& sent : node.sent) status.bytes_sent += sent.answered ? sent.bytes : 0;
    if (node.waits()) status.retry_error = node.error;
  }
  for (const auto& parked : parked_) {
    status.parked.push_back(
        {parked.sequence, parked.display_name, describe(parked), parked.error});
  }
  return status;
}

}  // namespace rushfs::fs

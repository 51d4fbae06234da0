#include "fs/write_order.h"

#include <algorithm>
#include <cassert>

namespace rushfs::fs {

bool WriteOrder::ready(const Line& line, const QueuePosition& position,
                       std::uint64_t applied) const {
  return position.after <= std::max({applied, line.applied, floor_, position.floor});
}

std::uint64_t WriteOrder::reached(const Line& line) const {
  return std::max(line.applied, floor_);
}

WriteOrder::Arrival WriteOrder::arrive(const NodeId& node, QueuedOperation& operation) {
  const QueuePosition position = operation.position;
  floor_ = std::max(floor_, position.floor);
  const auto known = lines_.find(node);
  const std::uint64_t applied = known == lines_.end() ? 0 : known->second.applied;
  if (position.sequence <= std::max(applied, floor_)) return Arrival::applied_before;
  if (held_ >= kMaxHeld || held_bytes_ + operation.body.size() > kMaxHeldBytes) {
    return Arrival::too_many;
  }
  if (known == lines_.end() && lines_.size() >= forget_at_) forget_settled();
  Line& line = lines_[node];
  ++held_;
  if (line.held.contains(position.sequence)) {
    line.again.emplace(position.sequence, std::move(operation.respond));
    return Arrival::queued;
  }
  held_bytes_ += operation.body.size();
  line.held.emplace(position.sequence, std::move(operation));
  return Arrival::queued;
}

std::vector<QueuedOperation> WriteOrder::next(const NodeId& node) {
  std::vector<QueuedOperation> run;
  const auto found = lines_.find(node);
  if (found == lines_.end() || found->second.running) return run;
  Line& line = found->second;
  std::size_t bytes = 0;
  std::uint64_t applied = line.applied;
  while (!line.held.empty() && run.size() < kMaxRun) {
    auto first = line.held.begin();
    const std::size_t size = first->second.body.size();
    if (!ready(line, first->second.position, applied)) break;
    if (!run.empty() && bytes + size > kMaxRunBytes) break;
    bytes += size;
    held_bytes_ -= size;
    --held_;
    applied = first->first;
    run.push_back(std::move(first->second));
    line.held.erase(first);
  }
  line.running = !run.empty();
  return run;
}

WriteOrder::Undone WriteOrder::finished(const NodeId& node, std::uint64_t applied, bool failed) {
  Undone undone;
  const auto found = lines_.find(node);
  if (found == lines_.end()) return undone;  // dropped meanwhile
  Line& line = found->second;
  line.running = false;
  line.applied = std::max(line.applied, applied);
  highest_ = std::max(highest_, applied);
  for (auto each = line.again.begin(); each != line.again.end();) {
    const bool repeated = each->first <= line.applied;
    if (!repeated && !failed) break;
    --held_;
    (repeated ? undone.repeated : undone.operations).push_back(std::move(each->second));
    each = line.again.erase(each);
  }
  for (auto each = line.held.begin(); each != line.held.end();) {
    const bool repeated = each->first <= line.applied;
    if (!repeated && !failed) break;
    held_bytes_ -= each->second.body.size();
    --held_;
    (repeated ? undone.repeated : undone.operations).push_back(std::move(each->second.respond));
    each = line.held.erase(each);
  }
  std::vector<Waiter> waiters = std::move(line.waiters);
  line.waiters.clear();
  const std::uint64_t now = reached(line);
  for (Waiter& waiter : waiters) {
    if (waiter.through <= now) {
      std::move(waiter.call)(true);
    } else if (failed) {
      undone.waiters.push_back(std::move(waiter.call));
    } else {
      line.waiters.push_back(std::move(waiter));
    }
  }
  return undone;
}

void WriteOrder::when_applied(const NodeId& node, std::uint64_t through,
                              absl::AnyInvocable<void(bool) &&> waiter) {
  const auto found = lines_.find(node);
  const std::uint64_t now = found == lines_.end() ? floor_ : reached(found->second);
  if (through <= now) return std::move(waiter)(true);
  lines_[node].waiters.push_back({through, std::move(waiter)});
}

void WriteOrder::forget(const NodeId& node) {
  const auto found = lines_.find(node);
  if (found != lines_.end()) found->second.applied = 0;
}

void WriteOrder::drop_held() {
  for (auto& [node, line] : lines_) {
    line.held.clear();
    line.again.clear();
    line.waiters.clear();
  }
  held_bytes_ = 0;
  held_ = 0;
}

std::uint64_t WriteOrder::applied_through(const NodeId& node) const {
  const auto found = lines_.find(node);
  return found == lines_.end() ? 0 : found->second.applied;
}

void WriteOrder::forget_settled() {
  std::erase_if(lines_, [this](const auto& entry) {
    const Line& line = entry.second;
    return !line.running && line.held.empty() && line.waiters.empty() && line.applied <= floor_;
  });
  forget_at_ = std::max<std::size_t>(1024, lines_.size() * 2);
}

}  // namespace rushfs::fs

#include "fs/server/write_order.h"

#include <algorithm>
#include <cassert>
#include <utility>

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
    operation.body = {};
    line.again.emplace(position.sequence, std::move(operation));
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

void WriteOrder::Undone::add(QueuedOperation operation, bool took_effect) {
  if (took_effect) {
    repeated.push_back(std::move(operation));
  } else {
    operations.push_back(std::move(operation.respond));
  }
}

WriteOrder::Undone WriteOrder::finished(const NodeId& node, std::uint64_t applied, bool failed) {
  Undone undone;
  const auto found = lines_.find(node);
  if (found == lines_.end()) return undone;  // dropped meanwhile
  Line& line = found->second;
  line.running = false;
  const bool lost = std::exchange(line.running_lost, false);
  if (lost) {
    line.lost = std::max(line.lost, applied);
  } else {
    line.applied = std::max(line.applied, applied);
  }
  highest_ = std::max(highest_, applied);
  for (auto each = line.again.begin(); each != line.again.end();) {
    const bool came_before = lost && each->first <= applied && !line.held.contains(each->first);
    const bool repeated = each->first <= line.applied || came_before;
    if (!repeated && !failed) {
      if (++each; lost) continue;
      break;
    }
    --held_;
    undone.add(std::move(each->second), repeated);
    each = line.again.erase(each);
  }
  for (auto each = line.held.begin(); each != line.held.end();) {
    const bool repeated = each->first <= line.applied;
    if (!repeated && !failed) break;
    held_bytes_ -= each->second.body.size();
    --held_;
    undone.add(std::move(each->second), repeated);
    each = line.held.erase(each);
  }
  const std::uint64_t now = reached(line);
  if (failed || line.lost > now) {
    undone.waiters = take_waiters(line, now, failed ? Outcome::failed : Outcome::lost);
  }
  for (auto each = line.waiters.begin(); each != line.waiters.end() && each->first <= now;) {
    undone.waiters.push_back({std::move(each->second), Outcome::applied});
    each = line.waiters.erase(each);
  }
  return undone;
}

std::vector<WriteOrder::Told> WriteOrder::take_waiters(Line& line, std::uint64_t above,
                                                       Outcome outcome) {
  std::vector<Told> taken;
  const auto first = line.waiters.upper_bound(above);
  for (auto each = first; each != line.waiters.end(); ++each) {
    taken.push_back({std::move(each->second), outcome});
  }
  line.waiters.erase(first, line.waiters.end());
  return taken;
}

void WriteOrder::when_applied(const NodeId& node, std::uint64_t through, Waiter waiter) {
  const auto found = lines_.find(node);
  const std::uint64_t now = found == lines_.end() ? floor_ : reached(found->second);
  if (through <= now) return std::move(waiter)(Outcome::applied);
  if (found != lines_.end() && found->second.lost > now) return std::move(waiter)(Outcome::lost);
  lines_[node].waiters.emplace(through, std::move(waiter));
}

void WriteOrder::settled(const NodeId& node, std::uint64_t through) {
  const auto found = lines_.find(node);
  if (found == lines_.end()) return;
  Line& line = found->second;
  line.settled = std::max(line.settled, through);
  line.applied = std::max(line.applied, through);
}

std::vector<WriteOrder::Told> WriteOrder::forget(const NodeId& node) {
  const auto found = lines_.find(node);
  if (found == lines_.end()) return {};
  Line& line = found->second;
  if (line.applied > line.settled) line.lost = std::max(line.lost, line.applied);
  line.applied = line.settled;
  line.running_lost = line.running;
  return take_waiters(line, reached(line), Outcome::lost);
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
    return !line.running && line.held.empty() && line.waiters.empty() &&
           std::max(line.applied, line.lost) <= floor_;
  });
  forget_at_ = std::max<std::size_t>(1024, lines_.size() * 2);
}

}  // namespace rushfs::fs

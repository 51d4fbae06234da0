#include "fs/lock_table.h"

#include <algorithm>
#include <cstring>

namespace rushfs::fs {
namespace {

bool overlap(const LockSpan& a, const LockSpan& b) {
  return a.kind == b.kind && a.first <= b.last && b.first <= a.last;
}

bool touch(const LockSpan& a, const LockSpan& b) {
  return a.kind == b.kind && a.type == b.type && (overlap(a, b) || a.last + 1 == b.first ||
                                                   b.last + 1 == a.first);
}

}  // namespace

std::size_t LockTable::OwnerHash::operator()(const LockOwner& owner) const {
  std::uint64_t tag = 0;  // a digest as it is; clients of one key begin alike
  std::memcpy(&tag, owner.client.bytes.data() + ClientTag::kKeyBytes, sizeof tag);
  return static_cast<std::size_t>(tag ^ (owner.number * 0x9E3779B97F4A7C15ULL));
}

bool LockTable::conflicts(const Held& held, const LockRequest& request) {
  if (request.span.type == LockType::none || held.owner == request.owner) return false;
  const bool exclusive =
      held.span.type == LockType::exclusive || request.span.type == LockType::exclusive;
  return exclusive && overlap(held.span, request.span);
}

const LockTable::Held* LockTable::conflict(const Node& node, const LockRequest& request) {
  const Held* first = nullptr;
  for (const Held& held : node.held) {
    if (!conflicts(held, request)) continue;
    if (first == nullptr || held.span.first < first->span.first) first = &held;
  }
  return first;
}

std::optional<LockTable::Held> LockTable::conflict(const LockRequest& request) const {
  const auto node = nodes_.find(request.node);
  const Held* held = node == nodes_.end() ? nullptr : conflict(node->second, request);
  return held != nullptr ? std::optional<Held>(*held) : std::nullopt;
}

template <class Matches>
bool LockTable::any_held(const NodeId& id, const LockOwner& owner, Matches matches) const {
  const auto node = nodes_.find(id);
  return node != nodes_.end() && std::ranges::any_of(node->second.held, [&](const Held& held) {
    return held.owner == owner && matches(held.span);
  });
}

bool LockTable::holds_exactly(const LockRequest& request) const {
  const LockSpan& asked = request.span;
  return any_held(request.node, request.owner, [&](const LockSpan& held) {
    return held.kind == asked.kind && held.type == asked.type && held.first <= asked.first &&
           held.last >= asked.last;
  });
}

bool LockTable::holds_at_least(const LockRequest& request) const {
  LockRequest stronger = request;
  stronger.span.type = LockType::exclusive;
  return holds_exactly(request) || holds_exactly(stronger);
}

void LockTable::count(const ClientTag& client, long change) {
  auto& number = counts_[client];
  number = static_cast<std::size_t>(static_cast<long>(number) + change);
  if (number == 0) counts_.erase(client);
}

bool LockTable::full(const LockRequest& request) const {
  const auto mine = counts_.find(request.owner.client);
  const auto node = nodes_.find(request.node);
  return (mine != counts_.end() && mine->second >= kMaxPerClient) ||
         (node != nodes_.end() && node->second.full());
}

bool LockTable::cuts(const Node& node, const LockRequest& request) {
  return std::ranges::any_of(node.held, [&](const Held& held) {
    return held.owner == request.owner && held.span.kind == request.span.kind &&
           held.span.first < request.span.first && request.span.last < held.span.last;
  });
}

/// The owner's locks give way where the new one is, and join it where they are of its type.
bool LockTable::apply(Node& node, const LockRequest& request) {
  Held made{request.owner, request.process, request.span};
  const auto gives_way = [&](const Held& held) {
    return held.owner == made.owner &&
           (overlap(held.span, made.span) || touch(held.span, made.span));
  };
  const auto met = std::stable_partition(node.held.begin(), node.held.end(),
                                         [&](const Held& held) { return !gives_way(held); });
  const std::vector<Held> given(met, node.held.end());
  node.held.erase(met, node.held.end());
  bool let_go = false;
  for (const Held& held : given) {
    count(held.owner.client, -1);
    let_go |= held.span.type != made.span.type && made.span.type != LockType::exclusive;
    if (held.span.type == made.span.type) {
      made.span.first = std::min(made.span.first, held.span.first);
      made.span.last = std::max(made.span.last, held.span.last);
      continue;
    }
    Held before = held, behind = held;
    before.span.last = made.span.first - 1;
    behind.span.first = made.span.last + 1;
    for (const auto& [part, left] : {std::pair(before, held.span.first < made.span.first),
                                     std::pair(behind, held.span.last > made.span.last)}) {
      if (!left) continue;
      count(held.owner.client, 1);
      node.held.push_back(part);
    }
  }
  if (made.span.type != LockType::none) {
    count(made.owner.client, 1);
    node.held.push_back(made);
  }
  return let_go;
}

/// Those who wait get their turn in order; one that still cannot be granted holds up nobody else.
void LockTable::grant(const NodeId& id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  bool again = true;
  for (unsigned looks = 0; again && looks < kMaxLooks; ++looks) again = grant_until_let_go(node);
  if (again) ungranted_.insert(id);
  if (node.held.empty() && node.waiting.empty()) nodes_.erase(found);
}

/// True: a shared lock was granted in place of an exclusive one, which lets others in.
bool LockTable::grant_until_let_go(Node& node) {
  bool let_go = false;
  std::deque<Waiting> still;
  for (Waiting& each : std::exchange(node.waiting, {})) {
    if (let_go || conflict(node, each.request) != nullptr) {
      still.push_back(std::move(each));
      continue;
    }
    end_wait(each.request);
    let_go = apply(node, each.request);
    granted_.push_back({each.request.owner.client, each.ticket});
  }
  node.waiting = std::move(still);
  return let_go;
}

void LockTable::grant_rest() {
  for (const NodeId& id : std::exchange(ungranted_, {})) grant(id);
}

void LockTable::give_up(LockRequest request) {
  request.span.type = LockType::none;
  const auto node = nodes_.find(request.node);
  if (node == nodes_.end()) return;
  apply(node->second, request);
  grant(request.node);
}

LockTable::Outcome LockTable::set(const LockRequest& request) {
  Node& node = nodes_[request.node];
  bool gave_up = false;
  // flock(2): changing a lock gives it up first, also when the new one cannot be had.
  if (request.span.kind == LockKind::whole && request.span.type != LockType::none) {
    LockRequest nothing = request;
    nothing.span.type = LockType::none;
    if (!holds_exactly(request)) gave_up = apply(node, nothing);
  }
  Outcome outcome = Outcome::granted;
  if (conflict(node, request) != nullptr) {
    outcome = Outcome::conflict;
  } else if (full(request) && (request.span.type != LockType::none || cuts(node, request))) {
    outcome = Outcome::too_many;
  } else if (apply(node, request)) {
    gave_up = true;
  }
  if (gave_up || node.held.empty()) grant(request.node);
  return outcome;
}

void LockTable::begin_wait(const LockRequest& request, std::uint64_t ticket) {
  nodes_[request.node].waiting.push_back({request, ticket});
  waits_[request.owner].push_back(request);
  count(request.owner.client, 1);
}

/// It is no longer among the node's.
void LockTable::end_wait(const LockRequest& request) {
  count(request.owner.client, -1);
  const auto found = waits_.find(request.owner);
  auto& waits = found->second;
  waits.erase(std::ranges::find(waits, request));
  if (waits.empty()) waits_.erase(found);
}

bool LockTable::would_deadlock(const LockRequest& request) const {
  std::set<LockOwner> seen;
  std::vector<LockRequest> behind{request};
  std::size_t searched = 0;
  while (!behind.empty()) {
    const LockRequest waits = std::move(behind.back());
    behind.pop_back();
    const auto node = nodes_.find(waits.node);
    if (node == nodes_.end()) continue;
    for (const Held& held : node->second.held) {
      if (++searched > kMaxSearched) return false;
      if (!conflicts(held, waits)) continue;
      if (held.owner == request.owner) return true;
      const auto waiting = waits_.find(held.owner);
      if (waiting == waits_.end() || !seen.insert(held.owner).second) continue;
      behind.insert(behind.end(), waiting->second.begin(), waiting->second.end());
    }
  }
  return false;
}

LockTable::Outcome LockTable::set_or_wait(const LockRequest& request, std::uint64_t ticket) {
  const Outcome outcome = set(request);
  if (outcome != Outcome::conflict) return outcome;
  if (full(request)) return Outcome::too_many;
  // As on Linux, only record locks are looked at.
  if (request.span.kind == LockKind::record && would_deadlock(request)) return Outcome::deadlock;
  begin_wait(request, ticket);
  return Outcome::conflict;
}

bool LockTable::cancel(const LockRequest& request, std::uint64_t ticket) {
  const auto found = nodes_.find(request.node);
  if (found == nodes_.end()) return false;
  Node& node = found->second;
  const auto waiting = std::ranges::find_if(node.waiting, [&](const Waiting& each) {
    return each.request == request && each.ticket == ticket;
  });
  if (waiting == node.waiting.end()) return false;
  node.waiting.erase(waiting);
  end_wait(request);
  if (node.held.empty() && node.waiting.empty()) nodes_.erase(found);
  return true;
}

bool LockTable::owns(const NodeId& id, const LockOwner& owner, LockKind kind) const {
  return any_held(id, owner, [&](const LockSpan& held) { return held.kind == kind; });
}

bool LockTable::excludes(const LockRequest& request) const {
  return any_held(request.node, request.owner, [&](const LockSpan& held) {
    return held.type == LockType::exclusive && overlap(held, request.span);
  });
}

std::vector<LockSpan> LockTable::parts(const LockRequest& request) const {
  const auto node = nodes_.find(request.node);
  std::vector<LockSpan> held;
  for (const Held& each : node == nodes_.end() ? std::vector<Held>() : node->second.held) {
    const bool his = each.owner == request.owner && overlap(each.span, request.span);
    if (his) held.push_back(each.span);
  }
  std::ranges::sort(held, {}, &LockSpan::first);
  std::vector<LockSpan> out;
  LockSpan rest = request.span;
  rest.type = LockType::none;
  for (LockSpan span : held) {
    span.first = std::max(span.first, rest.first);
    span.last = std::min(span.last, rest.last);
    if (span.first > rest.first) {
      out.push_back(rest);
      out.back().last = span.first - 1;
    }
    out.push_back(span);
    rest.first = span.last + 1;
  }
  if (rest.first <= rest.last) out.push_back(rest);
  return out;
}

std::uint64_t LockTable::exclusive_until(const NodeId& id, std::uint64_t byte) const {
  const auto node = nodes_.find(id);
  if (node == nodes_.end()) return byte;
  std::uint64_t until = byte;
  for (const auto& [owner, process, span] : node->second.held) {
    const bool has = span.type == LockType::exclusive && span.first <= byte && byte <= span.last;
    if (has) until = std::max(until, span.last + 1);
  }
  return until;
}

std::vector<LockRequest> LockTable::all() const {
  std::vector<LockRequest> out;
  for (const auto& [id, node] : nodes_) {
    for (const Held& held : node.held) out.push_back({id, held.owner, held.process, held.span});
  }
  return out;
}

void LockTable::stop_waiting(const ClientTag& client) {
  if (!counts_.contains(client)) return;
  for (auto& [id, node] : nodes_) {
    std::erase_if(node.waiting, [&](const Waiting& each) {
      const LockRequest ended = each.request;
      if (ended.owner.client == client) end_wait(ended);
      return ended.owner.client == client;
    });
  }
}

void LockTable::release(const ClientTag& client) {
  if (!counts_.contains(client)) return;
  stop_waiting(client);
  std::vector<NodeId> touched;
  for (auto& [id, node] : nodes_) {
    const auto gone =
        std::erase_if(node.held, [&](const Held& held) { return held.owner.client == client; });
    if (gone > 0 || node.held.empty()) touched.push_back(id);
  }
  counts_.erase(client);
  for (const NodeId& id : touched) grant(id);
}

}  // namespace rushfs::fs

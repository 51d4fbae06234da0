#include "fs/server/node_gates.h"

#include <algorithm>
#include <cassert>

namespace rushfs::fs {

bool NodeGates::first_everywhere(std::uint64_t pass, const Waiting& waiting) const {
  return std::all_of(waiting.nodes.begin(), waiting.nodes.end(),
                     [&](const NodeId& node) { return lines_.at(node).front() == pass; });
}

void NodeGates::enter(std::vector<NodeId> nodes, Enter enter) {
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  const std::uint64_t pass = next_pass_++;
  for (const NodeId& node : nodes) lines_[node].push_back(pass);
  Waiting& waiting = passes_[pass];
  waiting.nodes = std::move(nodes);
  waiting.enter = std::move(enter);
  if (!first_everywhere(pass, waiting)) return;
  waiting.inside = true;
  std::move(waiting.enter)(pass);
}

void NodeGates::leave(std::uint64_t pass) {
  const auto gone = passes_.find(pass);
  assert(gone != passes_.end() && gone->second.inside);
  const std::vector<NodeId> nodes = std::move(gone->second.nodes);
  passes_.erase(gone);
  std::vector<std::uint64_t> next;
  for (const NodeId& node : nodes) {
    const auto line = lines_.find(node);
    line->second.pop_front();
    if (line->second.empty()) {
      lines_.erase(line);
    } else {
      next.push_back(line->second.front());
    }
  }
  std::sort(next.begin(), next.end());
  next.erase(std::unique(next.begin(), next.end()), next.end());
  for (const std::uint64_t candidate : next) {
    const auto waiting = passes_.find(candidate);
    if (waiting == passes_.end() || waiting->second.inside) continue;
    if (!first_everywhere(candidate, waiting->second)) continue;
    waiting->second.inside = true;
    std::move(waiting->second.enter)(candidate);
  }
}

}  // namespace rushfs::fs

#include "fs/server/uncommitted_calls.h"

#include <utility>
#include <vector>

namespace rushfs::fs {

void UncommittedCalls::changed(const ClientTag& client, const NodeId& node) {
  auto* clients = files_.find(node);
  if (clients == nullptr) {
    files_.put(node, {});
    clients = files_.find(node);
  }
  (*clients)[client].last = ++clock_;
}

void UncommittedCalls::synced(const NodeId& node, std::uint64_t begun) {
  auto* clients = files_.find(node);
  if (clients == nullptr) return;
  for (auto& [client, calls] : *clients) {
    if (calls.last <= begun) calls.last = 0;
  }
  std::erase_if(*clients, [](const auto& entry) { return entry.second.settled(); });
  if (clients->empty()) files_.erase(node);
}

void UncommittedCalls::lost(const NodeId& node) {
  auto* clients = files_.find(node);
  if (clients == nullptr) return;
  for (auto& [client, calls] : *clients) {
    calls.lost = calls.lost || calls.last != 0;
    calls.last = 0;
  }
}

bool UncommittedCalls::tell_lost(const ClientTag& client, const NodeId& node) {
  auto* clients = files_.find(node);
  if (clients == nullptr) return false;
  const auto found = clients->find(client);
  if (found == clients->end()) return false;
  Calls& calls = found->second;
  calls.told = std::exchange(calls.lost, false);
  const bool told = calls.told;
  if (calls.settled()) clients->erase(found);
  if (clients->empty()) files_.erase(node);
  return told;
}

void UncommittedCalls::each(const ClientTag& client, void (*act)(Calls&)) {
  std::vector<NodeId> nodes;
  for (const auto& [node, clients] : files_.all()) {
    if (clients.contains(client)) nodes.push_back(node);
  }
  for (const NodeId& node : nodes) {
    auto& clients = *files_.find(node);
    act(clients[client]);
    if (clients[client].settled()) clients.erase(client);
    if (clients.empty()) files_.erase(node);
  }
}

void UncommittedCalls::reconnected(const ClientTag& client) {
  each(client, [](Calls& calls) {
    calls.lost = calls.lost || calls.told;
    calls.told = false;
  });
}

void UncommittedCalls::forget(const ClientTag& client) {
  each(client, [](Calls& calls) { calls = {}; });
}

}  // namespace rushfs::fs

#include "transport/udp/call_table.h"

namespace rushfs::transport {

std::vector<ConnectionHandle> CallTable::connections() const {
  std::vector<ConnectionHandle> all;
  for (const auto& [connection, calls] : connections_) all.push_back({connection});
  return all;
}

void CallTable::asked(ConnectionHandle connection, RequestId id, CallToken token) {
  Calls& calls = connections_.at(connection.value);
  calls.by_request.emplace(id.value, token);
  calls.by_token.emplace(token.value, id);
}

std::optional<CallToken> CallTable::answered(ConnectionHandle connection, RequestId id) {
  const auto calls = connections_.find(connection.value);
  if (calls == connections_.end()) return std::nullopt;
  const auto call = calls->second.by_request.find(id.value);
  if (call == calls->second.by_request.end()) return std::nullopt;
  const CallToken token = call->second;
  calls->second.by_request.erase(call);
  calls->second.by_token.erase(token.value);
  return token;
}

std::optional<RequestId> CallTable::cancelled(ConnectionHandle connection, CallToken token) {
  const auto calls = connections_.find(connection.value);
  if (calls == connections_.end()) return std::nullopt;
  const auto call = calls->second.by_token.find(token.value);
  if (call == calls->second.by_token.end()) return std::nullopt;
  const RequestId id = call->second;
  calls->second.by_token.erase(call);
  calls->second.by_request.erase(id.value);
  return id;
}

}  // namespace rushfs::transport

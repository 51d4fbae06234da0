// Which connections are open and which of their requests belong to which of the caller's tokens.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "transport/endpoint.h"

namespace rushfs::transport {

/// Chosen by the caller to recognise the outcome; unique among the driver's calls under way.
struct CallToken {
  std::uint64_t value = 0;
  auto operator<=>(const CallToken&) const = default;
};

class CallTable {
 public:
  void open(ConnectionHandle connection) { connections_.try_emplace(connection.value); }
  bool is_open(ConnectionHandle connection) const {
    return connections_.contains(connection.value);
  }
  /// Its calls are forgotten: no reply will come.
  void closed(ConnectionHandle connection) { connections_.erase(connection.value); }
  std::vector<ConnectionHandle> connections() const;

  void asked(ConnectionHandle connection, RequestId id, CallToken token);
  /// The token of the answered request; none if it was cancelled.
  std::optional<CallToken> answered(ConnectionHandle connection, RequestId id);
  /// The request of the token; none if it was answered already.
  std::optional<RequestId> cancelled(ConnectionHandle connection, CallToken token);

 private:
  struct Calls {
    absl::flat_hash_map<std::uint64_t, CallToken> by_request;
    absl::flat_hash_map<std::uint64_t, RequestId> by_token;
  };
  absl::flat_hash_map<std::uint64_t, Calls> connections_;
};

}  // namespace rushfs::transport

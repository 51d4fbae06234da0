// Who may connect to a server, and who is connected: authorized_keys as it is now, and what a new
// version of it means for those already here. Owner: the server's file loop. Pure.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/server/server_sessions.h"
#include "transport/security/authorized_keys.h"

namespace rushfs::tools {

using SharedKeys = std::shared_ptr<const transport::AuthorizedKeys>;

class ClientBook {
 public:
  explicit ClientBook(SharedKeys keys) : keys_(std::move(keys)) {}

  void connected(transport::ConnectionHandle connection, const transport::PublicKey& key) {
    connections_[connection] = key;
  }
  void closed(transport::ConnectionHandle connection) { connections_.erase(connection); }

  /// What a key may do with an export.
  std::optional<fs::ExportGrant> grant(const transport::PublicKey& key,
                                       const std::string& export_name) const;
  /// The comment of the key's line and its fingerprint, for logs.
  std::string name(const transport::PublicKey& key) const;

  struct Closing {
    transport::ConnectionHandle connection;
    transport::CloseReason reason;
  };
  /// Takes the new keys; returns the connections that must end: their key is gone, or what it is
  /// allowed has changed, so that they have to come again.
  std::vector<Closing> replace(SharedKeys keys);

 private:
  SharedKeys keys_;
  std::map<transport::ConnectionHandle, transport::PublicKey> connections_;
};

}  // namespace rushfs::tools

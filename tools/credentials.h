// The keys a connecting command works with: who we are, whom we trust.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "tools/options.h"
#include "transport/security/identity.h"
#include "transport/security/key_judge.h"
#include "transport/security/known_hosts.h"
#include "transport/udp/resolve.h"

namespace rushfs::tools {

struct Credentials {
  std::filesystem::path identity_file;
  std::filesystem::path known_hosts_file;
  std::shared_ptr<const transport::Identity> identity;
  transport::KnownHosts known_hosts;

  /// True for the key that known_hosts has for this server.
  transport::KeyJudge expect(const transport::HostPort& server) const;
  transport::HostTrust trust(const transport::HostPort& server,
                             const transport::PublicKey& key) const;
};

/// Throws CommandError: a missing identity is explained with the command that makes one.
Credentials load_credentials(const ConnectOptions& options);

/// `user@host`, the comment of public lines we print.
std::string key_comment();
/// Reads an identity, or says how to make one.
std::shared_ptr<const transport::Identity> load_identity(const std::filesystem::path& path);

}  // namespace rushfs::tools

// known_hosts: the servers that a client trusts. Reading the file anew when it changes is the
// caller's job. The format: docs/protocol.md, "Identities".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "transport/security/trust_lines.h"

namespace rushfs::transport {

/// `host:port` as written in known_hosts: lower case, IPv6 addresses in brackets.
std::string host_port(std::string_view host, std::uint16_t port);

enum class HostTrust : std::uint8_t {
  known,    // this key was trusted for this host
  unknown,  // nothing is known of this host
  changed,  // another key was trusted for this host: stop
  revoked,  // this key was revoked, for this host or for all (`*`): stop
};

/// Lines `host:port ssh-ed25519 BASE64 [comment]`, or the same after `@revoked `, where the host
/// may be `*`.
class KnownHosts {
 public:
  static KnownHosts parse(std::string_view text);
  /// A file that does not exist is an empty one. Throws std::runtime_error if it cannot be read,
  /// or belongs to someone else or can be written by others.
  static KnownHosts load(const std::filesystem::path& path);

  /// `host` as made by host_port().
  HostTrust look_up(std::string_view host, const PublicKey& key) const;
  const std::vector<BadLine>& bad_lines() const { return bad_lines_; }

  /// Appends a line to the file (created 0600, with its directory 0700), durably. Throws
  /// std::runtime_error.
  static void add(const std::filesystem::path& path, std::string_view host, const PublicKey& key);

 private:
  struct Entry {
    bool revoked = false;
    std::string host;
    PublicKey key;
  };
  std::vector<Entry> entries_;
  std::vector<BadLine> bad_lines_;
};

}  // namespace rushfs::transport

// Whom we trust: known_hosts (servers, on a client) and authorized_keys (clients, on a server), one
// key per line as in SSH. Parsing is pure; a bad line is reported and ignored, never fatal. Reading
// a file anew when it changes is the caller's job. The formats: docs/protocol.md, "Identities".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/address.h"
#include "transport/security/identity.h"
#include "transport/units.h"

namespace rushfs::transport {

/// Limits of a trust file: far beyond honest use.
inline constexpr std::size_t kMaxTrustFile = 4u << 20;  // bytes; a larger file is refused
inline constexpr std::size_t kMaxTrustLine = 8192;      // bytes; a longer line is bad

/// A line that could not be used.
struct BadLine {
  std::size_t number = 0;  // from 1
  std::string reason;
};

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

/// A block of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
struct AddressBlock {
  std::array<std::uint8_t, 16> ip{};  // as in Address
  unsigned prefix = 128;              // bits, of 128
  bool contains(const Address& address) const;
  bool operator==(const AddressBlock&) const = default;
};
std::optional<AddressBlock> parse_address_block(std::string_view text);

/// What one line of authorized_keys allows.
struct AuthorizedKey {
  PublicKey key;
  std::optional<std::vector<std::string>> exports;  // none: all of them
  bool read_only = false;
  std::vector<AddressBlock> from;  // empty: from anywhere
  std::optional<BitRate> max_rate;
  std::string comment;

  bool may_use(std::string_view export_name) const;
  bool may_come_from(const Address& address) const;
};

/// Lines `[options] ssh-ed25519 BASE64 [comment]`. Options, separated by commas: `export="a,b"`,
/// `ro`, `from="cidr,..."`, `max-rate=500M` (bits per second; K, M, G). A line with an unknown
/// option is bad, because it may have meant to forbid something.
class AuthorizedKeys {
 public:
  static AuthorizedKeys parse(std::string_view text);
  /// Throws std::runtime_error if the file cannot be read, or belongs to someone else or can be
  /// written by others.
  static AuthorizedKeys load(const std::filesystem::path& path);

  /// The first line with this key; null: not authorized.
  const AuthorizedKey* find(const PublicKey& key) const;
  const std::vector<AuthorizedKey>& keys() const { return keys_; }
  const std::vector<BadLine>& bad_lines() const { return bad_lines_; }

 private:
  std::vector<AuthorizedKey> keys_;
  std::vector<BadLine> bad_lines_;
};

}  // namespace rushfs::transport

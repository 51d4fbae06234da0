// authorized_keys: the clients that a server knows, and what each may do. Reading the file anew
// when it changes is the caller's job. The format: docs/protocol.md, "Identities".
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/address.h"
#include "transport/security/trust_lines.h"
#include "transport/units.h"

namespace rushfs::transport {

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

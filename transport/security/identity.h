// Who we are and who the peer is: Ed25519 keys (RFC 8032), shown and stored the way people know
// from SSH. docs/protocol.md, "Identities".
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct evp_pkey_st;
struct x509_st;

namespace rushfs::transport {

/// An Ed25519 public key. Not a secret, so that ordering need not take constant time.
struct PublicKey {
  std::array<std::uint8_t, 32> bytes{};
  auto operator<=>(const PublicKey&) const = default;
};

/// `SHA256:...` exactly as ssh-keygen -l prints it for the same key.
std::string fingerprint(const PublicKey& key);

/// The base64 field of an OpenSSH public key line (RFC 8709, section 4).
std::string to_openssh_base64(const PublicKey& key);
/// None: not the base64 of an Ed25519 key.
std::optional<PublicKey> from_openssh_base64(std::string_view base64);

/// `ssh-ed25519 BASE64 comment`, without a newline.
std::string to_openssh_line(const PublicKey& key, std::string_view comment);

/// An Ed25519 key pair with the self-signed certificate that TLS wants around it. Immutable;
/// shared between threads freely.
class Identity {
 public:
  /// A new one from the system's randomness.
  static Identity generate();
  /// The same identity for the same 32 bytes: tests and simulations.
  static Identity from_seed(std::span<const std::uint8_t, 32> seed);

  /// Reads a private key in PEM (PKCS #8). Throws std::runtime_error that names the attempt: cannot
  /// be read, not an Ed25519 key, not ours (owned by us or root), or open to others (mode 0600 or
  /// stricter).
  static Identity load(const std::filesystem::path& path);
  /// Writes a new file of mode 0600 that load() reads. Throws if the file exists already.
  void save(const std::filesystem::path& path) const;

  const PublicKey& public_key() const;

  // For TlsContext alone.
  evp_pkey_st* private_key() const;
  x509_st* certificate() const;

 private:
  struct Keys;
  explicit Identity(std::shared_ptr<const Keys> keys);
  std::shared_ptr<const Keys> keys_;
};

}  // namespace rushfs::transport

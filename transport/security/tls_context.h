// How OpenSSL is set up for our handshakes: TLS 1.3 only, Ed25519 only, no tickets, no early data,
// no certificate authorities. docs/protocol.md, "Handshake".
#pragma once

#include <memory>

#include "transport/security/identity.h"
#include "transport/security/key_schedule.h"

struct ssl_ctx_st;

namespace rushfs::transport {

/// Whether this machine computes AES in hardware; if not, ChaCha20 is faster.
bool has_fast_aes();

/// Settings shared by all handshakes of one role; immutable. Handshakes keep what they need of it.
class TlsContext {
 public:
  /// Throws std::runtime_error when OpenSSL lacks an algorithm.
  TlsContext(Role role, const Identity& identity, bool fast_aes = has_fast_aes());

  Role role() const { return role_; }
  ssl_ctx_st* handle() const { return handle_.get(); }  // for TlsHandshake alone

 private:
  Role role_;
  std::shared_ptr<ssl_ctx_st> handle_;
};

/// Makes handshakes under this context carry transport parameters and judge keys: tls_handshake.cc.
void install_handshake_callbacks(ssl_ctx_st* context);

}  // namespace rushfs::transport

#include "transport/security/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace rushfs::transport {
namespace {

/// Names our protocol (ALPN, RFC 7301), so that no other one can be talked into this handshake.
constexpr std::array<std::uint8_t, 7> kProtocol = {6, 'r', 'u', 's', 'h', 'f', 's'};

/// An honest certificate takes about 300 bytes.
constexpr long kMaxCertificates = 4096;

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* length,
                    const unsigned char* offered, unsigned offered_length, void*) {
  const int result =
      SSL_select_next_proto(const_cast<unsigned char**>(chosen), length, kProtocol.data(),
                            static_cast<unsigned>(kProtocol.size()), offered, offered_length);
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

bool set_algorithms(SSL_CTX* context, bool fast_aes) {
  const char* const suites = fast_aes ? "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
                                      : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
  // The hybrid with ML-KEM needs OpenSSL 3.5.
  const bool groups = SSL_CTX_set1_groups_list(context, "X25519MLKEM768:X25519") == 1 ||
                      SSL_CTX_set1_groups_list(context, "X25519") == 1;
  return groups && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_ciphersuites(context, suites) == 1 &&
         SSL_CTX_set1_sigalgs_list(context, "ed25519") == 1 &&
         SSL_CTX_set1_client_sigalgs_list(context, "ed25519") == 1;
}

bool set_protocol(SSL_CTX* context, Role role) {
  if (role == Role::server) {
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
    return true;
  }
  return SSL_CTX_set_alpn_protos(context, kProtocol.data(), kProtocol.size()) == 0;
}

}  // namespace

bool has_fast_aes() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
  constexpr unsigned long kAesAndPmull = 3ul << 3;  // HWCAP_AES, HWCAP_PMULL
  return (getauxval(AT_HWCAP) & kAesAndPmull) == kAesAndPmull;
#else
  return false;
#endif
}

TlsContext::TlsContext(Role role, const Identity& identity, bool fast_aes)
    : role_(role),
      handle_(SSL_CTX_new(role == Role::server ? TLS_server_method() : TLS_client_method()),
              &SSL_CTX_free) {
  SSL_CTX* const context = handle_.get();
  const bool ready = context && set_algorithms(context, fast_aes) && set_protocol(context, role) &&
                     SSL_CTX_use_certificate(context, identity.certificate()) == 1 &&
                     SSL_CTX_use_PrivateKey(context, identity.private_key()) == 1 &&
                     SSL_CTX_set_num_tickets(context, 0) == 1 &&
                     SSL_CTX_set_max_early_data(context, 0) == 1;
  if (!ready) {
    const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    throw std::runtime_error(std::string("set up TLS 1.3 with Ed25519: ") +
                             (reason ? reason : "OpenSSL lacks an algorithm"));
  }
  // With these two, AES is chosen if and only if both ends put it first.
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_clear_options(context, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);  // no middlebox sees our TLS
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_cert_list(context, kMaxCertificates);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  install_handshake_callbacks(context);
}

}  // namespace rushfs::transport

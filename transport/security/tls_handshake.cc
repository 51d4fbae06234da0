#include "transport/security/tls_handshake.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <string>
#include <string_view>
#include <utility>

#include "transport/wire/transport_parameters.h"
#include "transport/wire/varint.h"

namespace rushfs::transport {
namespace {

/// Of the range for private use (RFC 8447, section 7).
constexpr unsigned kParametersExtension = 0xff55;

constexpr std::string_view kExporterLabel = "EXPORTER-rushfs v1";

constexpr std::size_t kMaxReasonText = 256;  // as CloseReason promises

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

std::string openssl_reason() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason ? reason : "no reason given";
}

std::optional<PublicKey> ed25519_key(X509* certificate) {
  EVP_PKEY* const key = certificate ? X509_get0_pubkey(certificate) : nullptr;
  if (!key || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) return std::nullopt;
  PublicKey result;
  std::size_t length = result.bytes.size();
  if (EVP_PKEY_get_raw_public_key(key, result.bytes.data(), &length) != 1) return std::nullopt;
  return length == result.bytes.size() ? std::optional(result) : std::nullopt;
}

/// SHA-256 over everything that both ends must agree on. The exporter itself covers the handshake
/// only up to the server's Finished, and so not the client's key.
std::array<std::uint8_t, 32> key_context(const PublicKey& server_key, const PublicKey& client_key,
                                         const ConnectionId& client, const ConnectionId& server,
                                         std::uint32_t version,
                                         std::span<const std::uint8_t> client_parameters,
                                         std::span<const std::uint8_t> server_parameters) {
  std::vector<std::uint8_t> input(2 * server_key.bytes.size() + 2 * ConnectionId::kLength + 4 + 2 +
                                  client_parameters.size() + 2 + server_parameters.size());
  std::span<std::uint8_t> output = input;
  const bool written =
      write_bytes(output, server_key.bytes) && write_bytes(output, client_key.bytes) &&
      write_bytes(output, client.bytes) && write_bytes(output, server.bytes) &&
      write_uint(output, version, 4) && write_uint(output, client_parameters.size(), 2) &&
      write_bytes(output, client_parameters) && write_uint(output, server_parameters.size(), 2) &&
      write_bytes(output, server_parameters);
  assert(written && output.empty());
  std::array<std::uint8_t, 32> digest;
  SHA256(input.data(), input.size(), digest.data());
  return digest;
}

}  // namespace

struct TlsHandshake::Implementation {
  Implementation(const TlsContext& context, std::vector<std::uint8_t> own_parameters,
                 KeyJudge key_judge)
      : role(context.role()),
        own_key(*ed25519_key(SSL_CTX_get0_certificate(context.handle()))),
        parameters(std::move(own_parameters)),
        judge(std::move(key_judge)),
        ssl(SSL_new(context.handle())) {
    assert(ssl && parameters.size() <= kMaxTransportParameters);
    BIO* const in = BIO_new(BIO_s_mem());
    BIO* const out = BIO_new(BIO_s_mem());
    assert(in && out);
    BIO_set_mem_eof_return(in, -1);  // empty means "later", not "closed"
    BIO_set_mem_eof_return(out, -1);
    SSL_set_bio(ssl.get(), in, out);  // owns both
    SSL_set_app_data(ssl.get(), this);
    if (role == Role::server) {
      SSL_set_accept_state(ssl.get());
    } else {
      SSL_set_connect_state(ssl.get());
    }
  }

  void advance() {
    ERR_clear_error();
    if (state == State::in_progress) shake_hands();
    if (state == State::complete) read_on();
    ERR_clear_error();
  }

  void shake_hands() {
    const int result = SSL_do_handshake(ssl.get());
    if (result != 1) {
      if (SSL_get_error(ssl.get(), result) != SSL_ERROR_WANT_READ) fail();
      return;
    }
    if (!has_peer_parameters || !offered_key) {
      fail_with(CloseCode::handshake_failed, false, "the peer sent no transport parameters");
      return;
    }
    proven_key = offered_key;
    state = State::complete;
  }

  /// The server's verdict on the client comes after the client is done. Nothing else may come.
  void read_on() {
    std::array<std::uint8_t, 256> unwanted;
    const int result = SSL_read(ssl.get(), unwanted.data(), static_cast<int>(unwanted.size()));
    if (result > 0) {
      fail_with(CloseCode::protocol_violation, false, "the peer sent data inside the handshake");
    } else if (SSL_get_error(ssl.get(), result) != SSL_ERROR_WANT_READ) {
      fail();
    }
  }

  void fail() {
    if (refused) {
      const std::string key = fingerprint(*offered_key);
      if (role == Role::client) {
        fail_with(CloseCode::wrong_server_key, false,
                  "the server's key is not the trusted one: " + key);
      } else {
        fail_with(CloseCode::unknown_client, false, "the client's key is not authorized: " + key);
      }
    } else if (alert_from_peer == SSL_AD_UNKNOWN_CA && is_alert_trusted()) {
      if (role == Role::client) {
        fail_with(CloseCode::unknown_client, true,
                  "the server does not know our key " + fingerprint(own_key));
      } else {
        fail_with(CloseCode::wrong_server_key, true, "the client expects another server key");
      }
    } else if (alert_from_peer >= 0) {
      fail_with(CloseCode::handshake_failed, true,
                std::string("the peer ended the handshake: ") +
                    SSL_alert_desc_string_long(alert_from_peer));
    } else {
      fail_with(CloseCode::handshake_failed, false, "TLS handshake: " + openssl_reason());
    }
  }

  /// The server's verdict is under keys that prove the server. A client's is not, but a server only
  /// logs it.
  bool is_alert_trusted() const { return role == Role::server || state == State::complete; }

  void fail_with(CloseCode code, bool by_peer, std::string text) {
    text.resize(std::min(text.size(), kMaxReasonText));
    failure = {code, by_peer, std::move(text)};
    state = State::failed;
    proven_key.reset();
  }

  Role role;
  PublicKey own_key;
  std::vector<std::uint8_t> parameters;
  KeyJudge judge;
  std::unique_ptr<SSL, FreeSsl> ssl;

  State state = State::in_progress;
  CloseReason failure;
  std::size_t fed = 0;
  bool has_peer_parameters = false;
  std::vector<std::uint8_t> peer_parameters;
  std::optional<PublicKey> offered_key;  // in the peer's certificate
  std::optional<PublicKey> proven_key;   // and signed with
  bool refused = false;                  // by the judge
  int alert_from_peer = -1;
};

/// What OpenSSL calls back from SSL_do_handshake() and SSL_read().
struct TlsCallbacks {
  using Implementation = TlsHandshake::Implementation;

  static Implementation& of(const SSL* ssl) {
    return *static_cast<Implementation*>(SSL_get_app_data(ssl));
  }

  static int add_parameters(SSL* ssl, unsigned, unsigned, const unsigned char** out,
                            std::size_t* length, X509*, std::size_t, int*, void*) {
    const auto& parameters = of(ssl).parameters;
    *out = parameters.data();
    *length = parameters.size();
    return 1;
  }

  static int parse_parameters(SSL* ssl, unsigned, unsigned, const unsigned char* in,
                              std::size_t length, X509*, std::size_t, int* alert, void*) {
    if (length > kMaxTransportParameters) {
      *alert = SSL_AD_DECODE_ERROR;
      return 0;
    }
    Implementation& handshake = of(ssl);
    handshake.peer_parameters.assign(in, in + length);
    handshake.has_peer_parameters = true;
    return 1;
  }

  /// Replaces all of X.509: no authority, no dates, no names, only the key.
  static int judge_certificate(X509_STORE_CTX* store, void*) {
    const auto* const ssl = static_cast<const SSL*>(
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    Implementation& handshake = of(ssl);
    handshake.offered_key = ed25519_key(X509_STORE_CTX_get0_cert(store));
    if (!handshake.offered_key) {
      X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);  // alert bad_certificate
      return 0;
    }
    handshake.refused = !handshake.judge || !handshake.judge(*handshake.offered_key);
    if (handshake.refused) {  // alert unknown_ca
      X509_STORE_CTX_set_error(store, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
      return 0;
    }
    return 1;
  }

  static void note_alert(const SSL* ssl, int where, int value) {
    if (where == SSL_CB_READ_ALERT) of(ssl).alert_from_peer = value & 0xff;
  }
};

void install_handshake_callbacks(SSL_CTX* context) {
  SSL_CTX_set_cert_verify_callback(context, TlsCallbacks::judge_certificate, nullptr);
  SSL_CTX_set_info_callback(context, TlsCallbacks::note_alert);
  const int added = SSL_CTX_add_custom_ext(
      context, kParametersExtension,
      SSL_EXT_TLS1_3_ONLY | SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS,
      TlsCallbacks::add_parameters, nullptr, nullptr, TlsCallbacks::parse_parameters, nullptr);
  assert(added == 1);
}

TlsHandshake::TlsHandshake(const TlsContext& context, std::vector<std::uint8_t> parameters,
                           KeyJudge judge)
    : implementation_(
          std::make_unique<Implementation>(context, std::move(parameters), std::move(judge))) {
  if (context.role() == Role::client) implementation_->advance();
}
TlsHandshake::TlsHandshake(TlsHandshake&&) noexcept = default;
TlsHandshake& TlsHandshake::operator=(TlsHandshake&&) noexcept = default;
TlsHandshake::~TlsHandshake() = default;

void TlsHandshake::feed(std::span<const std::uint8_t> bytes) {
  Implementation& handshake = *implementation_;
  if (handshake.state == State::failed || bytes.empty()) return;
  handshake.fed += bytes.size();
  if (handshake.fed > kMaxHandshakeBytes) {
    handshake.fail_with(CloseCode::protocol_violation, false, "the peer's handshake does not end");
    return;
  }
  BIO_write(SSL_get_rbio(handshake.ssl.get()), bytes.data(), static_cast<int>(bytes.size()));
  handshake.advance();
}

std::vector<std::uint8_t> TlsHandshake::take_output() {
  BIO* const out = SSL_get_wbio(implementation_->ssl.get());
  std::vector<std::uint8_t> bytes(BIO_ctrl_pending(out));
  if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

TlsHandshake::State TlsHandshake::state() const {
  return implementation_->state;
}

const CloseReason& TlsHandshake::failure() const {
  return implementation_->failure;
}

const std::optional<PublicKey>& TlsHandshake::peer_key() const {
  return implementation_->proven_key;
}

std::span<const std::uint8_t> TlsHandshake::peer_parameters() const {
  return implementation_->peer_parameters;
}

CipherSuite TlsHandshake::cipher_suite() const {
  constexpr std::uint16_t kTlsAes256GcmSha384 = 0x1302;
  const SSL_CIPHER* const cipher = SSL_get_current_cipher(implementation_->ssl.get());
  assert(cipher);
  return SSL_CIPHER_get_protocol_id(cipher) == kTlsAes256GcmSha384 ? CipherSuite::aes_256_gcm
                                                                   : CipherSuite::chacha20_poly1305;
}

TrafficSecrets TlsHandshake::export_secrets(const ConnectionId& client, const ConnectionId& server,
                                            std::uint32_t version) const {
  const Implementation& handshake = *implementation_;
  assert(handshake.state == State::complete);
  const bool is_client = handshake.role == Role::client;
  const PublicKey& peer_key = *handshake.proven_key;
  const auto context = is_client ? key_context(peer_key, handshake.own_key, client, server, version,
                                               handshake.parameters, handshake.peer_parameters)
                                 : key_context(handshake.own_key, peer_key, client, server, version,
                                               handshake.peer_parameters, handshake.parameters);
  Secret exported(secret_length(cipher_suite()));
  const int done = SSL_export_keying_material(
      handshake.ssl.get(), exported.bytes().data(), exported.size(), kExporterLabel.data(),
      kExporterLabel.size(), context.data(), context.size(), 1);
  assert(done == 1);
  return data_secrets(cipher_suite(), exported);
}

}  // namespace rushfs::transport

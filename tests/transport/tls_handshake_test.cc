#include "transport/security/tls_handshake.h"

#include <openssl/ssl.h>

#include <catch2/catch.hpp>

#include "tests/transport/hex.h"

using namespace rushfs::transport;
using State = TlsHandshake::State;

namespace {

Identity identity(std::uint8_t seed) {
  std::array<std::uint8_t, 32> bytes{};
  bytes[0] = seed;
  return Identity::from_seed(bytes);
}

const Identity kServerIdentity = identity(1);
const Identity kClientIdentity = identity(2);
const std::vector<std::uint8_t> kClientParameters = from_hex("010203");
const std::vector<std::uint8_t> kServerParameters = from_hex("0405060708");
const ConnectionId kClientId{{1}};
const ConnectionId kServerId{{2}};

KeyJudge only(const PublicKey& key) {
  return [key](const PublicKey& offered) { return offered == key; };
}

/// A client and a server and the streams between them.
struct Ends {
  explicit Ends(const Identity& client_identity = kClientIdentity,
                const Identity& server_identity = kServerIdentity, bool client_aes = true,
                bool server_aes = true)
      : client(TlsContext(Role::client, client_identity, client_aes), kClientParameters,
               only(kServerIdentity.public_key())),
        server(TlsContext(Role::server, server_identity, server_aes), kServerParameters,
               only(kClientIdentity.public_key())) {}

  void run() {
    for (int flight = 0; flight < 6; ++flight) {
      server.feed(client.take_output());
      client.feed(server.take_output());
    }
  }

  TrafficSecrets client_secrets() const {
    return client.export_secrets(kClientId, kServerId, kVersion);
  }
  TrafficSecrets server_secrets() const {
    return server.export_secrets(kClientId, kServerId, kVersion);
  }

  TlsHandshake client;
  TlsHandshake server;
};

bool equal(const TrafficSecrets& a, const TrafficSecrets& b) {
  return to_hex(a.client.bytes()) == to_hex(b.client.bytes()) &&
         to_hex(a.server.bytes()) == to_hex(b.server.bytes());
}

/// An OpenSSL client of a stranger's making.
struct ForeignClient {
  explicit ForeignClient(SSL_CTX* made) : context(made), ssl(SSL_new(made)) {
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    static constexpr unsigned char kProtocol[] = {6, 'r', 'u', 's', 'h', 'f', 's'};
    SSL_set_alpn_protos(ssl, kProtocol, sizeof(kProtocol));
  }
  ~ForeignClient() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  void run(TlsHandshake& server) {
    for (int flight = 0; flight < 4; ++flight) {
      SSL_do_handshake(ssl);
      std::vector<std::uint8_t> bytes(BIO_pending(SSL_get_wbio(ssl)));
      if (!bytes.empty()) BIO_read(SSL_get_wbio(ssl), bytes.data(), static_cast<int>(bytes.size()));
      server.feed(bytes);
      const auto answer = server.take_output();
      if (!answer.empty()) {
        BIO_write(SSL_get_rbio(ssl), answer.data(), static_cast<int>(answer.size()));
      }
    }
  }
  SSL_CTX* context;
  SSL* ssl;
};

}  // namespace

TEST_CASE("two ends that trust each other agree on keys, identities and parameters") {
  Ends ends;
  ends.run();
  REQUIRE(ends.client.state() == State::complete);
  REQUIRE(ends.server.state() == State::complete);
  CHECK(ends.client.peer_key() == kServerIdentity.public_key());
  CHECK(ends.server.peer_key() == kClientIdentity.public_key());
  CHECK(to_hex(ends.client.peer_parameters()) == to_hex(kServerParameters));
  CHECK(to_hex(ends.server.peer_parameters()) == to_hex(kClientParameters));
  CHECK(equal(ends.client_secrets(), ends.server_secrets()));
  CHECK(to_hex(ends.client_secrets().client.bytes()) !=
        to_hex(ends.client_secrets().server.bytes()));
}

TEST_CASE("each flight fits one datagram") {
  Ends ends;
  const auto hello = ends.client.take_output();
  ends.server.feed(hello);
  const auto answer = ends.server.take_output();
  ends.client.feed(answer);
  const auto finish = ends.client.take_output();
  CHECK(hello.size() < 1100);
  CHECK(answer.size() < 1100);
  CHECK(finish.size() < 1100);
}

TEST_CASE("it does not matter how the streams are cut") {
  Ends ends;
  for (int flight = 0; flight < 6; ++flight) {
    for (const std::uint8_t byte : ends.client.take_output()) ends.server.feed({&byte, 1});
    for (const std::uint8_t byte : ends.server.take_output()) ends.client.feed({&byte, 1});
  }
  REQUIRE(ends.client.state() == State::complete);
  REQUIRE(ends.server.state() == State::complete);
  CHECK(equal(ends.client_secrets(), ends.server_secrets()));
}

TEST_CASE("other connection ids or another version make other keys") {
  Ends ends;
  ends.run();
  const auto secrets = ends.client_secrets();
  CHECK_FALSE(equal(secrets, ends.server.export_secrets(kServerId, kClientId, kVersion)));
  CHECK_FALSE(equal(secrets, ends.server.export_secrets(kClientId, kClientId, kVersion)));
  CHECK_FALSE(equal(secrets, ends.server.export_secrets(kClientId, kServerId, kVersion + 1)));
}

TEST_CASE("AES is chosen when both ends have it in hardware, else ChaCha20") {
  const auto [client_aes, server_aes, expected] = GENERATE(table<bool, bool, CipherSuite>({
      {true, true, CipherSuite::aes_256_gcm},
      {true, false, CipherSuite::chacha20_poly1305},
      {false, true, CipherSuite::chacha20_poly1305},
      {false, false, CipherSuite::chacha20_poly1305},
  }));
  Ends ends(kClientIdentity, kServerIdentity, client_aes, server_aes);
  ends.run();
  REQUIRE(ends.client.state() == State::complete);
  CHECK(ends.client.cipher_suite() == expected);
  CHECK(ends.server.cipher_suite() == expected);
  CHECK(ends.client_secrets().client.size() == secret_length(expected));
}

TEST_CASE("an unknown client is refused, and learns why after it thought itself done") {
  Ends ends(identity(66));
  ends.server.feed(ends.client.take_output());
  ends.client.feed(ends.server.take_output());
  CHECK(ends.client.state() == State::complete);  // the trap: not yet connected

  ends.server.feed(ends.client.take_output());
  REQUIRE(ends.server.state() == State::failed);
  CHECK(ends.server.failure().code == CloseCode::unknown_client);
  CHECK_FALSE(ends.server.failure().by_peer);
  CHECK_THAT(ends.server.failure().text, Catch::Contains(fingerprint(identity(66).public_key())));
  CHECK_FALSE(ends.server.peer_key());

  ends.client.feed(ends.server.take_output());
  REQUIRE(ends.client.state() == State::failed);
  CHECK(ends.client.failure().code == CloseCode::unknown_client);
  CHECK(ends.client.failure().by_peer);
  CHECK_THAT(ends.client.failure().text, Catch::Contains(fingerprint(identity(66).public_key())));
}

TEST_CASE("an impostor of the server is refused before it learns who the client is") {
  Ends ends(kClientIdentity, identity(66));
  ends.server.feed(ends.client.take_output());
  ends.client.feed(ends.server.take_output());
  REQUIRE(ends.client.state() == State::failed);
  CHECK(ends.client.failure().code == CloseCode::wrong_server_key);
  CHECK_FALSE(ends.client.peer_key());
  const auto alert = ends.client.take_output();
  CHECK(alert.size() < 100);  // no certificate in there

  ends.server.feed(alert);
  REQUIRE(ends.server.state() == State::failed);
  CHECK(ends.server.failure().code == CloseCode::wrong_server_key);
  CHECK(ends.server.failure().by_peer);
}

TEST_CASE("a forged alert before the server has proven itself does not name a culprit") {
  Ends ends;
  ends.client.feed(from_hex("15 0303 0002 0230"));  // fatal, unknown_ca, in the clear
  REQUIRE(ends.client.state() == State::failed);
  CHECK(ends.client.failure().code == CloseCode::handshake_failed);
}

TEST_CASE("TLS 1.2, a client without a key and one without parameters are refused") {
  TlsHandshake server(TlsContext(Role::server, kServerIdentity), kServerParameters,
                      only(kClientIdentity.public_key()));
  SECTION("TLS 1.2") {
    SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    ForeignClient(context).run(server);
    REQUIRE(server.state() == State::failed);
    CHECK_THAT(server.failure().text, Catch::Contains("unsupported protocol"));
  }
  SECTION("no key") {
    ForeignClient(SSL_CTX_new(TLS_client_method())).run(server);
    REQUIRE(server.state() == State::failed);
    CHECK_THAT(server.failure().text, Catch::Contains("did not return a certificate"));
  }
  SECTION("no parameters") {
    SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate(context, kClientIdentity.certificate());
    SSL_CTX_use_PrivateKey(context, kClientIdentity.private_key());
    ForeignClient(context).run(server);
    REQUIRE(server.state() == State::failed);
    CHECK_THAT(server.failure().text, Catch::Contains("no transport parameters"));
  }
  CHECK(server.failure().code == CloseCode::handshake_failed);
  CHECK_FALSE(server.peer_key());
}

TEST_CASE("a truncated stream leaves the handshake waiting, never done") {
  Ends ends;
  const auto hello = ends.client.take_output();
  ends.server.feed(std::span(hello).first(hello.size() - 1));
  CHECK(ends.server.state() == State::in_progress);
  CHECK(ends.server.take_output().empty());
  ends.server.feed(std::span(hello).last(1));
  const auto answer = ends.server.take_output();
  ends.client.feed(std::span(answer).first(answer.size() - 1));
  CHECK(ends.client.state() == State::in_progress);
}

TEST_CASE("a stream with any byte changed ends in failure or in the same keys") {
  std::size_t failures = 0;
  std::size_t tried = 0;
  for (int flight = 0; flight < 3; ++flight) {
    for (std::size_t at = 0; at < 800; at += 13) {
      Ends ends;
      auto change = [&](std::vector<std::uint8_t> bytes, int now) {
        if (now == flight && at < bytes.size()) bytes[at] ^= 0x10;
        return bytes;
      };
      ends.server.feed(change(ends.client.take_output(), 0));
      ends.client.feed(change(ends.server.take_output(), 1));
      ends.server.feed(change(ends.client.take_output(), 2));
      ++tried;
      if (ends.server.state() == State::complete && ends.client.state() == State::complete) {
        CHECK(equal(ends.client_secrets(), ends.server_secrets()));
      } else {
        ++failures;
      }
    }
  }
  CHECK(failures > 0);
  CHECK(failures < tried);
}

TEST_CASE("a peer that never stops talking is cut off") {
  Ends ends;
  const std::vector<std::uint8_t> endless(kMaxHandshakeBytes, 0);
  auto record = from_hex("16 0303 4000");
  ends.server.feed(record);
  CHECK(ends.server.state() == State::in_progress);
  ends.server.feed(endless);
  REQUIRE(ends.server.state() == State::failed);
  CHECK(ends.server.failure().code == CloseCode::protocol_violation);
}

TEST_CASE("a thousand bytes of noise are an error, not a crash") {
  Ends ends;
  ends.server.feed(std::vector<std::uint8_t>(1000, 0x5a));
  CHECK(ends.server.state() == State::failed);
  CHECK(ends.server.failure().code == CloseCode::handshake_failed);
  ends.server.feed(std::vector<std::uint8_t>(1000, 0x5a));
  CHECK(ends.server.failure().code == CloseCode::handshake_failed);
}

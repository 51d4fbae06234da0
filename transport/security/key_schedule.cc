#include "transport/security/key_schedule.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <cassert>
#include <memory>
#include <string>

namespace rushfs::transport {
namespace {

const char* hash_name(CipherSuite suite) {
  return suite == CipherSuite::aes_256_gcm ? "SHA2-384" : "SHA2-256";
}

std::size_t key_length(CipherSuite suite) {
  return suite == CipherSuite::aes_128_gcm ? 16 : 32;
}

constexpr std::size_t kIvLength = 12;

/// OpenSSL's parameters are not const; it does not write through them.
OSSL_PARAM octets(const char* name, std::span<const std::uint8_t> bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(bytes.data()),
                                           bytes.size());
}

/// Runs HKDF (RFC 5869) in one of its halves. `extra` is the salt of extract, the info of expand.
Secret hkdf(const char* hash, int mode, std::span<const std::uint8_t> key, OSSL_PARAM extra,
            std::size_t length) {
  static EVP_KDF* const algorithm = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(
      EVP_KDF_CTX_new(algorithm), &EVP_KDF_CTX_free);
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>(hash), 0),
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode), octets(OSSL_KDF_PARAM_KEY, key), extra,
      OSSL_PARAM_construct_end()};
  Secret result(length);
  const int derived =
      EVP_KDF_derive(context.get(), result.bytes().data(), result.size(), parameters);
  assert(derived == 1);  // all inputs are of our making
  return result;
}

}  // namespace

Secret::Secret(std::size_t size) : size_(size) {
  assert(size <= kMaxSize);
}

Secret::Secret(std::span<const std::uint8_t> bytes) : Secret(bytes.size()) {
  std::copy(bytes.begin(), bytes.end(), bytes_.begin());
}

Secret::~Secret() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

std::size_t secret_length(CipherSuite suite) {
  return suite == CipherSuite::aes_256_gcm ? 48 : 32;
}

Secret hkdf_extract(std::span<const std::uint8_t> salt, std::span<const std::uint8_t> key) {
  static constexpr std::array<std::uint8_t, 32> kNoSalt{};  // RFC 5869, section 2.2
  return hkdf("SHA2-256", EVP_KDF_HKDF_MODE_EXTRACT_ONLY, key,
              octets(OSSL_KDF_PARAM_SALT, salt.empty() ? kNoSalt : salt), 32);
}

Secret hkdf_expand_label(CipherSuite suite, const Secret& secret, std::string_view label,
                         std::size_t length) {
  std::string info{static_cast<char>(length >> 8), static_cast<char>(length)};
  info += static_cast<char>(6 + label.size());
  info += "tls13 ";
  info += label;
  info += '\0';  // no context
  const std::span<const std::uint8_t> bytes{reinterpret_cast<const std::uint8_t*>(info.data()),
                                            info.size()};
  return hkdf(hash_name(suite), EVP_KDF_HKDF_MODE_EXPAND_ONLY, secret.bytes(),
              octets(OSSL_KDF_PARAM_INFO, bytes), length);
}

const std::array<std::uint8_t, 20> kHandshakeSalt = {0xe1, 0xd2, 0x47, 0x93, 0xe5, 0x65, 0xed,
                                                     0x82, 0x44, 0x85, 0xac, 0x99, 0x17, 0x10,
                                                     0xb8, 0x97, 0x9b, 0xc9, 0xd1, 0x29};

TrafficSecrets handshake_secrets(std::span<const std::uint8_t> original_destination,
                                 std::span<const std::uint8_t> salt) {
  constexpr auto suite = CipherSuite::aes_128_gcm;
  const Secret initial = hkdf_extract(salt, original_destination);
  return {hkdf_expand_label(suite, initial, "client in", 32),
          hkdf_expand_label(suite, initial, "server in", 32)};
}

TrafficSecrets data_secrets(CipherSuite suite, const Secret& exported) {
  const std::size_t length = secret_length(suite);
  return {hkdf_expand_label(suite, exported, "client data", length),
          hkdf_expand_label(suite, exported, "server data", length)};
}

PacketKeys packet_keys(CipherSuite suite, const Secret& traffic_secret) {
  return {suite, hkdf_expand_label(suite, traffic_secret, "quic key", key_length(suite)),
          hkdf_expand_label(suite, traffic_secret, "quic iv", kIvLength),
          hkdf_expand_label(suite, traffic_secret, "quic hp", key_length(suite))};
}

Secret next_secret(CipherSuite suite, const Secret& traffic_secret) {
  return hkdf_expand_label(suite, traffic_secret, "quic ku", secret_length(suite));
}

}  // namespace rushfs::transport

#include "transport/security/aead.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cassert>

#include "transport/security/cipher_context.h"

namespace rushfs::transport {
namespace {

/// Fetched once: by name, each would be looked up again for every key.
const EVP_CIPHER* algorithm(CipherSuite suite) {
  static const EVP_CIPHER* const aes_128 = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  static const EVP_CIPHER* const aes_256 = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  static const EVP_CIPHER* const chacha20 =
      EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  switch (suite) {
    case CipherSuite::aes_128_gcm: return aes_128;
    case CipherSuite::aes_256_gcm: return aes_256;
    case CipherSuite::chacha20_poly1305: break;
  }
  return chacha20;
}

/// The place of an AEAD tag, as OpenSSL wants to be told. (EVP_CIPHER_CTX_ctrl makes the same of
/// its arguments, for 25 ns more a packet.)
std::array<OSSL_PARAM, 2> tag_parameter(Aead::Tag tag) {
  return {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag.data(), tag.size()),
          OSSL_PARAM_construct_end()};
}

class OpensslAead : public Aead {
 public:
  OpensslAead(const PacketKeys& keys, Direction direction)
      : context_(make_cipher_context(algorithm(keys.suite), keys.key,
                                     direction == Direction::seal)) {}

  void seal(const Nonce& nonce, std::span<const std::uint8_t> header,
            std::span<std::uint8_t> payload, Tag tag) override {
    EVP_CIPHER_CTX* const context = context_.get();
    int length = 0;
    const bool sealed =
        EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) &&
        EVP_EncryptUpdate(context, nullptr, &length, header.data(),
                          static_cast<int>(header.size())) &&
        EVP_EncryptUpdate(context, payload.data(), &length, payload.data(),
                          static_cast<int>(payload.size())) &&
        EVP_EncryptFinal_ex(context, payload.data() + payload.size(), &length) &&
        EVP_CIPHER_CTX_get_params(context, tag_parameter(tag).data());
    assert(sealed);
  }

  bool open(const Nonce& nonce, std::span<const std::uint8_t> header,
            std::span<std::uint8_t> payload, Tag tag) override {
    EVP_CIPHER_CTX* const context = context_.get();
    int length = 0;
    return EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) &&
           EVP_CIPHER_CTX_set_params(context, tag_parameter(tag).data()) &&
           EVP_DecryptUpdate(context, nullptr, &length, header.data(),
                             static_cast<int>(header.size())) &&
           EVP_DecryptUpdate(context, payload.data(), &length, payload.data(),
                             static_cast<int>(payload.size())) &&
           EVP_DecryptFinal_ex(context, payload.data() + payload.size(), &length) > 0;
  }

 private:
  CipherContext context_;
};

}  // namespace

std::unique_ptr<Aead> make_openssl_aead(const PacketKeys& keys, Aead::Direction direction) {
  return std::make_unique<OpensslAead>(keys, direction);
}

std::unique_ptr<Aead> make_aead(const PacketKeys& keys, Aead::Direction direction) {
  auto aead = make_multi_buffer_aead(keys);
  return aead ? std::move(aead) : make_openssl_aead(keys, direction);
}

}  // namespace rushfs::transport

#include "transport/security/stateless_reset.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace rushfs::transport {

ResetTokens::ResetTokens(const Identity& identity) {
  std::array<std::uint8_t, 32> private_key;
  std::size_t length = private_key.size();
  if (EVP_PKEY_get_raw_private_key(identity.private_key(), private_key.data(), &length) != 1) {
    throw std::runtime_error("reading the private key for stateless resets failed");
  }
  const Secret extracted = hkdf_extract({}, std::span(private_key).first(length));
  OPENSSL_cleanse(private_key.data(), private_key.size());
  key_ = hkdf_expand_label(CipherSuite::aes_128_gcm, extracted, "rushfs reset", 32);
}

ResetToken ResetTokens::of(const ConnectionId& id) const {
  const Secret digest = hkdf_extract(key_.bytes(), id.bytes);  // HMAC-SHA256(key, id)
  ResetToken token;
  std::copy_n(digest.bytes().begin(), token.size(), token.begin());
  return token;
}

std::vector<std::uint8_t> make_stateless_reset(const ResetToken& token, std::size_t triggered_by,
                                               const RandomSource& random) {
  if (triggered_by <= kStatelessResetSize) return {};
  std::vector<std::uint8_t> datagram(kStatelessResetSize);
  random(datagram);
  datagram.front() = static_cast<std::uint8_t>(0x40 | (datagram.front() & 0x3f));
  std::copy(token.begin(), token.end(), datagram.end() - static_cast<long>(token.size()));
  return datagram;
}

bool ends_in(std::span<const std::uint8_t> datagram, const ResetToken& token) {
  return datagram.size() >= token.size() &&
         CRYPTO_memcmp(datagram.last(token.size()).data(), token.data(), token.size()) == 0;
}

}  // namespace rushfs::transport

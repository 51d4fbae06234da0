#include "transport/security/packet_cipher.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cassert>

namespace rushfs::transport {
namespace {

constexpr std::uint8_t kLongForm = 0x80;
constexpr std::uint8_t kLongMask = 0x0f;   // reserved bits and packet number length
constexpr std::uint8_t kShortMask = 0x1f;  // and the key phase
constexpr std::size_t kSampleOffset = 4;   // from the packet number
constexpr std::size_t kSampleLength = 16;

struct Algorithms {
  const char* aead_name;
  const char* header_name;
  const EVP_CIPHER* aead = EVP_CIPHER_fetch(nullptr, aead_name, nullptr);
  const EVP_CIPHER* header = EVP_CIPHER_fetch(nullptr, header_name, nullptr);
};

/// Fetched once: by name, each would be looked up again for every key.
const Algorithms& algorithms(CipherSuite suite) {
  static const Algorithms aes_128{"AES-128-GCM", "AES-128-ECB"};
  static const Algorithms aes_256{"AES-256-GCM", "AES-256-ECB"};
  static const Algorithms chacha20{"ChaCha20-Poly1305", "ChaCha20"};
  switch (suite) {
    case CipherSuite::aes_128_gcm: return aes_128;
    case CipherSuite::aes_256_gcm: return aes_256;
    case CipherSuite::chacha20_poly1305: break;
  }
  return chacha20;
}

CipherContext make_context(const EVP_CIPHER* algorithm, const Secret& key, bool encrypt) {
  CipherContext context(EVP_CIPHER_CTX_new());
  assert(context && algorithm);
  const int ready = EVP_CipherInit_ex2(context.get(), algorithm, key.bytes().data(), nullptr,
                                       encrypt ? 1 : 0, nullptr);
  assert(ready == 1);
  return context;
}

/// The place of an AEAD tag, as OpenSSL wants to be told. (EVP_CIPHER_CTX_ctrl makes the same of
/// its arguments, for 25 ns more a packet.)
std::array<OSSL_PARAM, 2> tag_parameter(std::uint8_t* tag) {
  return {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, kTagLength),
          OSSL_PARAM_construct_end()};
}

}  // namespace

void CipherContextDeleter::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);  // wipes the key
}

PacketCipher::PacketCipher(const PacketKeys& keys, Direction direction)
    : context_(make_context(algorithms(keys.suite).aead, keys.key, direction == Direction::seal)),
      iv_(keys.iv) {}

std::array<std::uint8_t, 12> PacketCipher::nonce(std::uint64_t number) const {
  std::array<std::uint8_t, 12> result;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = iv_.bytes()[i];
  for (std::size_t i = result.size(); number != 0; number >>= 8) {
    result[--i] ^= static_cast<std::uint8_t>(number);
  }
  return result;
}

void PacketCipher::seal(std::uint64_t number, std::span<std::uint8_t> packet,
                        std::size_t header_length) {
  assert(packet.size() >= header_length + kTagLength);
  EVP_CIPHER_CTX* const context = context_.get();
  const auto payload = packet.subspan(header_length, packet.size() - header_length - kTagLength);
  const auto payload_length = static_cast<int>(payload.size());
  int length = 0;
  const bool sealed =
      EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce(number).data()) &&
      EVP_EncryptUpdate(context, nullptr, &length, packet.data(),
                        static_cast<int>(header_length)) &&
      EVP_EncryptUpdate(context, payload.data(), &length, payload.data(), payload_length) &&
      EVP_EncryptFinal_ex(context, payload.data() + payload.size(), &length) &&
      EVP_CIPHER_CTX_get_params(context, tag_parameter(payload.data() + payload.size()).data());
  assert(sealed);
}

bool PacketCipher::open(std::uint64_t number, std::span<std::uint8_t> packet,
                        std::size_t header_length) {
  if (packet.size() < header_length + kTagLength) return false;
  EVP_CIPHER_CTX* const context = context_.get();
  const auto payload = packet.subspan(header_length, packet.size() - header_length - kTagLength);
  const auto payload_length = static_cast<int>(payload.size());
  int length = 0;
  return EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce(number).data()) &&
         EVP_CIPHER_CTX_set_params(context,
                                   tag_parameter(payload.data() + payload.size()).data()) &&
         EVP_DecryptUpdate(context, nullptr, &length, packet.data(),
                           static_cast<int>(header_length)) &&
         EVP_DecryptUpdate(context, payload.data(), &length, payload.data(), payload_length) &&
         EVP_DecryptFinal_ex(context, payload.data() + payload.size(), &length) > 0;
}

HeaderCipher::HeaderCipher(const PacketKeys& keys)
    : context_(make_context(algorithms(keys.suite).header, keys.header_protection, true)),
      is_chacha20_(keys.suite == CipherSuite::chacha20_poly1305) {
  EVP_CIPHER_CTX_set_padding(context_.get(), 0);
}

std::array<std::uint8_t, 5> HeaderCipher::mask(std::span<const std::uint8_t, 16> sample) {
  std::array<std::uint8_t, 5> result{};
  int length = 0;
  bool masked = false;
  if (is_chacha20_) {  // the sample is block counter and nonce
    masked = EVP_EncryptInit_ex(context_.get(), nullptr, nullptr, nullptr, sample.data()) &&
             EVP_EncryptUpdate(context_.get(), result.data(), &length, result.data(),
                               static_cast<int>(result.size()));
  } else {
    std::array<std::uint8_t, 16> block;
    masked = EVP_EncryptUpdate(context_.get(), block.data(), &length, sample.data(),
                               static_cast<int>(sample.size()));
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = block[i];
  }
  assert(masked);
  return result;
}

void HeaderCipher::protect(std::span<std::uint8_t> packet, const PacketLayout& layout) {
  const std::size_t sample_offset = layout.packet_number_offset + kSampleOffset;
  assert(packet.size() >= sample_offset + kSampleLength);
  const auto bits = mask(packet.subspan(sample_offset).first<kSampleLength>());
  packet[0] ^= bits[0] & (packet[0] & kLongForm ? kLongMask : kShortMask);
  for (std::size_t i = 0; i < layout.packet_number_length; ++i) {
    packet[layout.packet_number_offset + i] ^= bits[1 + i];
  }
}

PacketLayout HeaderCipher::unprotect(std::span<std::uint8_t> packet,
                                     std::size_t packet_number_offset) {
  const std::size_t sample_offset = packet_number_offset + kSampleOffset;
  assert(packet.size() >= sample_offset + kSampleLength);
  const auto bits = mask(packet.subspan(sample_offset).first<kSampleLength>());
  packet[0] ^= bits[0] & (packet[0] & kLongForm ? kLongMask : kShortMask);
  const std::size_t length = (packet[0] & 0x03) + std::size_t{1};
  for (std::size_t i = 0; i < length; ++i) packet[packet_number_offset + i] ^= bits[1 + i];
  return {packet_number_offset, length};
}

}  // namespace rushfs::transport

#include "transport/security/packet_cipher.h"

#include <openssl/evp.h>

#include <cassert>

namespace rushfs::transport {
namespace {

constexpr std::uint8_t kLongForm = 0x80;
constexpr std::uint8_t kLongMask = 0x0f;   // reserved bits and packet number length
constexpr std::uint8_t kShortMask = 0x1f;  // and the key phase
constexpr std::size_t kSampleOffset = 4;   // from the packet number
constexpr std::size_t kSampleLength = 16;

/// Fetched once: by name, each would be looked up again for every key.
const EVP_CIPHER* header_algorithm(CipherSuite suite) {
  static const EVP_CIPHER* const aes_128 = EVP_CIPHER_fetch(nullptr, "AES-128-ECB", nullptr);
  static const EVP_CIPHER* const aes_256 = EVP_CIPHER_fetch(nullptr, "AES-256-ECB", nullptr);
  static const EVP_CIPHER* const chacha20 = EVP_CIPHER_fetch(nullptr, "ChaCha20", nullptr);
  switch (suite) {
    case CipherSuite::aes_128_gcm: return aes_128;
    case CipherSuite::aes_256_gcm: return aes_256;
    case CipherSuite::chacha20_poly1305: break;
  }
  return chacha20;
}

}  // namespace

PacketCipher::PacketCipher(const PacketKeys& keys, Direction direction)
    : aead_(make_aead(keys, direction)), iv_(keys.iv) {}

Aead::Nonce PacketCipher::nonce(std::uint64_t number) const {
  Aead::Nonce result;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = iv_.bytes()[i];
  for (std::size_t i = result.size(); number != 0; number >>= 8) {
    result[--i] ^= static_cast<std::uint8_t>(number);
  }
  return result;
}

void PacketCipher::seal(std::uint64_t number, std::span<std::uint8_t> packet,
                        std::size_t header_length) {
  assert(packet.size() >= header_length + kTagLength);
  const auto tag = packet.last<kTagLength>();
  const auto payload = packet.subspan(header_length, packet.size() - header_length - kTagLength);
  aead_->seal(nonce(number), packet.first(header_length), payload, tag);
}

bool PacketCipher::open(std::uint64_t number, std::span<std::uint8_t> packet,
                        std::size_t header_length) {
  if (packet.size() < header_length + kTagLength) return false;
  const auto tag = packet.last<kTagLength>();
  const auto payload = packet.subspan(header_length, packet.size() - header_length - kTagLength);
  return aead_->open(nonce(number), packet.first(header_length), payload, tag);
}

HeaderCipher::HeaderCipher(const PacketKeys& keys)
    : context_(make_cipher_context(header_algorithm(keys.suite), keys.header_protection, true)),
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

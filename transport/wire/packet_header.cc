#include "transport/wire/packet_header.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cassert>

#include "transport/wire/varint.h"

namespace rushfs::transport {
namespace {

// The first byte (RFC 9000, sections 17.2 and 17.3.1).
constexpr std::uint8_t kLongForm = 0x80;
constexpr std::uint8_t kFixedBit = 0x40;
constexpr std::uint8_t kTypeMask = 0x30;
constexpr std::uint8_t kTypeHandshake = 0x00;
constexpr std::uint8_t kTypeRetry = 0x30;

constexpr std::size_t kIntegrityTagLength = 16;
constexpr std::size_t kHandshakeLengthField = 2;

using Input = std::span<const std::uint8_t>;

std::optional<ConnectionId> connection_id(Input bytes) {
  if (bytes.size() != ConnectionId::kLength) return std::nullopt;
  ConnectionId id;
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

std::optional<Input> read_length_and_bytes(Input& input) {
  const auto length = read_uint(input, 1);
  return length ? read_bytes(input, *length) : std::nullopt;
}

std::optional<PacketHeader> parse_handshake(Input datagram, Input rest, const ConnectionId& to,
                                            const ConnectionId& from) {
  const auto token_length = read_varint(rest);
  if (!token_length || *token_length > kMaxToken) return std::nullopt;
  const auto token = read_bytes(rest, *token_length);
  if (!token) return std::nullopt;
  const auto length = read_varint(rest);
  if (!length || *length > rest.size()) return std::nullopt;
  const std::size_t offset = datagram.size() - rest.size();
  return HandshakeHeader{to, from, *token, offset, offset + *length};
}

std::optional<PacketHeader> parse_retry(Input rest, const ConnectionId& to,
                                        const ConnectionId& from) {
  if (rest.size() <= kIntegrityTagLength || rest.size() - kIntegrityTagLength > kMaxToken) {
    return std::nullopt;
  }
  return RetryHeader{to, from, rest.first(rest.size() - kIntegrityTagLength),
                     rest.last<kIntegrityTagLength>()};
}

std::optional<PacketHeader> parse_version_negotiation(Input rest, const ConnectionId& to,
                                                      const ConnectionId& from) {
  VersionNegotiationHeader header{to, from, {}};
  while (header.versions.size() < kMaxVersions) {
    const auto version = read_uint(rest, 4);
    if (!version) break;
    header.versions.push_back(static_cast<std::uint32_t>(*version));
  }
  if (header.versions.empty()) return std::nullopt;
  return header;
}

std::optional<PacketHeader> parse_long(Input datagram) {
  Input rest = datagram.subspan(1);
  const auto version = read_uint(rest, 4);
  if (!version) return std::nullopt;
  const auto destination = read_length_and_bytes(rest);
  if (!destination) return std::nullopt;
  const auto source = read_length_and_bytes(rest);
  if (!source) return std::nullopt;
  if (*version != kVersion && *version != 0) {
    if (destination->size() > kMaxForeignConnectionId ||
        source->size() > kMaxForeignConnectionId) {
      return std::nullopt;
    }
    return UnknownVersionHeader{static_cast<std::uint32_t>(*version), *destination, *source};
  }
  const auto to = connection_id(*destination);
  const auto from = connection_id(*source);
  if (!to || !from) return std::nullopt;
  if (*version == 0) return parse_version_negotiation(rest, *to, *from);
  if (!(datagram[0] & kFixedBit)) return std::nullopt;
  switch (datagram[0] & kTypeMask) {
    case kTypeHandshake:
      return parse_handshake(datagram, rest, *to, *from);
    case kTypeRetry:
      return parse_retry(rest, *to, *from);
    default:
      return std::nullopt;
  }
}

/// AES-128-GCM tag of nothing with `pseudo_packet` authenticated: RFC 9001, section 5.8, under a
/// key and nonce made as in RFC 9369 from SHA-256("rushfs v1 retry secret").
std::array<std::uint8_t, kIntegrityTagLength> retry_tag(const ConnectionId& original_destination,
                                                        Input retry_without_tag) {
  static constexpr std::uint8_t kKey[16] = {0xab, 0x54, 0xdd, 0x49, 0xc0, 0xc5, 0x9c, 0x9e,
                                            0xa1, 0x47, 0x80, 0x18, 0x37, 0xc4, 0x77, 0x37};
  static constexpr std::uint8_t kNonce[12] = {0x5f, 0x86, 0xb7, 0xaa, 0x97, 0xc4,
                                              0x3f, 0x1a, 0x64, 0xd0, 0x8e, 0x6c};
  return retry_integrity_tag(original_destination.bytes, retry_without_tag, kKey, kNonce);
}

}  // namespace

std::optional<PacketHeader> parse_packet_header(std::span<const std::uint8_t> datagram) {
  if (datagram.empty()) return std::nullopt;
  if (datagram[0] & kLongForm) return parse_long(datagram);
  if (!(datagram[0] & kFixedBit) || datagram.size() < 1 + ConnectionId::kLength) {
    return std::nullopt;
  }
  return DataHeader{*connection_id(datagram.subspan(1, ConnectionId::kLength)),
                    1 + ConnectionId::kLength};
}

std::size_t handshake_header_length(std::size_t token_length, std::size_t packet_number_length) {
  return 1 + 4 + 2 * (1 + ConnectionId::kLength) + varint_length(token_length) + token_length +
         kHandshakeLengthField + packet_number_length;
}

namespace {

/// First byte, version and connection ids of a long header.
void write_long(std::span<std::uint8_t>& output, std::uint8_t first, std::uint32_t version,
                Input destination, Input source) {
  const bool written = write_uint(output, first, 1) && write_uint(output, version, 4) &&
                       write_uint(output, destination.size(), 1) &&
                       write_bytes(output, destination) && write_uint(output, source.size(), 1) &&
                       write_bytes(output, source);
  assert(written);
}

}  // namespace

PacketLayout write_data_header(std::span<std::uint8_t> packet, const ConnectionId& destination,
                               std::size_t packet_number_length) {
  assert(packet_number_length >= 1 && packet_number_length <= 4);
  assert(packet.size() >= data_header_length(packet_number_length));
  packet[0] = static_cast<std::uint8_t>(kFixedBit | (packet_number_length - 1));
  std::copy(destination.bytes.begin(), destination.bytes.end(), packet.begin() + 1);
  return {1 + ConnectionId::kLength, packet_number_length};
}

PacketLayout write_handshake_header(std::span<std::uint8_t> packet, const ConnectionId& destination,
                                    const ConnectionId& source, std::span<const std::uint8_t> token,
                                    std::size_t packet_number_length, std::size_t payload_length) {
  assert(packet_number_length >= 1 && packet_number_length <= 4);
  const std::size_t length = packet_number_length + payload_length + kIntegrityTagLength;
  const auto first = static_cast<std::uint8_t>(kLongForm | kFixedBit | kTypeHandshake |
                                               (packet_number_length - 1));
  std::span<std::uint8_t> output = packet;
  write_long(output, first, kVersion, destination.bytes, source.bytes);
  const bool written = write_varint(output, token.size()) && write_bytes(output, token) &&
                       write_varint(output, length, kHandshakeLengthField);
  assert(written && output.size() >= packet_number_length);
  return {packet.size() - output.size(), packet_number_length};
}

std::array<std::uint8_t, 16> retry_integrity_tag(std::span<const std::uint8_t> original_destination,
                                                 std::span<const std::uint8_t> retry_without_tag,
                                                 std::span<const std::uint8_t, 16> key,
                                                 std::span<const std::uint8_t, 12> nonce) {
  const auto id_length = static_cast<std::uint8_t>(original_destination.size());
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  std::array<std::uint8_t, kIntegrityTagLength> tag;
  int ignored = 0;
  const auto authenticate = [&](Input bytes) {
    return EVP_EncryptUpdate(context, nullptr, &ignored, bytes.data(),
                             static_cast<int>(bytes.size())) == 1;
  };
  const bool done =
      context &&
      EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), nullptr, key.data(), nonce.data()) &&
      authenticate({&id_length, 1}) && authenticate(original_destination) &&
      authenticate(retry_without_tag) && EVP_EncryptFinal_ex(context, nullptr, &ignored) &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kIntegrityTagLength, tag.data());
  EVP_CIPHER_CTX_free(context);
  assert(done);
  return tag;
}

std::vector<std::uint8_t> make_retry(const ConnectionId& client,
                                     const ConnectionId& original_destination,
                                     std::span<const std::uint8_t> token) {
  assert(!token.empty() && token.size() <= kMaxToken);
  std::vector<std::uint8_t> packet(1 + 4 + 2 * (1 + ConnectionId::kLength) + token.size());
  std::span<std::uint8_t> output = packet;
  write_long(output, kLongForm | kFixedBit | kTypeRetry, kVersion, client.bytes,
             original_destination.bytes);
  std::copy(token.begin(), token.end(), output.begin());
  const auto tag = retry_tag(original_destination, packet);
  packet.insert(packet.end(), tag.begin(), tag.end());
  return packet;
}

bool is_retry_intact(std::span<const std::uint8_t> datagram,
                     const ConnectionId& original_destination) {
  if (datagram.size() <= kIntegrityTagLength) return false;
  const auto expected =
      retry_tag(original_destination, datagram.first(datagram.size() - kIntegrityTagLength));
  return CRYPTO_memcmp(datagram.last(kIntegrityTagLength).data(), expected.data(),
                       kIntegrityTagLength) == 0;
}

std::vector<std::uint8_t> make_version_negotiation(const UnknownVersionHeader& asked) {
  std::vector<std::uint8_t> packet(1 + 4 + 2 + asked.destination.size() + asked.source.size() + 4);
  std::span<std::uint8_t> output = packet;
  write_long(output, kLongForm | kFixedBit, 0, asked.source, asked.destination);
  const bool written = write_uint(output, kVersion, 4);
  assert(written && output.empty());
  return packet;
}

}  // namespace rushfs::transport

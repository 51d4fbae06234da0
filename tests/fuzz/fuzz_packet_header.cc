// Any datagram is garbage or a header whose parts lie within it, and an answer is never longer.
#include <algorithm>
#include <cassert>

#include "transport/security/packet_protection.h"

using namespace rushfs::transport;

namespace {

void check(const DataHeader& header, std::span<const std::uint8_t> datagram) {
  assert(header.packet_number_offset <= datagram.size());
  static auto protection = PacketProtection::for_handshake({}, Role::server);
  std::vector<std::uint8_t> copy(datagram.begin(), datagram.end());
  assert(!protection.open(copy, header.packet_number_offset, {}));
}

void check(const HandshakeHeader& header, std::span<const std::uint8_t> datagram) {
  assert(header.token.size() <= kMaxToken);
  assert(header.packet_number_offset <= header.packet_end);
  assert(header.packet_end <= datagram.size());
  auto protection = PacketProtection::for_handshake(header.destination, Role::server);
  std::vector<std::uint8_t> copy(datagram.begin(),
                                 datagram.begin() + static_cast<std::ptrdiff_t>(header.packet_end));
  protection.open(copy, header.packet_number_offset, {});
}

void check(const RetryHeader& header, std::span<const std::uint8_t> datagram) {
  assert(!header.token.empty() && header.token.size() <= kMaxToken);
  if (is_retry_intact(datagram, header.source)) {
    const auto made = make_retry(header.destination, header.source, header.token);
    // Only the four unused bits of the first byte may differ, and they are under the tag.
    assert(made.size() == datagram.size());
  }
}

void check(const VersionNegotiationHeader& header, std::span<const std::uint8_t>) {
  assert(!header.versions.empty() && header.versions.size() <= kMaxVersions);
}

void check(const UnknownVersionHeader& header, std::span<const std::uint8_t> datagram) {
  assert(header.version != 0 && header.version != kVersion);
  assert(make_version_negotiation(header).size() <= datagram.size() + 4);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> datagram(data, size);
  if (const auto header = parse_packet_header(datagram)) {
    std::visit([&](const auto& parsed) { check(parsed, datagram); }, *header);
  }
  return 0;
}

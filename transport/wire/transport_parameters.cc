#include "transport/wire/transport_parameters.h"

#include <algorithm>
#include <cassert>

#include "transport/wire/varint.h"

namespace rushfs::transport {
namespace {

enum Id : std::uint64_t {
  kIdVersion = 0,
  kIdOriginalDestination = 1,
  kIdSource = 2,
  kIdIdleTimeout = 3,  // milliseconds
  kIdMaxDatagram = 4,
  kIdInitialCredit = 5,  // a varint per class
};
constexpr unsigned kAllIds = 0x3f;

/// An idle timeout beyond a day would only keep dead connections.
constexpr std::uint64_t kMaxIdleTimeoutMs = 24 * 3600 * 1000;

using Input = std::span<const std::uint8_t>;
using Output = std::span<std::uint8_t>;

void append(std::vector<std::uint8_t>& list, Id id, Input value) {
  std::array<std::uint8_t, 16> head;
  Output output = head;
  const bool written = write_varint(output, id) && write_varint(output, value.size());
  assert(written);
  list.insert(list.end(), head.begin(), head.end() - static_cast<std::ptrdiff_t>(output.size()));
  list.insert(list.end(), value.begin(), value.end());
}

void append_varints(std::vector<std::uint8_t>& list, Id id, std::span<const std::uint64_t> values) {
  std::array<std::uint8_t, 8 * kPriorities> space;
  Output output = space;
  for (const std::uint64_t value : values) {
    const bool written = write_varint(output, value);
    assert(written);
  }
  append(list, id, Input(space).first(space.size() - output.size()));
}

std::optional<std::uint64_t> whole_varint(Input value) {
  const auto number = read_varint(value);
  return value.empty() ? number : std::nullopt;
}

bool decode_connection_id(Input value, ConnectionId& id) {
  if (value.size() != ConnectionId::kLength) return false;
  std::copy(value.begin(), value.end(), id.bytes.begin());
  return true;
}

bool decode_number(Input value, std::uint64_t least, std::uint64_t most, std::uint64_t& number) {
  const auto decoded = whole_varint(value);
  if (!decoded || *decoded < least || *decoded > most) return false;
  number = *decoded;
  return true;
}

bool decode_credit(Input value, std::array<Bytes, kPriorities>& credit) {
  for (Bytes& bytes : credit) {
    const auto count = read_varint(value);
    if (!count) return false;
    bytes = Bytes{*count};
  }
  return value.empty();
}

bool decode_one(std::uint64_t id, Input value, TransportParameters& parameters) {
  std::uint64_t number = 0;
  switch (id) {
    case kIdVersion:
      if (value.size() != 4) return false;
      parameters.version = static_cast<std::uint32_t>(*read_uint(value, 4));
      return true;
    case kIdOriginalDestination:
      return decode_connection_id(value, parameters.original_destination);
    case kIdSource:
      return decode_connection_id(value, parameters.source);
    case kIdIdleTimeout:
      if (!decode_number(value, 1, kMaxIdleTimeoutMs, number)) return false;
      parameters.idle_timeout = std::chrono::milliseconds(number);
      return true;
    case kIdMaxDatagram:
      return decode_number(value, kMinInitialDatagram, 65535, parameters.max_datagram);
    case kIdInitialCredit:
      return decode_credit(value, parameters.initial_credit);
    default:
      return true;
  }
}

}  // namespace

std::vector<std::uint8_t> encode(const TransportParameters& parameters) {
  std::vector<std::uint8_t> list;
  std::array<std::uint8_t, 4> version;
  Output output = version;
  const bool written = write_uint(output, parameters.version, 4);
  assert(written);
  append(list, kIdVersion, version);
  append(list, kIdOriginalDestination, parameters.original_destination.bytes);
  append(list, kIdSource, parameters.source.bytes);
  const auto idle =
      std::chrono::duration_cast<std::chrono::milliseconds>(parameters.idle_timeout).count();
  const std::uint64_t idle_ms = static_cast<std::uint64_t>(idle);
  append_varints(list, kIdIdleTimeout, {&idle_ms, 1});
  append_varints(list, kIdMaxDatagram, {&parameters.max_datagram, 1});
  std::array<std::uint64_t, kPriorities> credit;
  for (std::size_t i = 0; i < credit.size(); ++i) credit[i] = parameters.initial_credit[i].count;
  append_varints(list, kIdInitialCredit, credit);
  return list;
}

std::optional<TransportParameters> decode_transport_parameters(
    std::span<const std::uint8_t> encoded) {
  if (encoded.size() > kMaxTransportParameters) return std::nullopt;
  TransportParameters parameters;
  unsigned seen = 0;
  while (!encoded.empty()) {
    const auto id = read_varint(encoded);
    if (!id) return std::nullopt;
    const auto length = read_varint(encoded);
    if (!length) return std::nullopt;
    const auto value = read_bytes(encoded, *length);
    if (!value || !decode_one(*id, *value, parameters)) return std::nullopt;
    if (*id > kIdInitialCredit) continue;
    const unsigned bit = 1u << *id;
    if (seen & bit) return std::nullopt;
    seen |= bit;
  }
  if (seen != kAllIds) return std::nullopt;
  return parameters;
}

}  // namespace rushfs::transport

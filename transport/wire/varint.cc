#include "transport/wire/varint.h"

#include <bit>
#include <cassert>
#include <cstring>

namespace rushfs::transport {

std::optional<std::uint64_t> read_varint(std::span<const std::uint8_t>& input) {
  if (input.empty()) return std::nullopt;
  const std::size_t length = std::size_t{1} << (input[0] >> 6);
  if (input.size() < length) return std::nullopt;
  std::uint64_t value = input[0] & 0x3f;
  for (std::size_t i = 1; i < length; ++i) value = value << 8 | input[i];
  input = input.subspan(length);
  return value;
}

bool write_varint(std::span<std::uint8_t>& output, std::uint64_t value) {
  return write_varint(output, value, varint_length(value));
}

bool write_varint(std::span<std::uint8_t>& output, std::uint64_t value, std::size_t length) {
  assert(std::has_single_bit(length) && length <= 8 && value <= kMaxVarint);
  assert(varint_length(value) <= length);
  const auto prefix = static_cast<std::uint64_t>(std::countr_zero(length));
  return write_uint(output, value | prefix << (8 * length - 2), length);
}

std::optional<std::uint64_t> read_uint(std::span<const std::uint8_t>& input, std::size_t length) {
  assert(length <= 8);
  if (input.size() < length) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < length; ++i) value = value << 8 | input[i];
  input = input.subspan(length);
  return value;
}

bool write_uint(std::span<std::uint8_t>& output, std::uint64_t value, std::size_t length) {
  assert(length <= 8);
  if (output.size() < length) return false;
  for (std::size_t i = length; i-- > 0; value >>= 8) output[i] = static_cast<std::uint8_t>(value);
  output = output.subspan(length);
  return true;
}

std::optional<std::span<const std::uint8_t>> read_bytes(std::span<const std::uint8_t>& input,
                                                        std::size_t length) {
  if (input.size() < length) return std::nullopt;
  const auto bytes = input.first(length);
  input = input.subspan(length);
  return bytes;
}

bool write_bytes(std::span<std::uint8_t>& output, std::span<const std::uint8_t> bytes) {
  if (output.size() < bytes.size()) return false;
  if (!bytes.empty()) std::memcpy(output.data(), bytes.data(), bytes.size());
  output = output.subspan(bytes.size());
  return true;
}

}  // namespace rushfs::transport

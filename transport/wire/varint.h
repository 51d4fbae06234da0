// Variable-length integers of RFC 9000, section 16: 1, 2, 4 or 8 bytes, big-endian, up to 2^62 - 1.
// Readers and writers take a span by reference and move its start past what they used; on failure
// the span is left as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace rushfs::transport {

inline constexpr std::uint64_t kMaxVarint = (std::uint64_t{1} << 62) - 1;

/// Bytes that the shortest encoding takes. `value` <= kMaxVarint.
constexpr std::size_t varint_length(std::uint64_t value) {
  return value < (1u << 6) ? 1 : value < (1u << 14) ? 2 : value < (1u << 30) ? 4 : 8;
}

/// Any encoding is accepted, not only the shortest. None: the input is too short.
std::optional<std::uint64_t> read_varint(std::span<const std::uint8_t>& input);

/// Writes the shortest encoding. False: no room.
[[nodiscard]] bool write_varint(std::span<std::uint8_t>& output, std::uint64_t value);

/// Writes in exactly `length` (1, 2, 4 or 8) bytes, for lengths that are filled in later.
/// False: no room. `value` must fit.
[[nodiscard]] bool write_varint(std::span<std::uint8_t>& output, std::uint64_t value,
                                std::size_t length);

/// Fixed-size big-endian integers of `length` <= 8 bytes, and runs of bytes.
std::optional<std::uint64_t> read_uint(std::span<const std::uint8_t>& input, std::size_t length);
[[nodiscard]] bool write_uint(std::span<std::uint8_t>& output, std::uint64_t value,
                              std::size_t length);
std::optional<std::span<const std::uint8_t>> read_bytes(std::span<const std::uint8_t>& input,
                                                        std::size_t length);
[[nodiscard]] bool write_bytes(std::span<std::uint8_t>& output,
                               std::span<const std::uint8_t> bytes);

}  // namespace rushfs::transport

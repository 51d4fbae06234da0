// The byte layout primitives of the file protocol (docs/file-protocol.md, "Primitives"): a Writer
// and a Reader with the same function for each, so that one description of a message serves both.
// Private to messages.cc.
#pragma once

#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "fs/protocol/message_types.h"

namespace rushfs::fs::wire {

/// Appends to a buffer.
class Writer {
 public:
  static constexpr bool kReads = false;
  explicit Writer(Buffer& out) : out_(out) {}

  bool ok() const { return true; }
  void fail() {}

  void fixed64(std::uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8)
      out_.push_back(static_cast<std::uint8_t>(value >> shift));
  }
  void fixed32(std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8)
      out_.push_back(static_cast<std::uint8_t>(value >> shift));
  }
  template <class T>
  void number(const T& value, std::uint64_t /*limit*/ = 0) {
    static_assert(std::is_unsigned_v<T>);
    std::uint64_t rest = value;
    for (; rest >= 0x80; rest >>= 7) out_.push_back(static_cast<std::uint8_t>(rest | 0x80));
    out_.push_back(static_cast<std::uint8_t>(rest));
  }
  void flag(bool value) { out_.push_back(value ? 1 : 0); }
  void text(const std::string& value, std::size_t /*limit*/) {
    number(value.size());
    out_.insert(out_.end(), value.begin(), value.end());
  }
  template <std::size_t N>
  void array(const std::array<std::uint8_t, N>& value) {
    out_.insert(out_.end(), value.begin(), value.end());
  }
  /// Behind a length of fixed size, so that the length can be filled in after the data.
  void data(std::span<const std::uint8_t> value, std::size_t /*limit*/) {
    fixed32(static_cast<std::uint32_t>(value.size()));
    out_.insert(out_.end(), value.begin(), value.end());
  }

 private:
  Buffer& out_;
};

/// Takes from a message; after the first violation everything reads as nothing and ok() is false.
class Reader {
 public:
  static constexpr bool kReads = true;
  explicit Reader(std::span<const std::uint8_t> in) : in_(in) {}

  bool ok() const { return ok_; }
  void fail() { ok_ = false, in_ = {}; }
  bool finished() const { return ok_ && in_.empty(); }
  std::size_t left() const { return in_.size(); }

  void fixed64(std::uint64_t& value) {
    value = 0;
    const auto bytes = take(8);
    for (std::size_t i = 0; i < bytes.size(); ++i) value |= std::uint64_t{bytes[i]} << (8 * i);
  }
  void fixed32(std::uint32_t& value) {
    value = 0;
    const auto bytes = take(4);
    for (std::size_t i = 0; i < bytes.size(); ++i) value |= std::uint32_t{bytes[i]} << (8 * i);
  }
  /// Shortest form only, and not above `limit`.
  template <class T>
  void number(T& value, std::uint64_t limit = std::numeric_limits<T>::max()) {
    static_assert(std::is_unsigned_v<T>);
    value = 0;
    std::uint64_t sum = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = take(1);
      if (byte.empty()) return;
      const std::uint64_t part = byte[0] & 0x7f;
      const bool overflow = shift == 63 && part > 1;
      const bool padded = shift > 0 && byte[0] == 0;
      if (overflow || padded || shift > 63) return fail();
      sum |= part << shift;
      if ((byte[0] & 0x80) == 0) break;
    }
    if (sum > limit) return fail();
    value = static_cast<T>(sum);
  }
  void flag(bool& value) {
    const auto byte = take(1);
    value = !byte.empty() && byte[0] == 1;
    if (!byte.empty() && byte[0] > 1) fail();
  }
  void text(std::string& value, std::size_t limit) {
    std::uint64_t size = 0;
    number(size, limit);
    const auto bytes = take(size);
    value.assign(bytes.begin(), bytes.end());
  }
  template <std::size_t N>
  void array(std::array<std::uint8_t, N>& value) {
    const auto bytes = take(N);
    if (bytes.size() == N) std::memcpy(value.data(), bytes.data(), N);
  }
  void data(std::span<const std::uint8_t>& value, std::size_t limit) {
    std::uint32_t size = 0;
    fixed32(size);
    if (size > limit) return fail();
    value = take(size);
  }

 private:
  std::span<const std::uint8_t> take(std::size_t count) {
    if (count > in_.size()) {
      fail();
      return {};
    }
    const auto taken = in_.first(count);
    in_ = in_.subspan(count);
    return taken;
  }

  std::span<const std::uint8_t> in_;
  bool ok_ = true;
};

/// A part that may be missing: a flag, then the part.
template <class A, class M, class F>
void optional(A& archive, M& value, F describe) {
  bool present = false;
  if constexpr (!A::kReads) present = value.has_value();
  archive.flag(present);
  if (!archive.ok()) return;
  if constexpr (A::kReads) {
    if (present)
      value.emplace();
    else
      value.reset();
  }
  if (present) describe(*value);
}

}  // namespace rushfs::fs::wire

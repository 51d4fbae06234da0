// Units of the transport: time, amounts of data and rates, as types that cannot be mixed up.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <limits>

namespace rushfs::transport {

/// Monotonic time. The transport never reads a clock: every entry point takes `now`.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;  // nanoseconds

/// An amount of data, in bytes.
struct Bytes {
  std::uint64_t count = 0;
  constexpr auto operator<=>(const Bytes&) const = default;
  constexpr Bytes& operator+=(Bytes other) { count += other.count; return *this; }
  constexpr Bytes& operator-=(Bytes other) { count -= other.count; return *this; }
};
constexpr Bytes operator+(Bytes a, Bytes b) { return {a.count + b.count}; }
constexpr Bytes operator-(Bytes a, Bytes b) { return {a.count - b.count}; }
constexpr Bytes operator*(Bytes a, double factor) {
  return {static_cast<std::uint64_t>(static_cast<double>(a.count) * factor)};
}
constexpr Bytes operator""_B(unsigned long long n) { return {n}; }
constexpr Bytes operator""_KiB(unsigned long long n) { return {n << 10}; }
constexpr Bytes operator""_MiB(unsigned long long n) { return {n << 20}; }

/// A rate of data, in bits per second.
struct BitRate {
  double bits_per_second = 0;
  constexpr auto operator<=>(const BitRate&) const = default;
  static constexpr BitRate infinite() { return {std::numeric_limits<double>::infinity()}; }
};
constexpr BitRate operator*(BitRate rate, double factor) { return {rate.bits_per_second * factor}; }
constexpr BitRate operator/(BitRate rate, double by) { return {rate.bits_per_second / by}; }
constexpr BitRate operator""_Mbps(unsigned long long n) { return {static_cast<double>(n) * 1e6}; }

constexpr double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
constexpr Duration from_seconds(double s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

/// The rate that moves `amount` in `time`.
constexpr BitRate operator/(Bytes amount, Duration time) {
  return {static_cast<double>(amount.count) * 8 / seconds(time)};
}
/// What a rate moves in `time`.
constexpr Bytes operator*(BitRate rate, Duration time) {
  return {static_cast<std::uint64_t>(rate.bits_per_second * seconds(time) / 8)};
}
/// How long a rate takes to move `amount`.
constexpr Duration operator/(Bytes amount, BitRate rate) {
  return from_seconds(static_cast<double>(amount.count) * 8 / rate.bits_per_second);
}

}  // namespace rushfs::transport

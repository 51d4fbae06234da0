#include "tools/quantity.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <span>

#include "tools/error.h"

namespace rushfs::tools {
namespace {

struct Unit {
  std::string_view suffix;
  double factor;
};

constexpr double kKibi = 1024;
constexpr std::array<Unit, 18> kSizes{{
    {"", 1}, {"B", 1},
    {"K", kKibi}, {"KB", kKibi}, {"KiB", kKibi}, {"k", kKibi},
    {"M", kKibi * kKibi}, {"MB", kKibi * kKibi}, {"MiB", kKibi * kKibi}, {"m", kKibi * kKibi},
    {"G", kKibi * kKibi * kKibi}, {"GB", kKibi * kKibi * kKibi},
    {"GiB", kKibi * kKibi * kKibi}, {"g", kKibi * kKibi * kKibi},
    {"T", kKibi * kKibi * kKibi * kKibi}, {"TB", kKibi * kKibi * kKibi * kKibi},
    {"TiB", kKibi * kKibi * kKibi * kKibi}, {"t", kKibi * kKibi * kKibi * kKibi},
}};
constexpr std::array<Unit, 7> kRates{{
    {"", 1}, {"k", 1e3}, {"K", 1e3}, {"m", 1e6}, {"M", 1e6}, {"g", 1e9}, {"G", 1e9}}};
constexpr std::array<Unit, 6> kTimes{{
    {"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"min", 60}, {"h", 3600}}};

// Beyond this a number is a slip of the keyboard: an exbibyte, an exabit per second, 36 years.
constexpr double kLargest = 1152921504606846976.0;

double parse(std::string_view text, std::span<const Unit> units, std::string_view what,
             std::string_view example) {
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view suffix(rest, text.data() + text.size() - rest);
  for (const Unit& unit : units) {
    if (error != std::errc() || suffix != unit.suffix) continue;
    const double value = number * unit.factor;
    if (std::isfinite(value) && value >= 0 && value < kLargest) return value;
  }
  throw usage_error(fmt::format("\"{}\" is not {}. Write for example {}.", text, what, example));
}

}  // namespace

transport::Bytes parse_size(std::string_view text) {
  return {static_cast<std::uint64_t>(parse(text, kSizes, "a size", "500M or 64G"))};
}

transport::BitRate parse_rate(std::string_view text) {
  if (text == "unlimited") return transport::BitRate::infinite();
  std::string_view number = text;
  for (const std::string_view ending : {"bit/s", "bps", "bit"}) {
    if (number.size() > ending.size() && number.ends_with(ending)) {
      number.remove_suffix(ending.size());
      break;
    }
  }
  return {parse(number, kRates, "a rate", "500M for 500 Mbit/s, 2.5G, or unlimited")};
}

transport::Duration parse_duration(std::string_view text) {
  constexpr double kLongest = 86400.0 * 365;
  const double seconds = parse(text, kTimes, "a time", "30s or 5m");
  if (seconds > kLongest) throw usage_error(fmt::format("\"{}\" is longer than a year.", text));
  return transport::from_seconds(seconds);
}

std::string format_size(transport::Bytes size) {
  constexpr std::array<std::string_view, 5> kNames{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(size.count);
  std::size_t name = 0;
  while (value >= kKibi && name + 1 < kNames.size()) {
    value /= kKibi;
    ++name;
  }
  const int digits = name == 0 || value >= 100 ? 0 : 1;
  return fmt::format("{:.{}f} {}", value, digits, kNames[name]);
}

std::string format_rate(transport::BitRate rate) {
  const double bits = rate.bits_per_second;
  if (std::isinf(bits)) return "unlimited";
  if (bits >= 1e9) return fmt::format("{:.2f} Gbit/s", bits / 1e9);
  if (bits >= 1e8) return fmt::format("{:.0f} Mbit/s", bits / 1e6);
  if (bits >= 1e6) return fmt::format("{:.1f} Mbit/s", bits / 1e6);
  return fmt::format("{:.0f} kbit/s", bits / 1e3);
}

std::string format_duration(transport::Duration duration) {
  const double seconds = transport::seconds(duration);
  if (seconds < 1) return fmt::format("{:.1f} ms", seconds * 1e3);
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(seconds);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace rushfs::tools

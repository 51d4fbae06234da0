#include "transport/path/path_memory.h"

#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <string_view>

#include "transport/wire/varint.h"

namespace rushfs::transport {

namespace {

constexpr std::string_view kMagic = "rushpath";
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 8 + 2 + 2 + 8, kEntryBytes = 16 + 8 + 4 + 4,
                      kChecksumBytes = 8;
// Older than kLife means nothing, however much older.
constexpr std::chrono::seconds kSavedAgeLimit = std::chrono::hours(48);
// More than any path has; what is longer was not measured.
constexpr Duration kLongestRoundTrip = std::chrono::minutes(1);

std::uint64_t microseconds(Duration time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

std::span<const std::uint8_t> magic() {
  return {reinterpret_cast<const std::uint8_t*>(kMagic.data()), kMagic.size()};
}

}  // namespace

void PathMemory::remember(const Address& host, const RememberedPath& path, TimePoint now) {
  if (path.bandwidth.bits_per_second <= 0 || path.minimum_round_trip <= Duration::zero()) return;
  const auto found = hosts_.find(host.ip);
  if (found != hosts_.end()) {
    const RememberedPath& known = found->second.path;
    const bool told = path.bandwidth == known.bandwidth &&
                      path.minimum_round_trip == known.minimum_round_trip;
    const bool less = path.at_least && path.bandwidth <= known.bandwidth &&
                      known.is_of(path.minimum_round_trip) &&
                      now - found->second.learned <= kLife;
    if (told || less) return;
  }
  add(host.ip, {path, now});
}

void PathMemory::add(const Host& host, const Entry& entry) {
  hosts_[host] = entry;
  if (hosts_.size() <= kMaxHosts) return;
  hosts_.erase(std::min_element(hosts_.begin(), hosts_.end(), [](const auto& a, const auto& b) {
    return a.second.learned < b.second.learned;
  }));
}

std::optional<RememberedPath> PathMemory::recall(const Address& host, TimePoint now) const {
  const auto found = hosts_.find(host.ip);
  if (found == hosts_.end() || now - found->second.learned > kLife) return std::nullopt;
  return found->second.path;
}

std::vector<std::uint8_t> PathMemory::save(TimePoint now, Duration wall) const {
  std::vector<std::uint8_t> bytes(kHeaderBytes + hosts_.size() * kEntryBytes + kChecksumBytes);
  std::span<std::uint8_t> rest(bytes);
  bool fits = write_bytes(rest, magic()) && write_uint(rest, kVersion, 2) &&
              write_uint(rest, hosts_.size(), 2) && write_uint(rest, microseconds(wall), 8);
  for (const auto& [host, entry] : hosts_) {
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - entry.learned);
    const Duration round_trip = std::min(entry.path.minimum_round_trip, kLongestRoundTrip);
    const double bandwidth = entry.path.bandwidth.bits_per_second;
    fits = fits && write_bytes(rest, host) &&
           write_uint(rest, static_cast<std::uint64_t>(std::min(bandwidth, 1e15)), 8) &&
           write_uint(rest, std::max<std::uint64_t>(1, microseconds(round_trip)), 4) &&
           write_uint(rest, static_cast<std::uint64_t>(std::min(age, kSavedAgeLimit).count()), 4);
  }
  const std::uint64_t checksum = XXH3_64bits(bytes.data(), bytes.size() - kChecksumBytes);
  fits = fits && write_uint(rest, checksum, 8);
  assert(fits && rest.empty());
  return bytes;
}

bool PathMemory::load(std::span<const std::uint8_t> bytes, TimePoint now, Duration wall) {
  if (bytes.size() < kHeaderBytes + kChecksumBytes) return false;
  std::span<const std::uint8_t> checksum = bytes.last(kChecksumBytes);
  if (read_uint(checksum, 8) !=
      XXH3_64bits(bytes.data(), bytes.size() - kChecksumBytes)) {
    return false;
  }
  std::span<const std::uint8_t> rest = bytes.first(bytes.size() - kChecksumBytes);
  if (!std::ranges::equal(*read_bytes(rest, kMagic.size()), magic())) return false;
  if (read_uint(rest, 2) != kVersion) return false;
  const std::uint64_t count = *read_uint(rest, 2), written = *read_uint(rest, 8);
  if (count > kMaxHosts || rest.size() != count * kEntryBytes) return false;
  if (written > microseconds(wall)) return false;
  const Duration passed = std::chrono::microseconds(microseconds(wall) - written);
  for (std::uint64_t i = 0; i < count; ++i) {
    Host host;
    std::ranges::copy(*read_bytes(rest, host.size()), host.begin());
    const auto bandwidth = static_cast<double>(*read_uint(rest, 8));
    const Duration round_trip = std::chrono::microseconds(*read_uint(rest, 4));
    const Duration age = passed + std::chrono::seconds(*read_uint(rest, 4));
    if (age > kLife || round_trip <= Duration::zero() || round_trip > kLongestRoundTrip) continue;
    if (bandwidth > 0) add(host, {{BitRate{bandwidth}, round_trip}, now - age});
  }
  return true;
}

}  // namespace rushfs::transport

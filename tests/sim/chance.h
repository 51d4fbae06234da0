// Seeded chance: the same seed gives the same simulation on every machine.
#pragma once

#include <cstdint>
#include <random>
#include <span>

namespace rushfs::sim {

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t number() { return engine_(); }
  /// 0 <= x < 1
  double share() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }
  bool happens(double probability) { return probability > 0 && share() < probability; }
  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
  void fill(std::span<std::uint8_t> bytes) {
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(engine_());
  }

 private:
  std::mt19937_64 engine_;
};

/// RUSHFS_SEED if it is set, else `otherwise`.
std::uint64_t seed_or(std::uint64_t otherwise);

}  // namespace rushfs::sim

#include "tests/sim/link.h"

#include <algorithm>
#include <cstdlib>

namespace rushfs::sim {

std::uint64_t seed_or(std::uint64_t otherwise) {
  const char* text = std::getenv("RUSHFS_SEED");
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

namespace {
Duration scaled(Duration duration, double share) { return from_seconds(seconds(duration) * share); }
}  // namespace

bool Link::is_lost(TimePoint now, Chance& chance) {
  for (const Outage& outage : config.outages) {
    if (outage.from <= now && now < outage.until) return true;
  }
  if (config.bursts) {
    const double change = in_bad_state_ ? config.bursts->to_good : config.bursts->to_bad;
    if (chance.happens(change)) in_bad_state_ = !in_bad_state_;
    if (in_bad_state_ && chance.happens(config.bursts->loss_in_bad)) return true;
  }
  return chance.happens(config.loss);
}

bool Link::exceeds(const Policer& policer, std::size_t bytes, TimePoint now) {
  const double depth = static_cast<double>((policer.rate * policer.depth).count);
  const double earned = static_cast<double>((policer.rate * (now - tokens_at_)).count);
  tokens_ = tokens_at_ == TimePoint{} ? depth : std::min(depth, tokens_ + earned);
  tokens_at_ = now;
  if (tokens_ < static_cast<double>(bytes)) return true;
  tokens_ -= static_cast<double>(bytes);
  return false;
}

void Link::damage(std::vector<std::uint8_t>& bytes, Chance& chance) {
  switch (chance.below(4)) {
    case 0: bytes.resize(chance.below(bytes.size())); return;
    case 1: bytes.resize(bytes.size() + 1 + chance.below(20)); return;
    case 2: chance.fill(std::span(bytes).subspan(chance.below(bytes.size()))); return;
    default: {
      const std::uint64_t bit = chance.below(bytes.size() * 8);
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    }
  }
}

Link::Fate Link::send(std::vector<std::uint8_t>& bytes, TimePoint now, Chance& chance) {
  ++counters.offered;
  counters.bytes_offered += bytes.size();
  if (bytes.size() > config.mtu) {
    ++counters.too_large;
    return {};
  }
  if (config.policer && exceeds(*config.policer, bytes.size(), now)) {
    ++counters.lost;
    return {};
  }
  TimePoint out = now;
  if (config.rate != BitRate::infinite()) {
    const TimePoint start = std::max(free_at_, now);
    if (start - now > config.queue) {
      ++counters.overflowed;
      return {};
    }
    constexpr std::size_t kIpUdpHeaders = 28;
    free_at_ = start + Bytes{bytes.size() + kIpUdpHeaders} / config.rate;
    out = free_at_;
  }
  if (is_lost(now, chance)) {
    ++counters.lost;
    return {};
  }
  if (chance.happens(config.corruption)) damage(bytes, chance);
  TimePoint arrival = out + config.delay + scaled(config.jitter, chance.share());
  if (chance.happens(config.reordering)) {
    arrival += scaled(config.reordering_delay, chance.share());
  } else {
    last_arrival_ = arrival = std::max(arrival, last_arrival_);
  }
  ++counters.delivered;
  Fate fate{arrival, {}};
  if (chance.happens(config.duplication))
    fate.duplicate = arrival + scaled(config.delay, chance.share());
  return fate;
}

}  // namespace rushfs::sim

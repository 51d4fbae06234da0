#include "transport/competition.h"

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

namespace {

// Recognising others. Flows of our own kind that share a path yield together, and what is left of
// their queue is shorter than this; each of eight has more than kStarved.
constexpr double kYielded = 0.5;
constexpr double kForgiven = 1.5;     // of the yielding, by an epoch without a queue
constexpr double kFull = 0.7;         // round trips of queue
constexpr double kQueued = 0.2;       // the same
constexpr double kStarved = 0.1;      // of the capacity
constexpr double kStarvedTime = 1.4;  // times as long as a full queue must be seen
constexpr int kDecay = 3;             // times as fast evidence goes as it comes
constexpr Duration kLeastTime = std::chrono::seconds(1);
constexpr int kLeastRounds = 14;
// The same, soon after we tried to yield and should not have.
constexpr Duration kSoon = std::chrono::seconds(20);
constexpr double kYieldedAgain = 0.7;
constexpr double kStarvedAgain = 0.12;
constexpr int kSoonerBy = 2;

// Beside others.
constexpr double kShare = 0.52;    // of the capacity; estimates beside CUBIC are some fifth too low
constexpr double kFirst = 0.1;     // of it, at once
constexpr double kRise = 0.1;      // of it in a second
constexpr double kCut = 0.97;      // by an epoch of excess loss: many of us must find room
constexpr double kThrough = 1.25;  // of what arrives is the most to send
constexpr double kCrowd = 0.3;     // loss at which there is nothing to be held
constexpr Duration kSettled = std::chrono::seconds(5);
constexpr double kManyShare = 0.3;  // of the capacity: where loss keeps us below there are many
constexpr Duration kHold = std::chrono::seconds(40);
constexpr int kHoldGrowth = 8;
constexpr Duration kLongestHold = std::chrono::minutes(5);

// Learning the capacity.
constexpr Duration kMemory = std::chrono::seconds(30);
constexpr double kStep = 0.2;  // smaller changes of rate tell little
constexpr double kFade = 0.9;  // weight of the answers before
constexpr int kEnoughAnswers = 4;
constexpr double kMostTimes = 4;  // what was delivered: more is an error until we have more

}  // namespace

void Competition::on_delivered(double rate, TimePoint now) {
  if (!on_ && now - delivered_since_ > kMemory) {
    delivered_ = {delivered_[1], 0};
    delivered_since_ = now;
  }
  delivered_[1] = std::max(delivered_[1], rate);
}

void Competition::on_epoch(const Epoch& epoch, double packet) {
  const double rate = epoch.rate() * packet;
  const std::optional<double> growth = epoch.queue_growth();
  const double step = rate - last_rate_;
  if (growth && last_growth_ && epoch.id == last_epoch_ + 1 &&
      std::abs(step) > kStep * std::max(rate, last_rate_)) {
    squares_ = squares_ * kFade + step * step;
    products_ = products_ * kFade + step * (*growth - *last_growth_);
    ++answers_;
  }
  last_epoch_ = epoch.id;
  last_rate_ = rate;
  last_growth_ = growth;
}

std::optional<double> Competition::answered_capacity() const {
  if (answers_ < kEnoughAnswers || products_ <= 0) return std::nullopt;
  return squares_ / products_;
}

double Competition::capacity() const {
  const double delivered = std::max(delivered_[0], delivered_[1]);
  return std::clamp(answered_capacity().value_or(0), delivered, kMostTimes * delivered);
}

void Competition::look_for_others(const Sight& sight, TimePoint now) {
  const bool again = left_ != TimePoint{} && now - left_ < kSoon;
  const Duration time = std::min(now - judged_, 2 * (sight.base + sight.queue));
  judged_ = now;
  const bool queued = sight.queue > sight.allowed;
  if (!queued) yielded_ = std::min(1.0, yielded_ * kForgiven);
  const auto weigh = [&](Duration& evidence, bool seen) {
    evidence = std::max(Duration::zero(), seen ? evidence + time : evidence - kDecay * time);
  };
  const double queue = seconds(sight.queue) / seconds(sight.base);
  const std::optional<double> capacity = answered_capacity();
  weigh(full_, queued && queue > kFull);
  weigh(starved_, queued && queue > kQueued && capacity &&
                      sight.rate < (again ? kStarvedAgain : kStarved) * *capacity);
  const Duration enough =
      std::max<Duration>(kLeastTime, kLeastRounds * sight.base) / (again ? kSoonerBy : 1);
  if (yielded_ < (again ? kYieldedAgain : kYielded) &&
      (full_ > enough || seconds(starved_) > kStarvedTime * seconds(enough))) {
    begin(sight, again, now);
  }
}

void Competition::begin(const Sight& sight, bool again, TimePoint now) {
  on_ = true;
  full_ = starved_ = Duration::zero();
  hold_ = again ? std::min<Duration>(kHoldGrowth * hold_, kLongestHold) : kHold;
  const double first = again ? rate_ : std::max(sight.rate, kFirst * capacity());
  rate_ = std::min(first, kShare * capacity());
  queued_ = cut_ = begun_ = now;
}

void Competition::on_cruise(const Sight& sight, TimePoint sent, TimePoint now) {
  if (!on_) return look_for_others(sight, now);
  if (!sight.excessive) {
    const double rise = kRise * capacity() * seconds(now - judged_);
    rate_ = std::min(rate_ + rise, kShare * capacity());
  } else if (sent >= cut_) {
    rate_ *= std::min(kCut, kThrough * (1 - sight.lost));
    cut_ = now;
  }
  judged_ = now;
  if (seconds(sight.queue) > std::max(seconds(sight.allowed), kQueued * seconds(sight.base))) {
    queued_ = now;
  }
  const bool quiet = now - queued_ > std::max<Duration>(kLeastTime, kLeastRounds * sight.base);
  const bool many = now - begun_ > kSettled && rate_ < kManyShare * capacity();
  const bool crowd = sight.excessive && (sight.lost > kCrowd || many);
  if (!quiet && !crowd && now - begun_ < hold_) return;
  on_ = false;
  yielded_ = 1;
  left_ = crowd ? TimePoint{} : now;
}

}  // namespace rushfs::transport

#include "transport/rate/competition.h"

#include <algorithm>

namespace rushfs::transport {

namespace {

// Recognising others: so many dips in a row leave more than half of their queue, and soon after we
// yielded and should not have.
constexpr int kVainDips = 3;
constexpr int kVainDipsAgain = 2;
constexpr int kGoneDips = 2;  // in a row that leave none: they are of our own kind
constexpr Duration kSoon = std::chrono::seconds(20);

// Beside others.
constexpr double kShare = 0.52;  // of the capacity; estimates beside CUBIC are some fifth too low
constexpr double kFirst = 0.1;   // of it, at once
constexpr double kRise = 0.1;    // of it in a second
constexpr double kFall = 2;      // times the excess loss, in a second: many of us must find room
constexpr Duration kLongestStep = std::chrono::milliseconds(500);  // of time for both
constexpr double kCrowd = 0.3;  // excess loss at which there is nothing to be held
constexpr Duration kSettled = std::chrono::seconds(5);
constexpr double kManyShare = 0.3;  // of the capacity: where loss keeps us below there are many
constexpr double kQueued = 0.2;     // round trips: there is a queue
constexpr Duration kLeastTime = std::chrono::seconds(1);  // without one: they have gone
constexpr int kLeastRounds = 14;
constexpr Duration kHold = std::chrono::seconds(10);  // then a trial: it might be our own kind
constexpr int kHoldGrowth = 8;
constexpr Duration kLongestHold = std::chrono::minutes(5);

// Learning the capacity.
constexpr Duration kMemory = std::chrono::seconds(30);
constexpr double kMostTimes = 4;  // what was delivered: more is an error until we have more

}  // namespace

void Competition::on_delivered(double rate, TimePoint now) {
  if (!on_ && now - delivered_since_ > kMemory) {
    delivered_ = {delivered_[1], 0};
    delivered_since_ = now;
  }
  delivered_[1] = std::max(delivered_[1], rate);
}

double Competition::capacity() const {
  const double delivered = std::max(delivered_[0], delivered_[1]);
  return std::clamp(answers_.capacity().value_or(0), delivered, kMostTimes * delivered);
}

void Competition::look_for_others(const Sight& sight, TimePoint now) {
  judged_ = now;
  const bool again = left_ != TimePoint{} && now - left_ < kSoon;
  if (vain_dips_ < (again ? kVainDipsAgain : kVainDips) || sight.queue <= sight.allowed) return;
  on_ = true;
  hold_ = again ? std::min<Duration>(kHoldGrowth * hold_, kLongestHold) : kHold;
  const double first = again ? rate_ : std::max(sight.rate, kFirst * capacity());
  rate_ = std::min(first, kShare * capacity());
  queued_ = begun_ = now;
  gone_dips_ = 0;
}

void Competition::on_cruise(const Sight& sight, TimePoint now) {
  if (!on_) return look_for_others(sight, now);
  const double passed = seconds(std::min<Duration>(now - judged_, kLongestStep));
  rate_ = std::min(rate_ + kRise * capacity() * passed, kShare * capacity());
  if (sight.excessive) rate_ *= 1 - kFall * sight.lost * passed;
  judged_ = now;
  const bool many = now - begun_ > kSettled && rate_ < kManyShare * capacity();
  const bool crowd = sight.excessive && (sight.lost > kCrowd || many);
  if (seconds(sight.queue) > std::max(seconds(sight.allowed), kQueued * seconds(sight.base))) {
    queued_ = now;
  }
  const bool quiet = now - queued_ > std::max<Duration>(kLeastTime, kLeastRounds * sight.base);
  const bool trial = now - begun_ >= hold_;
  if (!quiet && !crowd && !trial && gone_dips_ < kGoneDips) return;
  on_ = false;
  vain_dips_ = 0;
  left_ = trial || crowd ? now : TimePoint{};
}

}  // namespace rushfs::transport

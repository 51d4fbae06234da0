#include "transport/rate/queue_answers.h"

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

namespace {

constexpr double kStep = 0.2;  // smaller changes of rate tell little
constexpr std::size_t kEnough = 4;
constexpr double kLeastYield = 0.1;

// What a full queue drops it would have grown by.
std::optional<double> growth_of(const Epoch& epoch, double floor) {
  const std::optional<double> growth = epoch.queue_growth();
  if (!growth) return std::nullopt;
  return *growth + (1 - floor) / std::max(1 - epoch.loss(), kLeastYield) - 1;
}

}  // namespace

void QueueAnswers::on_epoch(const Epoch& epoch, double packet, double floor) {
  const double rate = epoch.rate() * packet;
  const std::optional<double> growth = growth_of(epoch, floor);
  const double step = rate - last_rate_;
  if (growth && last_growth_ && epoch.id == last_epoch_ + 1 &&
      std::abs(step) > kStep * std::max(rate, last_rate_)) {
    answers_[count_++ % kRemembered] = {(*growth - *last_growth_) / step, std::abs(step)};
    capacity_ = middle();
  }
  last_epoch_ = epoch.id;
  last_rate_ = rate;
  last_growth_ = growth;
}

std::optional<double> QueueAnswers::middle() const {
  if (count_ < kEnough) return std::nullopt;
  auto sorted = answers_;
  auto* const end = sorted.data() + std::min(count_, kRemembered);
  std::sort(sorted.data(), end, [](const Answer& a, const Answer& b) { return a.slope < b.slope; });
  double rest = 0;
  for (auto* answer = sorted.data(); answer != end; ++answer) rest += answer->weight / 2;
  const Answer* middle = sorted.data();
  while (middle + 1 != end && (rest -= middle->weight) > 0) ++middle;
  if (middle->slope <= 0) return std::nullopt;
  return 1 / middle->slope;
}

}  // namespace rushfs::transport

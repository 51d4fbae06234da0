#include "transport/messages/repeats.h"

#include <algorithm>

namespace rushfs::transport {

void Repeats::on_sent(const SentFrame& frame, TimePoint now) {
  if (!spacing_ || frame.length > kMaxRepeated || pending_.size() >= kMaxPending) return;
  const TimePoint due = now + *spacing_;
  pending_.push_back({frame, pending_.empty() ? due : std::max(due, pending_.back().due)});
}

std::optional<TimePoint> Repeats::deadline() const {
  if (pending_.empty()) return std::nullopt;
  return pending_.front().due;
}

std::optional<SentFrame> Repeats::take_due(TimePoint now) {
  if (pending_.empty() || pending_.front().due > now) return std::nullopt;
  const SentFrame frame = pending_.front().frame;
  pending_.pop_front();
  return frame;
}

}  // namespace rushfs::transport

#include "tests/wan/link.h"

#include <algorithm>

namespace rushfs::wan {

namespace {

double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

Duration from_seconds(double s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

}  // namespace

Link::Link(LinkOptions options, std::uint64_t seed) : options_(options), generator_(seed) {}

Duration Link::transmission_time(std::uint32_t size) const {
  return options_.rate > 0 ? from_seconds(size * 8.0 / options_.rate) : Duration{0};
}

bool Link::policed(std::uint32_t size, TimePoint now) {
  if (options_.policer <= 0) return false;
  const double depth = options_.policer / 8 * to_seconds(options_.policer_burst);
  tokens_ = tokens_at_ == TimePoint{}
                ? depth
                : std::min(depth, tokens_ + options_.policer / 8 * to_seconds(now - tokens_at_));
  tokens_at_ = now;
  if (tokens_ < size) return true;
  tokens_ -= size;
  return false;
}

void Link::arrive(Segment segment, TimePoint now) {
  const std::uint32_t size = segment.size();
  ++counters_.arrived;
  counters_.arrived_bytes += size;
  if (!started_) rate_since_ = now;
  started_ = true;
  transmit(now);
  if (cut_) {
    ++counters_.dropped_by_cut;
  } else if (policed(size, now)) {
    ++counters_.dropped_by_policer;
  } else if (options_.rate > 0 && !queue_.empty() &&
             static_cast<double>(queued_bytes_ + size) >
                 options_.rate / 8 * to_seconds(options_.buffer)) {
    ++counters_.dropped_by_queue;
  } else {
    if (queue_.empty()) transmitter_free_ = std::max(transmitter_free_, now);
    queued_bytes_ += size;
    queue_.push_back({std::move(segment), now});
  }
}

void Link::transmit(TimePoint now) {
  while (!queue_.empty()) {
    const std::uint32_t size = queue_.front().segment.size();
    const TimePoint sent = transmitter_free_ + transmission_time(size);
    if (sent > now) return;
    Waiting head = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= size;
    transmitter_free_ = sent;
    const Duration waited = sent - head.arrived;
    counters_.queue_max = std::max(counters_.queue_max, waited);
    counters_.queue_sum_seconds += to_seconds(waited);
    ++counters_.transmitted;
    counters_.transmitted_bytes += size;
    fly(std::move(head.segment), sent);
  }
}

bool Link::lost() {
  if (options_.loss <= 0) return false;
  if (options_.burst <= 1) return random() < options_.loss;
  // Gilbert's two states: all is lost in a burst. Its mean length gives the way out, the wanted
  // share of loss then gives the way in.
  const double leave = 1 / options_.burst;
  const double enter = std::min(1.0, options_.loss * leave / (1 - std::min(options_.loss, 0.999)));
  in_burst_ = in_burst_ ? random() >= leave : random() < enter;
  return in_burst_;
}

Duration Link::jitter(TimePoint now) {
  if (options_.jitter <= Duration{0}) return Duration{0};
  if (options_.jitter_reorders || now >= jitter_until_) {
    jitter_now_ = from_seconds(to_seconds(options_.jitter) * (2 * random() - 1));
    jitter_until_ = now + options_.jitter;
  }
  return jitter_now_;
}

void Link::fly(Segment segment, TimePoint sent) {
  if (cut_) {
    ++counters_.dropped_by_cut;
    return;
  }
  if (lost()) {
    ++counters_.dropped_by_loss;
    return;
  }
  Flying flying{std::move(segment), sent + std::max(Duration{0}, options_.delay + jitter(sent))};
  if (options_.corrupt > 0 && random() < options_.corrupt) {
    flying.segment.corrupt = true;
    flying.segment.fix_checksum = options_.corrupt_silently;
    ++counters_.corrupted;
  }
  const bool twice = options_.duplicate > 0 && random() < options_.duplicate;
  if (twice) ++counters_.duplicated;
  const bool held_back = options_.reorder > 0 && random() < options_.reorder;
  if (held_back) {
    ++counters_.reordered;
    flying.due += options_.reorder_by;
  }
  for (int copy = 0; copy < (twice ? 2 : 1); ++copy) {
    if (held_back || options_.jitter_reorders) {
      stragglers_.push(flying);
    } else {
      if (!in_order_.empty()) flying.due = std::max(flying.due, in_order_.back().due);
      in_order_.push_back(flying);
    }
  }
}

std::optional<Segment> Link::pop_due(TimePoint now) {
  transmit(now);
  while (true) {
    const bool straggler = !stragglers_.empty() &&
                           (in_order_.empty() || stragglers_.top().due < in_order_.front().due);
    if (!straggler && in_order_.empty()) return std::nullopt;
    if ((straggler ? stragglers_.top() : in_order_.front()).due > now) return std::nullopt;
    Segment segment;
    if (straggler) {
      segment = stragglers_.top().segment;
      stragglers_.pop();
    } else {
      segment = std::move(in_order_.front().segment);
      in_order_.pop_front();
    }
    if (cut_) {
      ++counters_.dropped_by_cut;
      continue;
    }
    ++counters_.delivered;
    counters_.delivered_bytes += segment.size();
    return segment;
  }
}

std::optional<TimePoint> Link::next_event() const {
  std::optional<TimePoint> next;
  const auto consider = [&next](TimePoint t) { next = next ? std::min(*next, t) : t; };
  if (!in_order_.empty()) consider(in_order_.front().due);
  if (!stragglers_.empty()) consider(stragglers_.top().due);
  // A packet still at the transmitter cannot be due before it has left and flown.
  if (!queue_.empty()) {
    consider(transmitter_free_ + transmission_time(queue_.front().segment.size()) +
             std::max(Duration{0}, options_.delay - options_.jitter));
  }
  return next;
}

Duration Link::queue_delay() const {
  return options_.rate > 0 ? from_seconds(static_cast<double>(queued_bytes_) * 8 / options_.rate)
                           : Duration{0};
}

double Link::capacity(TimePoint now) const {
  return started_ ? earlier_capacity_ + options_.rate / 8 * to_seconds(now - rate_since_) : 0;
}

double Link::utilisation(TimePoint now) const {
  const double possible = capacity(now);
  return possible > 0 ? static_cast<double>(counters_.transmitted_bytes) / possible : 0;
}

void Link::set_options(const LinkOptions& options, TimePoint now) {
  transmit(now);
  earlier_capacity_ = capacity(now);
  rate_since_ = now;
  options_ = options;
}

}  // namespace rushfs::wan

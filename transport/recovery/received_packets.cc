#include "transport/recovery/received_packets.h"

#include <algorithm>
#include <functional>

namespace rushfs::transport {

namespace {

// Ranges remembered, 64 KiB: as many gaps as the packets of 100 ms at 1 Gbit/s leave that overtake
// each other.
constexpr std::size_t kMaxRanges = 4096;
// An ACK leaves before its timer once so many packets left a gap or came late, or so many wait: so
// that each frame, which carries 256 ranges, repeats what the last few said, and that the sender is
// not told in lumps.
constexpr std::uint64_t kGapsPerAck = 48;
constexpr std::uint64_t kPacketsPerAck = 256;
// The first packets of a connection are acknowledged at once: the sender's first round trips and
// its rate depend on them.
constexpr std::uint64_t kPacketsAtOnce = 16;

constexpr std::uint64_t kWindowMask = kDuplicateWindow - 1;
constexpr std::size_t kWindowWords = kDuplicateWindow / 64;

}  // namespace

ReceivedPackets::ReceivedPackets(bool always_at_once)
    : always_at_once_(always_at_once), ranges_(kMaxRanges) {}

bool ReceivedPackets::test(std::uint64_t number) const {
  const std::size_t word = static_cast<std::size_t>(number & kWindowMask) / 64;
  return word < window_.size() && (window_[word] >> (number % 64) & 1) != 0;
}

void ReceivedPackets::mark(std::uint64_t number) {
  const std::size_t word = static_cast<std::size_t>(number & kWindowMask) / 64;
  // Grows to its full 32 KiB only on connections that carry as many packets.
  if (word >= window_.size()) {
    window_.resize(std::min(std::max(word + 1, window_.size() * 2), kWindowWords));
  }
  window_[word] |= std::uint64_t{1} << (number % 64);
}

// Forgets the numbers from `begin` to before `end`. Whole words at once: the peer says how many.
void ReceivedPackets::clear(std::uint64_t begin, std::uint64_t end) {
  if (end - begin >= kDuplicateWindow) return std::fill(window_.begin(), window_.end(), 0);
  const auto clear_bit = [this](std::uint64_t number) {
    const std::size_t word = static_cast<std::size_t>(number & kWindowMask) / 64;
    if (word < window_.size()) window_[word] &= ~(std::uint64_t{1} << (number % 64));
  };
  while (begin < end && begin % 64 != 0) clear_bit(begin++);
  while (begin < end && end % 64 != 0) clear_bit(--end);
  const auto clear_words = [this](std::size_t first, std::size_t count) {
    const std::size_t from = std::min(first, window_.size());
    std::fill_n(window_.begin() + static_cast<std::ptrdiff_t>(from),
                std::min(count, window_.size() - from), 0);
  };
  const std::size_t first = static_cast<std::size_t>(begin & kWindowMask) / 64;
  const std::size_t count = static_cast<std::size_t>(end - begin) / 64;
  const std::size_t before_wrap = std::min(count, kWindowWords - first);
  clear_words(first, before_wrap);
  clear_words(0, count - before_wrap);
}

bool ReceivedPackets::is_duplicate(std::uint64_t number) const {
  if (packets_ == 0 || number > largest_) return false;
  if (largest_ - number >= kDuplicateWindow) return true;
  return test(number);
}

void ReceivedPackets::on_received(std::uint64_t number, bool ack_eliciting,
                                  Duration smoothed_round_trip, TimePoint now) {
  const bool first = packets_ == 0;
  const bool in_order = first ? number == 0 : number == largest_ + 1;
  if (!first && number > largest_ && !in_order) {
    ++gaps_since_ack_;
    clear(largest_ + 1, number);  // what the window now covers anew was not received
  }
  mark(number);
  if (first || number > largest_) {
    largest_ = number;
    largest_time_ = now;
  } else {
    ++gaps_since_ack_;
    lowest_unreported_ = std::min(lowest_unreported_, number);
    remember_late(number);
  }
  ++packets_;
  ranges_.add(number);
  news_ = true;
  if (!ack_eliciting) return;

  ++eliciting_since_ack_;
  const bool at_once = always_at_once_ || packets_ <= kPacketsAtOnce ||
                       gaps_since_ack_ >= kGapsPerAck || eliciting_since_ack_ >= kPacketsPerAck;
  if (at_once) {
    deadline_ = now;
  } else if (!deadline_) {
    deadline_ = now + ack_delay_for(smoothed_round_trip);
  }
}

void ReceivedPackets::remember_late(std::uint64_t number) {
  if (late_.size() < kLateKept) {
    late_.push_back(number);
  } else {
    late_[next_late_] = number;
  }
  next_late_ = (next_late_ + 1) % kLateKept;
}

std::span<const NumberRange> ReceivedPackets::ack_ranges(std::size_t limit) {
  const auto all = ranges_.ranges();
  newest_first_.clear();
  if (all.size() > limit) add_late_ranges(all[all.size() - limit / 2].first, limit / 2);
  const auto newest = all.last(std::min(limit - newest_first_.size(), all.size()));
  std::erase_if(newest_first_,
                [&](const NumberRange& late) { return late.first >= newest.front().first; });
  newest_first_.insert(newest_first_.begin(), newest.rbegin(), newest.rend());
  return newest_first_;
}

// An ACK need not name all that is here: what it leaves out counts as not known, and not as lost.
void ReceivedPackets::add_late_ranges(std::uint64_t below, std::size_t most) {
  for (std::size_t back = 1; back <= late_.size() && newest_first_.size() < most; ++back) {
    const std::uint64_t number = late_[(next_late_ + kLateKept - back) % kLateKept];
    const NumberRange* range = number < below ? ranges_.find(number) : nullptr;
    if (range != nullptr) newest_first_.push_back(*range);
  }
  std::ranges::sort(newest_first_, std::greater<>());
  newest_first_.erase(std::unique(newest_first_.begin(), newest_first_.end()),
                      newest_first_.end());
}

Duration ReceivedPackets::ack_delay(TimePoint now) const {
  return now - largest_time_;
}

void ReceivedPackets::on_ack_sent() {
  deadline_.reset();
  news_ = false;
  eliciting_since_ack_ = 0;
  gaps_since_ack_ = 0;
  lowest_unreported_ = kNone;
}

bool ReceivedPackets::wants_ping(Duration smoothed_round_trip, TimePoint now) const {
  if (ranges_.ranges().size() < 2) return false;
  return !last_ping_ || now - *last_ping_ >= smoothed_round_trip;
}

void ReceivedPackets::on_ack_acknowledged(std::uint64_t largest) {
  // The newest range stays, so that there is always something to acknowledge.
  ranges_.remove_below(std::min({largest, lowest_unreported_, largest_}));
}

}  // namespace rushfs::transport

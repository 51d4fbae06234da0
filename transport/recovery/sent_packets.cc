#include "transport/recovery/sent_packets.h"

#include <algorithm>
#include <cassert>
#include <limits>

namespace rushfs::transport {

namespace {

constexpr std::size_t kInitialPackets = 256;  // powers of two
constexpr std::size_t kInitialFrames = 512;
// Skipped numbers that are watched: enough to catch a peer that acknowledges blindly.
constexpr std::size_t kWatchedSkips = 8;

}  // namespace

SentPackets::SentPackets()
    : ring_(kInitialPackets),
      mask_(kInitialPackets - 1),
      frames_(kInitialFrames),
      frame_mask_(kInitialFrames - 1),
      acknowledged_(std::numeric_limits<std::size_t>::max()) {}

void SentPackets::grow() {
  std::vector<SentPacket> larger(ring_.size() * 2);
  const std::uint64_t mask = larger.size() - 1;
  for (std::uint64_t n = begin_; n < end_; ++n) larger[n & mask] = ring_[n & mask_];
  ring_ = std::move(larger);
  mask_ = mask;
}

void SentPackets::append(const SentFrame& frame) {
  if (frame_end_ - frame_begin_ == frames_.size()) {
    std::vector<SentFrame> larger(frames_.size() * 2);
    const std::uint64_t mask = larger.size() - 1;
    for (std::uint64_t i = frame_begin_; i < frame_end_; ++i) {
      larger[i & mask] = frames_[i & frame_mask_];
    }
    frames_ = std::move(larger);
    frame_mask_ = mask;
  }
  frames_[frame_end_++ & frame_mask_] = frame;
}

void SentPackets::skip_number() {
  if (end_ - begin_ == ring_.size()) grow();
  SentPacket& packet = ring_[end_ & mask_];
  packet = {};
  packet.first_frame = frame_end_;
  packet.state = SentPacket::State::resolved;
  skipped_.push_back(end_++);
  if (skipped_.size() > kWatchedSkips) skipped_.pop_front();
}

SentPacket& SentPackets::add(std::span<const SentFrame> frames, std::uint16_t wire_size,
                             bool ack_eliciting, TimePoint now) {
  if (end_ - begin_ == ring_.size()) grow();
  SentPacket& packet = ring_[end_++ & mask_];
  packet = {};
  packet.sent = now;
  packet.first_frame = frame_end_;
  packet.frame_count = static_cast<std::uint16_t>(frames.size());
  packet.wire_size = wire_size;
  packet.ack_eliciting = ack_eliciting;
  for (const SentFrame& frame : frames) {
    append(frame);
    if (frame.kind == SentFrame::Kind::path_mtu_probe) packet.path_mtu_probe = true;
  }
  if (ack_eliciting) {
    bytes_in_flight_ += wire_size;
    ++ack_eliciting_in_flight_;
  } else {
    // The peer need not acknowledge it, so nothing may wait for that.
    packet.state = SentPacket::State::resolved;
    if (begin_ + 1 == end_) retire(TimePoint::min());
  }
  return packet;
}

void SentPackets::resolve(SentPacket& packet) {
  assert(packet.state == SentPacket::State::outstanding);
  packet.state = SentPacket::State::resolved;
  if (packet.ack_eliciting) {
    bytes_in_flight_ -= packet.wire_size;
    --ack_eliciting_in_flight_;
  }
}

bool SentPackets::plausible(std::span<const NumberRange> ranges) const {
  std::uint64_t limit = end_;
  for (const NumberRange& range : ranges) {
    if (range.last >= limit || range.first > range.last) return false;
    limit = range.first;
    for (const std::uint64_t skipped : skipped_) {
      if (skipped >= range.first && skipped <= range.last) return false;
    }
  }
  return true;
}

bool SentPackets::acknowledge(std::span<const NumberRange> ranges,
                              std::vector<std::uint64_t>& newly, std::vector<std::uint64_t>& late) {
  newly.clear();
  late.clear();
  if (!plausible(ranges)) return false;
  // ACK frames repeat themselves: only ranges that the one before did not have are looked at.
  fresh_.clear();
  auto before = previous_.begin();
  for (const NumberRange& range : ranges) {
    while (before != previous_.end() && before->first > range.first) ++before;
    if (before == previous_.end() || *before != range) fresh_.push_back(range);
  }
  previous_.assign(ranges.begin(), ranges.end());
  for (auto range = fresh_.rbegin(); range != fresh_.rend(); ++range) {  // oldest first
    acknowledge_late(*range, late);
    if (range->last < begin_) continue;
    acknowledge_new(std::max(range->first, begin_), range->last, newly);
  }
  return true;
}

void SentPackets::acknowledge_late(const NumberRange& range, std::vector<std::uint64_t>& late) {
  auto lost = std::lower_bound(
      lost_.begin(), lost_.end(), range.first,
      [](const LostPacket& packet, std::uint64_t number) { return packet.number < number; });
  for (; lost != lost_.end() && lost->number <= range.last; ++lost) {
    if (lost->arrived) continue;
    lost->arrived = true;
    late.push_back(lost->number);
  }
}

void SentPackets::acknowledge_new(std::uint64_t first, std::uint64_t last,
                                  std::vector<std::uint64_t>& newly) {
  // Only the gaps between what was acknowledged before are looked at.
  const auto known = acknowledged_.ranges();
  auto next = std::lower_bound(
      known.begin(), known.end(), first,
      [](const NumberRange& range, std::uint64_t number) { return range.last < number; });
  for (std::uint64_t number = first; number <= last;) {
    if (next != known.end() && next->first <= number) {
      number = next->last + 1;
      ++next;
      continue;
    }
    SentPacket& packet = ring_[number & mask_];
    if (packet.state == SentPacket::State::outstanding) {
      resolve(packet);
      newly.push_back(number);
    }
    ++number;
  }
  acknowledged_.add(first, last);
}

void SentPackets::mark_lost(std::uint64_t number, TimePoint now) {
  SentPacket& packet = ring_[number & mask_];
  resolve(packet);
  LostPacket lost{.number = number,
                  .sent = packet.sent,
                  .declared = now,
                  .epoch = packet.epoch,
                  .wire_size = packet.wire_size,
                  .ack_eliciting = packet.ack_eliciting,
                  .path_mtu_probe = packet.path_mtu_probe,
                  .arrived = false,
                  .frames = {}};
  for_each_frame(packet, [&](const SentFrame& frame) { lost.frames.push_back(frame); });
  assert(lost_.empty() || lost_.back().number < number);
  lost_.push_back(std::move(lost));
}

void SentPackets::abandon_all() {
  for (std::uint64_t n = begin_; n < end_; ++n) {
    SentPacket& packet = ring_[n & mask_];
    if (packet.state == SentPacket::State::outstanding) resolve(packet);
  }
  lost_.clear();
  previous_.clear();
  retire(TimePoint::min());
}

void SentPackets::retire(TimePoint lost_before) {
  while (begin_ < end_ && at(begin_).state != SentPacket::State::outstanding) {
    frame_begin_ += at(begin_).frame_count;
    ++begin_;
  }
  acknowledged_.remove_below(begin_);
  while (!lost_.empty() && lost_.front().declared < lost_before) lost_.pop_front();
}

const SentPackets::LostPacket* SentPackets::find_lost(std::uint64_t number) const {
  const auto lost = std::lower_bound(
      lost_.begin(), lost_.end(), number,
      [](const LostPacket& packet, std::uint64_t wanted) { return packet.number < wanted; });
  return lost != lost_.end() && lost->number == number ? &*lost : nullptr;
}

}  // namespace rushfs::transport

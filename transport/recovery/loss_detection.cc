#include "transport/recovery/loss_detection.h"

#include <algorithm>

#include "transport/recovery/received_packets.h"

namespace rushfs::transport {

namespace {

constexpr Duration kGranularity = std::chrono::milliseconds(1);  // RFC 9002, section 6.1.2
// Reordering is remembered for this long, or 16 round trips (RFC 8985, section 6.2, step 4).
constexpr Duration kReorderingMemory = std::chrono::seconds(10);
// A peer that reorders by more than this, or a round trip, is not waited for.
constexpr Duration kMaxReordering = std::chrono::milliseconds(100);
// So many probes are sent at each interval, the first twice a timeout: where one is lost, or its
// answer, the next makes up for it (as the second of RFC 9002, section 6.2.4), and as they are not
// lost together and each is answered on its own, bursts of loss end sooner.
constexpr int kProbesPerInterval = 16;
// Back-off is meaningless beyond: kMaxProbeInterval rules.
constexpr int kMaxBackoff = 10;
// After so many probes without an answer a path counts as silent.
constexpr int kSilentAfter = 3;

LossOutcome::Packet describe(std::uint64_t number, const SentPacket& packet) {
  return {.number = number,
          .sent = packet.sent,
          .snapshot = packet.snapshot,
          .epoch = packet.epoch,
          .wire_size = packet.wire_size,
          .ack_eliciting = packet.ack_eliciting,
          .path_mtu_probe = packet.path_mtu_probe};
}

}  // namespace

void LossOutcome::clear() {
  acknowledged.clear();
  lost.clear();
  acknowledged_packets.clear();
  lost_packets.clear();
  late_packets.clear();
  round_trip.reset();
  after_silence = false;
}

LossDetection::LossDetection(bool peer_ack_delay_applies)
    : peer_ack_delay_applies_(peer_ack_delay_applies) {}

SentPacket& LossDetection::on_sent(Bytes wire_size, bool ack_eliciting,
                                   std::span<const SentFrame> frames, TimePoint now) {
  if (ack_eliciting) {
    last_eliciting_sent_ = now;
    if (probes_owed_ > 0) --probes_owed_;
  }
  return packets_.add(frames, static_cast<std::uint16_t>(wire_size.count), ack_eliciting, now);
}

bool LossDetection::on_ack(std::span<const NumberRange> ranges, Duration ack_delay,
                           RoundTrip& round_trip, TimePoint now, LossOutcome& outcome) {
  outcome.clear();
  if (ranges.empty() || !packets_.acknowledge(ranges, newly_, late_)) return false;
  collect_late(outcome);
  const TimePoint newest_before = newest_acknowledged_sent_;
  if (!newly_.empty()) {
    if (newly_.back() == ranges.front().last) {
      const Duration sample = now - packets_.at(newly_.back()).sent;
      outcome.round_trip = sample;
      round_trip.update(sample, ack_delay, now);
    }
    if (newest_acknowledged_) {
      note_reordering(packets_.at(newly_.front()).sent, newest_before, round_trip, now);
    }
    if (!newest_acknowledged_ || newly_.back() > *newest_acknowledged_) {
      newest_acknowledged_ = newly_.back();
      newest_acknowledged_sent_ = packets_.at(newly_.back()).sent;
    }
    collect_acknowledged(outcome);
    outcome.after_silence = probe_count_ >= kSilentAfter;
    probe_count_ = 0;
    probes_owed_ = 0;
  }
  for (const LossOutcome::Packet& late : outcome.late_packets) {
    note_reordering(late.sent, newest_before, round_trip, now);
  }
  detect(round_trip, now, outcome);
  packets_.retire(now - std::max<Duration>(2 * round_trip.smoothed(), kMaxReordering));
  return true;
}

void LossDetection::collect_acknowledged(LossOutcome& outcome) {
  for (const std::uint64_t number : newly_) {
    const SentPacket& packet = packets_.at(number);
    outcome.acknowledged_packets.push_back(describe(number, packet));
    packets_.for_each_frame(packet,
                            [&](const SentFrame& frame) { outcome.acknowledged.push_back(frame); });
  }
}

void LossDetection::collect_late(LossOutcome& outcome) {
  for (const std::uint64_t number : late_) {
    const SentPackets::LostPacket* packet = packets_.find_lost(number);
    outcome.late_packets.push_back({.number = number,
                                    .sent = packet->sent,
                                    .snapshot = {},
                                    .epoch = packet->epoch,
                                    .wire_size = packet->wire_size,
                                    .ack_eliciting = packet->ack_eliciting,
                                    .path_mtu_probe = packet->path_mtu_probe});
    outcome.acknowledged.insert(outcome.acknowledged.end(), packet->frames.begin(),
                                packet->frames.end());
  }
}

void LossDetection::note_reordering(TimePoint sent, TimePoint newest_before,
                                    const RoundTrip& round_trip, TimePoint now) {
  if (now - reordering_since_ >= std::max(kReorderingMemory, 16 * round_trip.smoothed())) {
    reordering_ = {reordering_[1], Duration::zero()};
    reordering_since_ = now;
  }
  if (newest_before > sent) reordering_[1] = std::max(reordering_[1], newest_before - sent);
}

Duration LossDetection::reordering_window(const RoundTrip& round_trip) const {
  const Duration seen = std::max(reordering_[0], reordering_[1]);
  const Duration window = std::max(round_trip.smoothed() / 8, seen + seen / 4);
  return std::clamp(window, kGranularity, std::max(round_trip.smoothed(), kMaxReordering));
}

void LossDetection::detect(const RoundTrip& round_trip, TimePoint now, LossOutcome& outcome) {
  loss_time_.reset();
  if (!newest_acknowledged_) return;
  const Duration window = reordering_window(round_trip);
  // What was acknowledged last may have found a shorter queue, and its ACK waited less.
  Duration patience = std::max(round_trip.latest(), round_trip.smoothed()) + window;
  if (peer_ack_delay_applies_) patience += ack_delay_for(round_trip.smoothed());
  for (std::uint64_t n = packets_.begin_number(); n < *newest_acknowledged_; ++n) {
    if (!packets_.outstanding(n)) continue;
    const SentPacket& packet = packets_.at(n);
    if (packet.sent + window > newest_acknowledged_sent_ && packet.sent + patience > now) {
      loss_time_ = packet.sent + patience;
      return;  // later ones are even younger
    }
    outcome.lost_packets.push_back(describe(n, packet));
    packets_.for_each_frame(packet, [&](const SentFrame& frame) { outcome.lost.push_back(frame); });
    packets_.mark_lost(n, now);
  }
}

Duration LossDetection::probe_interval(const RoundTrip& round_trip) const {
  Duration base = round_trip.probe_timeout();
  if (peer_ack_delay_applies_) base += ack_delay_for(round_trip.smoothed()) + kGranularity;
  if (probe_count_ == 0) return base;
  const int backoff = std::min((probe_count_ - 1) / kProbesPerInterval, kMaxBackoff);
  return std::min(base / 2 * (1 << backoff), std::max(base, kMaxProbeInterval));
}

std::optional<TimePoint> LossDetection::deadline(const RoundTrip& round_trip) const {
  if (loss_time_) return loss_time_;
  if (packets_.ack_eliciting_in_flight() == 0) return std::nullopt;
  return last_eliciting_sent_ + probe_interval(round_trip);
}

void LossDetection::on_timer(const RoundTrip& round_trip, TimePoint now, LossOutcome& outcome) {
  outcome.clear();
  const std::optional<TimePoint> due = deadline(round_trip);
  if (!due || *due > now) return;
  if (loss_time_) {
    detect(round_trip, now, outcome);
    return;
  }
  ++probe_count_;
  probes_owed_ = 1;
  last_eliciting_sent_ = now;  // the next timeout counts from here even if no probe could leave
}

std::span<const SentFrame> LossDetection::frames_to_probe() const {
  probe_frames_.clear();
  for (std::uint64_t n = packets_.begin_number(); n < packets_.next_number(); ++n) {
    if (!packets_.outstanding(n)) continue;
    packets_.for_each_frame(packets_.at(n), [&](const SentFrame& frame) {
      if (frame.kind != SentFrame::Kind::ack && frame.kind != SentFrame::Kind::ping &&
          frame.kind != SentFrame::Kind::path_mtu_probe) {
        probe_frames_.push_back(frame);
      }
    });
    if (!probe_frames_.empty()) break;
  }
  return probe_frames_;
}

void LossDetection::discard_all() {
  packets_.abandon_all();
  loss_time_.reset();
  probe_count_ = 0;
  probes_owed_ = 0;
}

}  // namespace rushfs::transport

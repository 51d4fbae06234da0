#include "transport/recovery/recovery.h"

#include <algorithm>

namespace rushfs::transport {

namespace {
// After so many probe timeouts without an answer large datagrams are suspected to be the reason.
constexpr int kShrinkAfter = 3;
// Jumbo datagrams are for bulk: a probe waits until this many times its size is in flight, and
// until startup has measured the path without it.
constexpr std::uint64_t kJumboShare = 2;
// Startup does not end where the path is never filled; after so many packets nothing waits for it.
constexpr std::uint64_t kStartupPackets = 5000;
// Urgent messages are repeated where one in 500 packets is lost, or more.
constexpr double kLossWorthRepeating = 0.002;
constexpr double kLately = 4000;  // packets
// A host may wake up late beyond the delay that ACKs are to have.
constexpr Duration kMostAckDelayBelieved = 2 * kMaxAckDelay;
constexpr Duration kMinRepeatSpacing = std::chrono::milliseconds(5);
}  // namespace

Recovery::Recovery(const Config& config)
    : config_(config),
      control_(config.limits, config.remembered, config.seed),
      mtu_(config.largest_datagram) {
  apply_rates();
}

void Recovery::apply_rates() {
  const Bytes size = mtu_.datagram_size();
  control_.set_datagram_size(size);
  pacer_.set_rate(control_.pacing_rate(), size);
  pacer_.set_round_trip(control_.minimum_round_trip());
  delivery_.set_span(control_.sample_bytes(), control_.sample_span());
}

Bytes Recovery::datagram_size() const {
  return loss_.probe_count() >= kShrinkAfter ? kBaseDatagram : mtu_.datagram_size();
}

bool Recovery::may_send(bool urgent, TimePoint now) const {
  if (loss_.probes_owed() > 0) return true;
  const std::uint64_t size = mtu_.datagram_size().count;
  const std::uint64_t reserve = urgent ? Pacer::kUrgentBurst * size : 0;
  return loss_.packets().bytes_in_flight() + size <= control_.window() + reserve &&
         pacer_.may_send(urgent, now);
}

std::optional<Bytes> Recovery::path_mtu_probe(TimePoint now) const {
  if (loss_.probe_count() > 0) return std::nullopt;
  const auto size = mtu_.probe(now);
  const bool jumbo = size && *size > kEthernetDatagram;
  const bool measuring =
      control_.phase() == RatePhase::startup && packets_sent_ < kStartupPackets;
  const bool bulk = size && loss_.packets().bytes_in_flight() >= size->count * kJumboShare;
  if (jumbo && (measuring || !bulk)) return std::nullopt;
  return size;
}

void Recovery::on_sent(Bytes wire_size, bool ack_eliciting, std::span<const SentFrame> frames,
                       TimePoint now) {
  ++packets_sent_;
  bytes_sent_ += wire_size.count;
  const std::uint64_t number = loss_.packets().next_number();
  const std::uint64_t before = loss_.packets().bytes_in_flight();
  SentPacket& packet = loss_.on_sent(wire_size, ack_eliciting, frames, now);
  if (!ack_eliciting) return;
  limit_.reset();
  packet.epoch = control_.on_sent(number, packet.wire_size, !packet.path_mtu_probe, before, now);
  contrast_.on_sent(packet.epoch, control_.phase());
  delivery_.on_sent(packet.snapshot, before, packet.wire_size, now);
  pacer_.on_sent(wire_size, now);
  if (packet.path_mtu_probe) mtu_.on_probe_sent();
}

void Recovery::on_nothing_to_send(bool by_credit) {
  if (loss_.packets().bytes_in_flight() + mtu_.datagram_size().count > control_.window()) return;
  limit_ = by_credit ? SendLimit::receiver_credit : SendLimit::application;
  delivery_.on_application_limited(loss_.packets().bytes_in_flight());
  control_.on_application_limited();
}

bool Recovery::on_ack(std::span<const NumberRange> ranges, Duration ack_delay, TimePoint now,
                      LossOutcome& outcome) {
  if (!loss_.on_ack(ranges, ack_delay, round_trip_, now, outcome)) return false;
  account(outcome, ack_delay, now);
  return true;
}

void Recovery::on_timer(TimePoint now, LossOutcome& outcome) {
  loss_.on_timer(round_trip_, now, outcome);
  account(outcome, Duration::zero(), now);
}

void Recovery::account(const LossOutcome& outcome, Duration ack_delay, TimePoint now) {
  for (const LossOutcome::Packet& packet : outcome.acknowledged_packets) {
    bytes_acknowledged_ += packet.wire_size;
    if (packet.path_mtu_probe)
      mtu_.on_probe_acknowledged({packet.wire_size}, now);
    else
      mtu_.on_acknowledged({packet.wire_size});
  }
  for (const LossOutcome::Packet& packet : outcome.lost_packets) {
    if (packet.path_mtu_probe) {
      mtu_.on_probe_lost({packet.wire_size}, now);
      continue;
    }
    ++packets_lost_;
    ++lately_lost_;
    bytes_lost_ += packet.wire_size;
    mtu_.on_lost({packet.wire_size}, now);
  }
  for (const LossOutcome::Packet& packet : outcome.late_packets) {
    ++packets_spurious_;
    bytes_acknowledged_ += packet.wire_size;
    if (packet.path_mtu_probe) mtu_.on_probe_acknowledged({packet.wire_size}, now);
  }
  contrast_.on_outcome(outcome);
  lately_resolved_ += static_cast<double>(outcome.acknowledged_packets.size() +
                                          outcome.lost_packets.size());
  if (lately_resolved_ > kLately) {
    lately_resolved_ /= 2;
    lately_lost_ /= 2;
  }
  std::optional<Duration> round_trip;
  if (outcome.round_trip) {
    // Who claims to have waited for longer than it may would hide a queue.
    const Duration waited = std::min(ack_delay, kMostAckDelayBelieved);
    round_trip = std::max(*outcome.round_trip - waited, Duration{1});
  }
  const RateSample sample = delivery_.on_ack(outcome.acknowledged_packets, outcome.late_packets,
                                             control_.minimum_round_trip(), now);
  control_.on_outcome(outcome, sample, round_trip, loss_.packets().bytes_in_flight(),
                      loss_.packets().next_number(), now);
  apply_rates();
}

std::optional<Duration> Recovery::repeat_spacing() const {
  if (lately_lost_ < kLossWorthRepeating * lately_resolved_ || lately_lost_ < 1) {
    return std::nullopt;
  }
  return std::max(round_trip_.smoothed() / 16, kMinRepeatSpacing);
}

std::optional<TimePoint> Recovery::deadline(bool has_data) const {
  std::optional<TimePoint> due = loss_.deadline(round_trip_);
  const bool window_open =
      loss_.packets().bytes_in_flight() + mtu_.datagram_size().count <= control_.window();
  if (has_data && window_open) {
    const TimePoint next = pacer_.next_send();
    due = due ? std::min(*due, next) : next;
  }
  return due;
}

void Recovery::on_datagram_too_large(Bytes size, TimePoint now) {
  mtu_.on_too_large(size, now);
  apply_rates();
}

void Recovery::on_path_changed(TimePoint now) {
  round_trip_.reset();
  mtu_.reset();
  contrast_.reset();
  control_.on_path_changed(now);
  apply_rates();
}

void Recovery::on_round_trip_sample(Duration sample, Duration ack_delay, TimePoint now) {
  round_trip_.update(sample, ack_delay, now);
  control_.on_first_round_trip(std::max(sample - ack_delay, Duration{1}), now);
  apply_rates();
}

void Recovery::set_limits(const RateLimits& limits) {
  control_.set_limits(limits);
  apply_rates();
}

PathReport Recovery::report() const {
  PathReport report;
  report.smoothed_round_trip = round_trip_.smoothed();
  report.minimum_round_trip = round_trip_.minimum();
  report.latest_round_trip = round_trip_.latest();
  report.round_trip_variation = round_trip_.variation();
  report.standing_queue = control_.queue().standing();
  report.bandwidth = control_.bandwidth();
  report.pacing_rate = control_.pacing_rate();
  report.loss_ratio = control_.loss().recent();
  report.loss_floor = control_.loss().value();
  report.loses_probes = contrast_.shows();
  report.bytes_in_flight = {loss_.packets().bytes_in_flight()};
  report.congestion_window = {control_.window()};
  report.datagram_size = datagram_size();
  report.packets_sent = packets_sent_;
  report.packets_lost = packets_lost_;
  report.packets_spurious = packets_spurious_;
  report.bytes_sent = {bytes_sent_};
  report.bytes_acknowledged = {bytes_acknowledged_};
  report.bytes_lost = {bytes_lost_};
  report.limit = limit_.value_or(control_.limit());
  return report;
}

}  // namespace rushfs::transport

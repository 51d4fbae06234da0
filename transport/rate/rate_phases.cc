// The phases of RateControl: what each epoch's outcome means, and when one phase follows another.
#include <algorithm>

#include "transport/rate/rate_control.h"

namespace rushfs::transport {

namespace {

constexpr int kFullPipeRounds = 3;      // without growth by a quarter
constexpr double kStartupExcess = 0.1;  // loss above the least of startup
constexpr double kMinCut = 0.5;         // per lossy epoch
constexpr double kDelayCut = 0.3;       // strength of backing off from a queue
constexpr double kLowDelayCut = 0.5;    // the same, for policy low
constexpr double kRecover = 0.75;       // of what was cut, once the queue is gone
constexpr double kMinDelayFactor = 0.85;
constexpr Duration kCutReference = std::chrono::milliseconds(100);
constexpr double kLeastDistance = 0.4;  // of that
constexpr double kMostDistance = 1.5;
constexpr double kFoundMore = 1.1;       // in one probe: the next one follows soon
constexpr double kFoundMuchMore = 1.25;  // more than can be taken from others: no queue matters
constexpr double kMostGain = 1.25;       // by one probe that met a queue
constexpr Duration kLongCruise = std::chrono::seconds(10);  // probes whatever the queue
constexpr int kShortCruiseRounds = 4;
// Where that is short, the hosts may have been what startup found, touching memory for the first
// time: the first cruises take so many round trips, each twice as long as the one before.
constexpr int kFirstCruiseRounds = 100;
// Times as long: what it found more may have been a policer's bucket, and costs the same each time.
constexpr double kAfterLossyProbe = 1.5;
constexpr std::uint32_t kProbePackets = 40;
constexpr double kLimitGrowth = 1.25;  // of what may be in flight, by a probe that lost no more
constexpr int kBadEpochs = 2;          // one may be a burst
constexpr double kYieldedMuch = 0.5;   // to a queue that stays: a dip should say whose it is
constexpr double kForgiven = 1.02;     // of the yielding, by an epoch without a queue
constexpr Duration kDipInterval = std::chrono::seconds(5);  // where the queue is not seen gone
constexpr int kDipIntervalRounds = 25;
constexpr int kSooner = 5;  // times as often where something is to be told apart
// Beside others, some of whom hold for ten round trips, twice as long with their queue, the most
// they got, they must be seldom: or they would always hold what they got beside a dip.
constexpr Duration kDipIntervalBesideOthers = std::chrono::seconds(1);
constexpr int kDipRoundsBesideOthers = 40;
constexpr double kLossDips = 1.25;  // intervals: dips that show the base come first
constexpr Duration kFirstDip = std::chrono::milliseconds(50);  // after startup
constexpr int kFirstDipRounds = 5;
constexpr double kLossWorthADip = 0.005;
constexpr double kMuchLoss = 0.05;
constexpr double kDipPackets = 400;
constexpr double kDipPacketsBesideOthers = 150;  // who take what we do not send
constexpr Duration kDipPacketsTime = std::chrono::milliseconds(250);  // to send them in, at most
constexpr Duration kMinDip = std::chrono::milliseconds(20);
constexpr Duration kMaxDip = std::chrono::seconds(2);
constexpr int kMaxDrainRounds = 4;
constexpr std::uint32_t kEarlyPackets = 50;

}  // namespace

void RateControl::enter(RatePhase phase, TimePoint now) {
  phase_ = phase;
  phase_start_ = now;
  phase_rounds_ = -1;  // the round under way began before
  growth_.on_phase();
  const bool limited = epochs_.current().application_limited;
  epochs_.open(phase, now);
  switch (phase) {
    case RatePhase::cruise:
      cruise_ = cruise_duration();
      break;
    case RatePhase::refill:
      before_cut_ = 0;
      cut_for_loss_ = false;
      break;
    case RatePhase::up:
      probe_.before = bandwidth_.value();
      bandwidth_.lift();
      probe_.most_before = bandwidth_.maximum();
      probe_.sent = probe_.lost = false;
      growth_.begin(probe_.most_before);
      break;
    case RatePhase::down:
      note_probe();
      if (!limited) bandwidth_.advance();  // a probe that was not filled has found nothing out
      break;
    case RatePhase::dip:
      last_dip_ = now;
      dipped_ = true;
      if (now - queue_.lowest_seen() >= dip_interval()) queue_.forget_lowest();
      break;
    default:
      break;
  }
}

void RateControl::note_probe() {
  ++probe_.count;
  const double found = bandwidth_.maximum() / probe_.most_before;
  const bool queued = queue_.recent_queue() > allowed_queue();
  probe_.found_more = found > kFoundMuchMore || (found > kFoundMore && !queued);
  // What was delivered beside a queue others may have lost: they see it sooner than we, if nearer.
  const double most = kMostGain * probe_.before;
  if (queued && found <= kFoundMuchMore && most < bandwidth_.value()) bandwidth_.bound(most);
}

Duration RateControl::cruise_duration() {
  if (probe_.found_more && !probe_.lost) return kShortCruiseRounds * queue_.base();
  // xorshift64*: connections that share a bottleneck should not probe in step.
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  const double fraction = static_cast<double>((random_ * 0x2545F4914F6CDD1DULL) >> 40) / (1 << 24);
  const Duration usual = from_seconds((2 + fraction) * (probe_.lost ? kAfterLossyProbe : 1));
  const Duration first = kFirstCruiseRounds * std::max(queue_.base(), kLeastRound);
  return std::min(usual, first * (1 << std::min(probe_.count, 10)));
}

bool RateControl::startup_full(TimePoint now) {
  if (startup_.plateau() || growth_.rounds_without() >= kFullPipeRounds) return true;
  startup_.note(now, queue_.base() / 4);
  // A queue while ever more is delivered is no queue but jitter, and one that was there without us
  // filling the path is not ours.
  return round_filled_ && !startup_.grows() &&
         queue_.recent_queue() > std::max(2 * allowed_queue(), queue_.base() / 4) + queue_.jitter();
}

void RateControl::leave_startup(TimePoint now) {
  startup_.end();
  carried_ = {};
  dipped_ = false;
  probe_.count = 0;
  last_dip_ = now;  // startup has looked at loss and base
  enter(RatePhase::drain, now);
}

void RateControl::judge(const Epoch& epoch, TimePoint now) {
  if (epoch.ignored || epoch.resolved() == 0) return;
  competition_.on_epoch(epoch, datagram_, loss_.value());
  switch (epoch.phase) {
    case RatePhase::startup:
      judge_startup(epoch);
      break;
    case RatePhase::up:
      judge_up(epoch, now);
      break;
    case RatePhase::down:
    case RatePhase::cruise:
    case RatePhase::refill:
      judge_cruise(epoch, now);
      break;
    case RatePhase::dip:
      judge_dip(epoch, now);
      break;
    case RatePhase::drain:
      break;
  }
}

void RateControl::judge_startup(const Epoch& epoch) {
  const double uncertainty = loss_.uncertainty(loss_.value(), epoch.resolved());
  startup_.on_epoch(loss_.startup_seen() &&
                    epoch.loss() > loss_.value() + kStartupExcess + uncertainty);
  loss_.on_startup(epoch);
  if (const auto trips = startup_.take_round_trips()) queue_.on_epoch(*trips);
}

// Does not wait for all packets of a probe when it is clear that it does harm.
void RateControl::judge_early(TimePoint now) {
  if (phase_ != RatePhase::up) return;
  const Epoch& epoch = epochs_.current();
  if (epoch.resolved() >= kEarlyPackets && loss_.excessive(epoch)) judge_up(epoch, now);
}

void RateControl::judge_up(const Epoch& epoch, TimePoint now) {
  if (!loss_.excessive(epoch)) {
    if (epoch.resolved() >= kProbePackets) inflight_limit_ *= kLimitGrowth;
    return;
  }
  inflight_limit_ = std::max(window_ / gain(), path_volume());
  if (phase_ == RatePhase::up) enter(RatePhase::down, now);
  probe_.lost = true;
  if (phase_ == RatePhase::cruise) cruise_ = cruise_duration();
}

void RateControl::judge_cruise(const Epoch& epoch, TimePoint now) {
  if (epoch.application_limited) return;
  const bool excess = loss_.excessive(epoch);
  if (epoch.phase != RatePhase::refill) loss_.on_cruise(epoch);
  if (epoch.phase == RatePhase::cruise) queue_.on_epoch(epoch);
  bad_epochs_ = excess ? bad_epochs_ + 1 : 0;
  if (phase_ != RatePhase::cruise && phase_ != RatePhase::down) return;
  if (epoch.phase == RatePhase::cruise && watch_others(epoch, excess, now)) return;
  if (epoch.started < last_cut_) return;  // was sent before the last cut
  if (bad_epochs_ >= kBadEpochs) {
    // What got through while the others were lost is what there is room for, down to half.
    const double through = bandwidth_.value() * (1 - epoch.loss()) / loss_.yield();
    bandwidth_.bound(std::max(through, kMinCut * bandwidth_.value()));
    last_cut_ = now;
    cut_for_loss_ = true;
    suspicious_ = true;
  } else if (epoch.phase == RatePhase::cruise) {
    back_off_for_queue(epoch);
    if (bandwidth_.bounded() && last_cut_ == TimePoint{}) last_cut_ = now;
  }
}

Duration RateControl::allowed_queue() const {
  return queue_.allowance(bandwidth_.value(), limits_.policy) + queue_.jitter();
}

// True while others are the measure of what we send.
bool RateControl::watch_others(const Epoch& epoch, bool excess, TimePoint now) {
  if (limits_.policy == RatePolicy::low) return false;
  const bool before = competition_.on();
  competition_.on_cruise({.queue = queue_.standing(epoch),
                          .allowed = allowed_queue(),
                          .base = queue_.base(),
                          .rate = bandwidth_.value(),
                          .lost = epoch.loss() - loss_.value(),
                          .excessive = excess},
                         now);
  if (before && !competition_.on()) {
    bandwidth_.restart(lately_);
    enter(RatePhase::refill, now);
  }
  return before || competition_.on();
}

void RateControl::back_off_for_queue(const Epoch& epoch) {
  const Duration allowed = allowed_queue();
  const Duration queue = queue_.standing(epoch);
  if (queue <= allowed) {
    yielded_ = std::min(1.0, yielded_ * kForgiven);
    // The queue is gone: back to nearly what the path delivered while there was one.
    if (before_cut_ > 0 && 2 * queue < allowed && limits_.policy != RatePolicy::low) {
      bandwidth_.bound(bandwidth_.value() +
                       kRecover * std::max(before_cut_ - bandwidth_.value(), 0.0));
      before_cut_ = 0;
      last_cut_ = epoch.ended;
    }
    return;
  }
  if (before_cut_ == 0) before_cut_ = std::min(lately_, bandwidth_.value());
  const double distance =
      std::clamp(seconds(queue_.base()) / seconds(kCutReference), kLeastDistance, kMostDistance);
  const double excess = seconds(queue - allowed) / seconds(queue);
  const double factor = limits_.policy == RatePolicy::low
                            ? 1 - kLowDelayCut * excess
                            : std::max(kMinDelayFactor, 1 - kDelayCut * distance * excess);
  bandwidth_.bound(bandwidth_.value() * factor);
  yielded_ *= factor;
  if (yielded_ < kYieldedMuch) suspicious_ = true;
  last_cut_ = epoch.ended;
}

void RateControl::judge_dip(const Epoch& epoch, TimePoint now) {
  const Duration allowed = queue_.allowance(bandwidth_.value(), limits_.policy) + queue_.jitter();
  const bool queued = !queue_.emptied(epoch, allowed);
  const bool lossy = loss_.excessive(epoch);
  const bool gone = queue_.gone(epoch);
  const bool yielded = yielded_ < kYieldedMuch && queue_.standing() > allowed;
  if (gone || competing() || yielded) {
    competition_.on_dip(queue_.standing(), queue_.standing(epoch), gone);
  }
  const bool longer = queue_.on_dip(epoch, lossy, now);
  if (gone || longer) yielded_ = 1;
  if (loss_.on_dip(epoch, queued) && cut_for_loss_) {
    bandwidth_.unbound();  // the loss was not ours: forget what it made us do
    bad_epochs_ = 0;
    cut_for_loss_ = false;
  }
  suspicious_ = false;
  if (!longer || limits_.policy == RatePolicy::low) return;
  // What we yielded to was the way, and what the old one lost beyond is not too much for this one.
  competition_.reset();
  inflight_limit_ = std::numeric_limits<double>::infinity();
  restart(now);
}

bool RateControl::dip_due(TimePoint now) const {
  if (!queue_.known() || epochs_.current().application_limited) return false;
  const Duration since = now - last_dip_;
  const Duration interval = dip_interval();
  // What startup saw of the loss may have been too little to judge by.
  if (suspicious_ && !dipped_)
    return since >= std::max<Duration>(kFirstDip, kFirstDipRounds * queue_.base());
  // Where much is lost on its own a dip may have seen too little of it.
  const bool doubtful = suspicious_ && loss_.value() > kMuchLoss;
  const double loss_dips = doubtful ? kLossDips / kSooner : kLossDips;
  if (loss_.recent() > kLossWorthADip && since > loss_dips * interval) return true;
  // All who share a queue saw it lowest at the same time. Counted from there their dips come
  // together and empty it, which shows the base to each.
  const Duration beside_others =
      std::max<Duration>(kDipIntervalBesideOthers, kDipRoundsBesideOthers * queue_.base());
  const Duration period = competing() ? beside_others : suspicious_ ? interval / kSooner : interval;
  const auto periods = [&](TimePoint time) { return (time - queue_.lowest_seen()) / period; };
  return periods(now) > std::max<Duration::rep>(periods(last_dip_), 0);
}

Duration RateControl::dip_interval() const {
  return std::max(kDipInterval, kDipIntervalRounds * queue_.base());
}

Duration RateControl::dip_duration() const {
  const double wanted = competing() ? kDipPacketsBesideOthers : kDipPackets;
  const Duration packets = from_seconds(wanted * datagram_ / std::max(pacing_, 1.0));
  const Duration drain = 2 * queue_.standing() + queue_.jitter() + kMinDip;
  return std::min(std::max(std::min(packets, kDipPacketsTime), drain), kMaxDip);
}

void RateControl::advance(std::uint64_t in_flight, TimePoint now) {
  const Duration in_phase = now - phase_start_;
  const double beside = seconds(queue_.jitter()) + wait_.beyond_ack_delay(minimum_round_trip());
  const bool drained =
      static_cast<double>(in_flight) <= path_volume() + wire_bandwidth() * beside;
  switch (phase_) {
    case RatePhase::startup:
      if (startup_full(now)) leave_startup(now);
      break;
    case RatePhase::drain:
      if (drained || phase_rounds_ >= kMaxDrainRounds) enter(RatePhase::up, now);
      break;
    case RatePhase::down:
      if (dip_due(now))
        enter(RatePhase::dip, now);
      else if (drained || phase_rounds_ >= kMaxDrainRounds)
        enter(RatePhase::cruise, now);
      break;
    case RatePhase::cruise:
      if (dip_due(now))
        enter(RatePhase::dip, now);
      else if (!competing() && in_phase >= cruise_ && phase_rounds_ >= 1 &&
               (queue_.recent_queue() <= allowed_queue() || in_phase >= kLongCruise) &&
               !epochs_.current().application_limited)
        enter(RatePhase::refill, now);
      break;
    case RatePhase::refill:
      if (dip_due(now))
        enter(RatePhase::dip, now);
      else if (phase_rounds_ >= 1)
        enter(RatePhase::up, now);
      break;
    case RatePhase::up: {
      probe_.sent |= in_phase >= queue_.base() && epochs_.current().sent >= kProbePackets &&
                     queue_.jitter() < queue_.base() / 8;
      const Duration allowed = allowed_queue();
      const bool queued =
          !competing() && growth_.rounds_without() >= 1 && 2 * queue_.recent_queue() > 3 * allowed;
      // Where the application does not fill the path there is nothing to learn.
      const bool full = phase_rounds_ >= 2 &&
                        (growth_.rounds_without() >= 1 || epochs_.current().application_limited);
      if (queued || full || dip_due(now)) {
        if (!queued) inflight_limit_ = std::numeric_limits<double>::infinity();
        enter(RatePhase::down, now);
      }
      break;
    }
    case RatePhase::dip:
      if (in_phase >= dip_duration()) enter(RatePhase::cruise, now);
      break;
  }
}

}  // namespace rushfs::transport

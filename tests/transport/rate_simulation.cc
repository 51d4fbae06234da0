#include "tests/transport/rate_simulation.h"

#include <algorithm>
#include <deque>
#include <queue>
#include <random>

#include "tests/transport/sender.h"
#include "transport/recovery/received_packets.h"

namespace rushfs::transport::simulation {

namespace {

constexpr std::uint64_t kPacketOverhead = 44;  // packet header, frame header, tag
constexpr std::uint64_t kIpOverhead = 28;
constexpr std::uint64_t kFullDatagram = 1472;
const TimePoint kStart = TimePoint{} + std::chrono::seconds(1000);

struct Chunk {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
};

struct Ack {
  std::vector<NumberRange> ranges;
  Duration delay{};
  bool ping = false;
};

struct Sent {
  std::uint64_t number = 0;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  bool eliciting = true;
};

struct Direction {
  TimePoint last{};
  Duration jitter{};
  TimePoint jitter_until{};
};

struct Flow {
  Flow(const FlowOptions& o, const Recovery::Config& config)
      : options(o), sender(config, o.control), received(false), arrived(1u << 20) {}

  FlowOptions options;
  Sender sender;
  ReceivedPackets received;
  RangeSet arrived;  // payload bytes at the receiver
  LossOutcome outcome;
  std::deque<Chunk> again;        // to be sent once more
  std::uint64_t next_offset = 0;  // new payload begins here
  std::uint64_t offered = 0;      // by the application
  FlowResult total;
  FlowResult marked;
  TimePoint wake = TimePoint::max();
  TimePoint ack_timer = TimePoint::max();
  Direction forward;
  Direction backward;
};

struct Event {
  enum class Kind : std::uint8_t { wake, arrival, ack_timer, ack, ack_of_ack, burst, trace };
  TimePoint time;
  std::uint64_t order = 0;
  Kind kind = Kind::wake;
  std::uint32_t flow = 0;
  Sent packet;  // arrival; ack: number is the index of the Ack
  bool operator<(const Event& other) const {
    return time != other.time ? time > other.time : order > other.order;
  }
};

}  // namespace

class Simulation::Implementation {
 public:
  Implementation(const Link& model, std::uint64_t seed) : link(model), random_(seed) {}

  std::size_t add(const FlowOptions& options);
  void run_until(TimePoint end);
  void schedule(TimePoint time, Event::Kind kind, std::uint32_t flow, Sent packet = {});

  Link link;
  TimePoint now = kStart;
  std::vector<std::unique_ptr<Flow>> flows;
  double queue_sum = 0;
  std::uint64_t queue_count = 0;
  std::uint64_t queue_drops = 0;
  Duration trace_interval{};
  std::function<void()> trace_hook;

 private:
  double uniform() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  void handle(const Event& event);
  void pump(std::uint32_t index);
  bool send_one(Flow& flow, std::uint32_t index);
  std::optional<Chunk> next_chunk(Flow& flow, std::uint32_t room);
  void act_on(Flow& flow);
  void enter_link(std::uint32_t index, std::uint64_t size, const Sent& packet);
  bool lost_on_the_way();
  bool in_burst(bool& state, double share, double length);
  void arrive(std::uint32_t index, const Sent& packet);
  void maybe_acknowledge(std::uint32_t index);
  void take_ack(std::uint32_t index, std::uint64_t ack);
  TimePoint delayed(TimePoint base, Direction& direction);
  TimePoint after_pause(TimePoint at) const;

  std::mt19937_64 random_;
  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  std::deque<Ack> acks_;
  std::uint64_t first_ack_ = 0;
  TimePoint link_free_{};
  double tokens_ = -1;
  TimePoint tokens_at_{};
  bool in_burst_ = false;
  bool acks_in_burst_ = false;
};

void Simulation::Implementation::schedule(TimePoint time, Event::Kind kind, std::uint32_t flow,
                                          Sent packet) {
  events_.push({time, order_++, kind, flow, packet});
}

std::size_t Simulation::Implementation::add(const FlowOptions& options) {
  const auto index = static_cast<std::uint32_t>(flows.size());
  Recovery::Config config;
  config.limits = options.limits;
  config.seed = random_();
  config.remembered = options.remembered;
  flows.push_back(std::make_unique<Flow>(options, config));
  Flow& flow = *flows.back();
  flow.options.start = std::max(options.start, TimePoint{}) == TimePoint{}
                           ? now
                           : kStart + (options.start - TimePoint{});
  if (options.bytes)
    flow.offered = *options.bytes;
  else if (options.burst_bytes == 0)
    flow.offered = ~std::uint64_t{0};
  if (options.burst_bytes != 0) schedule(flow.options.start, Event::Kind::burst, index);
  flow.wake = flow.options.start;
  schedule(flow.options.start, Event::Kind::wake, index);
  return index;
}

void Simulation::Implementation::run_until(TimePoint end) {
  while (!events_.empty() && events_.top().time <= end) {
    const Event event = events_.top();
    events_.pop();
    now = event.time;
    handle(event);
  }
  now = end;
}

void Simulation::Implementation::handle(const Event& event) {
  Flow& flow = *flows[std::min<std::size_t>(event.flow, flows.size() - 1)];
  switch (event.kind) {
    case Event::Kind::wake:
      if (event.time != flow.wake) return;  // superseded
      flow.wake = TimePoint::max();
      if (!flow.sender.knows_round_trip()) {
        flow.sender.on_first_round_trip(link.round_trip + flow.options.extra_round_trip, now);
      }
      flow.sender.on_timer(now, flow.outcome);
      act_on(flow);
      pump(event.flow);
      break;
    case Event::Kind::arrival:
      arrive(event.flow, event.packet);
      break;
    case Event::Kind::ack_timer:
      if (event.time != flow.ack_timer) return;
      flow.ack_timer = TimePoint::max();
      maybe_acknowledge(event.flow);
      break;
    case Event::Kind::ack:
      take_ack(event.flow, event.packet.number);
      break;
    case Event::Kind::ack_of_ack:
      flow.received.on_ack_acknowledged(event.packet.number);
      break;
    case Event::Kind::burst:
      flow.offered += flow.options.burst_bytes;
      schedule(now + flow.options.burst_interval, Event::Kind::burst, event.flow);
      pump(event.flow);
      break;
    case Event::Kind::trace:
      trace_hook();
      schedule(now + trace_interval, Event::Kind::trace, 0);
      break;
  }
}

void Simulation::Implementation::act_on(Flow& flow) {
  for (const SentFrame& frame : flow.outcome.lost) {
    if (frame.kind == SentFrame::Kind::request_data) {
      flow.again.push_back({frame.id, frame.length});
    }
  }
  // What arrived late need not be sent again.
  if (flow.outcome.late_packets.empty() || flow.again.empty()) return;
  for (const SentFrame& frame : flow.outcome.acknowledged) {
    if (frame.kind != SentFrame::Kind::request_data) continue;
    std::erase_if(flow.again, [&](const Chunk& chunk) { return chunk.offset == frame.id; });
  }
}

std::optional<Chunk> Simulation::Implementation::next_chunk(Flow& flow, std::uint32_t room) {
  if (!flow.again.empty()) {
    Chunk chunk = flow.again.front();
    flow.again.pop_front();
    if (chunk.length > room) {
      flow.again.push_front({chunk.offset + room, chunk.length - room});
      chunk.length = room;
    }
    return chunk;
  }
  if (flow.next_offset >= flow.offered) return std::nullopt;
  const auto length =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(room, flow.offered - flow.next_offset));
  const Chunk chunk{flow.next_offset, length};
  flow.next_offset += length;
  return chunk;
}

bool Simulation::Implementation::send_one(Flow& flow, std::uint32_t index) {
  if (const auto size = flow.sender.path_mtu_probe(now)) {
    const SentFrame frame{.kind = SentFrame::Kind::path_mtu_probe,
                          .length = static_cast<std::uint32_t>(size->count)};
    const Sent packet{flow.sender.next_number(), 0, 0};
    flow.sender.on_sent(*size, frame, now);
    enter_link(index, size->count, packet);
    return true;
  }
  const auto room =
      static_cast<std::uint32_t>(flow.sender.datagram_size().count - kPacketOverhead);
  std::optional<Chunk> chunk = next_chunk(flow, room);
  SentFrame frame;
  if (chunk) {
    frame = {.kind = SentFrame::Kind::request_data, .id = chunk->offset, .length = chunk->length};
  } else {
    if (flow.sender.probes_owed() == 0) return false;
    const auto old = flow.sender.frames_to_probe();
    if (!old.empty()) frame = old.front();
    chunk = Chunk{frame.id, frame.length};
  }
  const Sent packet{flow.sender.next_number(), chunk->offset, chunk->length};
  const std::uint64_t size = chunk->length + kPacketOverhead;
  flow.sender.on_sent({size}, frame, now);
  enter_link(index, size, packet);
  return true;
}

void Simulation::Implementation::pump(std::uint32_t index) {
  Flow& flow = *flows[index];
  if (now < flow.options.start) return;
  while (flow.sender.may_send(now)) {
    if (!send_one(flow, index)) {
      flow.sender.on_nothing_to_send();
      break;
    }
  }
  const bool has_data = !flow.again.empty() || flow.next_offset < flow.offered;
  if (const auto due = flow.sender.deadline(has_data)) {
    const TimePoint at = after_pause(std::max(*due, now + std::chrono::microseconds(1)));
    if (at < flow.wake || flow.wake <= now) {
      flow.wake = at;
      schedule(at, Event::Kind::wake, index);
    }
  }
}

bool Simulation::Implementation::lost_on_the_way() {
  if (link.cut) return true;
  if (in_burst(in_burst_, link.burst_loss, link.burst_length)) return true;
  return link.loss > 0 && uniform() < link.loss;
}

// Gilbert's two states, in one of which all is lost; of length 1: independent.
bool Simulation::Implementation::in_burst(bool& state, double share, double length) {
  if (share <= 0) return false;
  if (length <= 1) return uniform() < share;
  state = state ? uniform() >= 1 / length : uniform() < share / (1 - share) / length;
  return state;
}

TimePoint Simulation::Implementation::delayed(TimePoint base, Direction& direction) {
  TimePoint at = base;
  if (link.jitter > Duration::zero()) {
    if (link.jitter_kind != Link::Jitter::held || base >= direction.jitter_until) {
      direction.jitter = from_seconds((2 * uniform() - 1) * seconds(link.jitter));
      direction.jitter_until = base + link.jitter;
    }
    at += std::max(direction.jitter, -link.round_trip / 2);
    if (link.jitter_kind != Link::Jitter::overtaking) at = std::max(direction.last, at);
    direction.last = at;
  }
  if (link.reordered > 0 && uniform() < link.reordered) at += link.reordering;
  return at;
}

TimePoint Simulation::Implementation::after_pause(TimePoint at) const {
  const Duration into = (at - kStart) % link.pause_interval;
  return into < link.pause ? at + (link.pause - into) : at;
}

void Simulation::Implementation::enter_link(std::uint32_t index, std::uint64_t size,
                                            const Sent& packet) {
  Flow& flow = *flows[index];
  ++flow.total.packets_sent;
  flow.total.wire_bytes += size;
  if (packet.length != 0 &&
      flow.arrived.contains(packet.offset, packet.offset + packet.length - 1)) {
    flow.total.payload_sent_again += packet.length;
  }
  const Bytes wire{size + kIpOverhead};
  TimePoint departure = now;
  ++queue_count;
  if (link.policer_bucket > Duration::zero()) {
    const double depth = static_cast<double>((link.rate * link.policer_bucket).count);
    if (tokens_ < 0) tokens_ = depth, tokens_at_ = now;
    tokens_ =
        std::min(depth, tokens_ + static_cast<double>((link.rate * (now - tokens_at_)).count));
    tokens_at_ = now;
    if (tokens_ < static_cast<double>(wire.count)) {
      ++queue_drops;
      return;
    }
    tokens_ -= static_cast<double>(wire.count);
  } else {
    const Duration waiting = std::max(link_free_ - now, Duration::zero());
    queue_sum += seconds(waiting);
    if (waiting + wire / link.rate > link.buffer) {
      ++queue_drops;
      return;
    }
    departure = link_free_ = std::max(link_free_, now) + wire / link.rate;
  }
  if (lost_on_the_way()) return;
  TimePoint at =
      delayed(departure + link.round_trip / 2 + flow.options.extra_round_trip, flow.forward);
  if (link.receivers_pause) at = after_pause(at);
  schedule(at, Event::Kind::arrival, index, packet);
}

void Simulation::Implementation::arrive(std::uint32_t index, const Sent& packet) {
  Flow& flow = *flows[index];
  if (flow.received.is_duplicate(packet.number)) return;
  flow.received.on_received(packet.number, true, link.round_trip + flow.options.extra_round_trip,
                            now);
  if (packet.length != 0 && flow.arrived.add(packet.offset, packet.offset + packet.length - 1)) {
    flow.total.goodput_bytes += packet.length;
    if (flow.options.bytes && !flow.total.finished &&
        flow.arrived.contains(0, *flow.options.bytes - 1)) {
      flow.total.finished = now;
    }
  }
  maybe_acknowledge(index);
}

void Simulation::Implementation::maybe_acknowledge(std::uint32_t index) {
  Flow& flow = *flows[index];
  if (flow.received.ack_due(now)) {
    const auto ranges = flow.received.ack_ranges(256);
    const Duration round_trip = link.round_trip + flow.options.extra_round_trip;
    const bool ping = flow.received.wants_ping(round_trip, now);
    if (ping) flow.received.on_ping_sent(now);
    const bool lost = link.cut || in_burst(acks_in_burst_, link.ack_loss, link.ack_burst);
    if (!lost) {
      acks_.push_back({{ranges.begin(), ranges.end()}, flow.received.ack_delay(now), ping});
      const TimePoint at = after_pause(delayed(now + link.round_trip / 2, flow.backward));
      schedule(at, Event::Kind::ack, index, {.number = first_ack_ + acks_.size() - 1});
    }
    flow.received.on_ack_sent();
  }
  if (const auto deadline = flow.received.ack_deadline()) {
    if (*deadline < flow.ack_timer) {
      flow.ack_timer = *deadline;
      schedule(*deadline, Event::Kind::ack_timer, index);
    }
  }
}

void Simulation::Implementation::take_ack(std::uint32_t index, std::uint64_t number) {
  Flow& flow = *flows[index];
  Ack& ack = acks_[number - first_ack_];
  if (!flow.sender.on_ack(ack.ranges, ack.delay, now, flow.outcome)) std::abort();
  if (ack.ping) {
    schedule(now + link.round_trip / 2, Event::Kind::ack_of_ack, index,
             {.number = ack.ranges.front().last});
  }
  ack.ranges.clear();
  while (!acks_.empty() && acks_.front().ranges.empty()) {
    acks_.pop_front();
    ++first_ack_;
  }
  act_on(flow);
  pump(index);
}

Simulation::Simulation(const Link& link, std::uint64_t seed)
    : implementation_(std::make_unique<Implementation>(link, seed)) {}
Simulation::~Simulation() = default;

std::size_t Simulation::add(const FlowOptions& options) {
  return implementation_->add(options);
}
void Simulation::run_until(Duration time) {
  implementation_->run_until(kStart + time);
}
Duration Simulation::elapsed() const {
  return implementation_->now - kStart;
}
Link& Simulation::link() {
  return implementation_->link;
}

void Simulation::set_burst(std::size_t index, std::uint64_t bytes, Duration interval) {
  Flow& flow = *implementation_->flows[index];
  flow.options.burst_bytes = bytes;
  flow.options.burst_interval = interval;
  flow.offered = flow.next_offset;  // the old offer is withdrawn
}

FlowResult Simulation::result(std::size_t index) const {
  const Flow& flow = *implementation_->flows[index];
  FlowResult result = flow.total;
  const std::uint64_t spurious = flow.sender.recovery().report().packets_spurious;
  result.packets_spurious = spurious - flow.marked.packets_spurious;
  result.goodput_bytes -= flow.marked.goodput_bytes;
  result.wire_bytes -= flow.marked.wire_bytes;
  result.packets_sent -= flow.marked.packets_sent;
  result.payload_sent_again -= flow.marked.payload_sent_again;
  if (result.finished) *result.finished -= kStart - TimePoint{};
  return result;
}

void Simulation::mark() {
  for (auto& flow : implementation_->flows) {
    flow->marked = flow->total;
    flow->marked.packets_spurious = flow->sender.recovery().report().packets_spurious;
  }
  implementation_->queue_sum = 0;
  implementation_->queue_count = 0;
  implementation_->queue_drops = 0;
}

Duration Simulation::mean_queue() const {
  return from_seconds(implementation_->queue_sum / static_cast<double>(std::max<std::uint64_t>(
                                                       implementation_->queue_count, 1)));
}

double Simulation::dropped_share() const {
  return static_cast<double>(implementation_->queue_drops) /
         static_cast<double>(std::max<std::uint64_t>(implementation_->queue_count, 1));
}

const Recovery& Simulation::recovery(std::size_t flow) const {
  return implementation_->flows[flow]->sender.recovery();
}

void Simulation::trace(Duration interval, std::function<void()> hook) {
  implementation_->trace_interval = interval;
  implementation_->trace_hook = std::move(hook);
  implementation_->schedule(implementation_->now + interval, Event::Kind::trace, 0);
}

double Simulation::payload_limit() const {
  const Link& link = implementation_->link;
  return link.rate.bits_per_second / 8 * (1 - link.loss) * (1 - link.burst_loss) *
         static_cast<double>(kFullDatagram - kPacketOverhead) /
         static_cast<double>(kFullDatagram + kIpOverhead);
}

}  // namespace rushfs::transport::simulation

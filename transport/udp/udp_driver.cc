#include "transport/udp/udp_driver.h"

#include <openssl/rand.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <stdexcept>

#include "transport/udp/busy_meter.h"
#include "transport/udp/processor_wait.h"
#include "transport/udp/prompt_wakeup.h"

namespace rushfs::transport {

namespace {

/// Batches sent per turn before the socket is read again: about as many bytes as one read takes.
constexpr std::size_t kBatchesPerTurn = 16;
/// Times as many at most for farewells: three for each of 1024 connections, and 256 answers.
constexpr int kFarewellTurns = 256;
/// Reads per turn before what they caused is sent.
constexpr int kReadsPerTurn = 2;

void fill_with_randomness(std::span<std::uint8_t> bytes) {
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    throw std::runtime_error("the system gave no randomness (RAND_bytes)");
  }
}

}  // namespace

/// Lives on the network loop. A turn is: take what arrived, send what may be sent, tell the
/// application, set the timer; everything that happens leads to one.
class UdpDriver::Pump : public std::enable_shared_from_this<Pump> {
 public:
  Pump(boost::asio::io_context& loop, EndpointConfig config, const UdpOptions& options,
       EventHandler handler)
      : loop_(loop),
        socket_(options),
        descriptor_(loop, socket_.descriptor()),
        timer_(loop),
        endpoint_(std::move(config), fill_with_randomness),
        handler_(std::move(handler)),
        batches_(kBatchesPerTurn) {}
  ~Pump() { descriptor_.release(); }  // the socket closes it

  boost::asio::io_context& loop() { return loop_; }
  UdpSocket& socket() { return socket_; }
  UdpReport report() const;
  Endpoint& endpoint() { return endpoint_; }

  void start() {
    ask_for_prompt_wakeup();
    wait_readable();
  }
  void connect(const Address& server, KeyJudge expected, CallToken token);
  void request(ConnectionHandle connection, Priority priority, Body body, CallToken token);
  void reply(ConnectionHandle connection, RequestId id, Body body);
  void cancel(ConnectionHandle connection, CallToken token);
  void close(ConnectionHandle connection, const CloseReason& reason);
  void shutdown(const CloseReason& reason);
  void stop();
  bool stopped() const { return stopped_; }
  /// Makes a turn follow, once for however many requests came before it.
  void turn_soon();

 private:
  void wait_readable();
  void wait_writable();
  void arm_timer();
  void on_readable();
  void on_timer();
  void turn(TimePoint now);
  /// True: there may be more to send at once.
  bool transmit(TimePoint now);
  void report_too_large(TimePoint now);
  void deliver_events();
  void deliver(Event event);

  boost::asio::io_context& loop_;
  UdpSocket socket_;
  boost::asio::posix::stream_descriptor descriptor_;
  boost::asio::steady_timer timer_;
  std::optional<TimePoint> timer_at_;
  Endpoint endpoint_;
  EventHandler handler_;
  CallTable calls_;
  std::vector<TransmitBatch> batches_;
  BusyMeter busy_;
  bool turn_posted_ = false;
  bool writable_awaited_ = false;
  bool stopped_ = false;
};

void UdpDriver::Pump::wait_readable() {
  descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [self = shared_from_this()](const boost::system::error_code& error) {
                           if (!error && !self->stopped_) self->on_readable();
                         });
}

void UdpDriver::Pump::on_readable() {
  const TimePoint now = Clock::now();
  const auto take = [&](std::span<std::uint8_t> datagram, const Address& from,
                        const std::optional<LocalIp>& at) {
    return endpoint_.receive(datagram, from, now, at);
  };
  bool more = true;
  for (int i = 0; more && i < kReadsPerTurn; ++i) more = socket_.receive(now, take);
  turn(now);
  if (stopped_) return;
  if (!more) {
    wait_readable();
    return;
  }
  boost::asio::post(loop_, [self = shared_from_this()] {
    if (!self->stopped_) self->on_readable();
  });
}

void UdpDriver::Pump::turn_soon() {
  if (turn_posted_ || stopped_) return;
  turn_posted_ = true;
  boost::asio::post(loop_, [self = shared_from_this()] {
    self->turn_posted_ = false;
    if (!self->stopped_) self->turn(Clock::now());
  });
}

void UdpDriver::Pump::turn(TimePoint now) {
  if (const auto deadline = endpoint_.deadline(); deadline && *deadline <= now) endpoint_.tick(now);
  deliver_events();
  if (stopped_) return;
  if (transmit(now)) turn_soon();
  deliver_events();
  if (!stopped_) arm_timer();
  if (!busy_.worked(now, Clock::now())) return;
  busy_.waited(processor_wait());
  endpoint_.set_load(busy_.share());
}

bool UdpDriver::Pump::transmit(TimePoint now) {
  if (socket_.blocked()) return false;
  std::size_t filled = 0;
  while (filled < batches_.size() && endpoint_.transmit(batches_[filled], now)) ++filled;
  if (filled == 0) return false;
  socket_.send(std::span(batches_).first(filled), now);
  report_too_large(now);
  if (socket_.blocked()) wait_writable();
  return !socket_.blocked() && filled == batches_.size();
}

void UdpDriver::Pump::report_too_large(TimePoint now) {
  for (const UdpSocket::TooLarge& refused : socket_.too_large()) {
    endpoint_.on_datagram_too_large(refused.to, refused.size, now);
  }
}

UdpReport UdpDriver::Pump::report() const {
  UdpReport report = socket_.report();
  report.load = busy_.share();
  return report;
}

void UdpDriver::Pump::wait_writable() {
  if (writable_awaited_) return;
  writable_awaited_ = true;
  descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_write,
                         [self = shared_from_this()](const boost::system::error_code& error) {
                           self->writable_awaited_ = false;
                           if (error || self->stopped_) return;
                           const TimePoint now = Clock::now();
                           self->socket_.resume(now);
                           self->report_too_large(now);
                           if (self->socket_.blocked()) self->wait_writable();
                           self->turn(now);
                         });
}

void UdpDriver::Pump::arm_timer() {
  // While the send buffer is full, deadlines for sending cannot be met; what must happen then
  // waits for the socket, which drains at the speed of the interface.
  const auto deadline = endpoint_.deadline();
  if (!deadline || socket_.blocked() || turn_posted_) return;
  if (timer_at_ && *timer_at_ <= *deadline) return;  // an early call does no harm
  timer_at_ = deadline;
  timer_.expires_at(*deadline);
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error && !self->stopped_) self->on_timer();
  });
}

void UdpDriver::Pump::on_timer() {
  timer_at_.reset();
  turn(Clock::now());
}

void UdpDriver::Pump::deliver_events() {
  while (!stopped_) {
    std::optional<Event> event = endpoint_.poll();
    if (!event) return;
    deliver(std::move(*event));
  }
}

void UdpDriver::Pump::deliver(Event event) {
  const ConnectionHandle connection = event.connection;
  struct Translate {
    Pump& pump;
    ConnectionHandle connection;
    void hand_on(DriverEvent out) { pump.handler_(std::move(out)); }
    void operator()(Connected&& connected) {
      pump.calls_.open(connection);
      hand_on({connection, std::move(connected)});
    }
    void operator()(ReplyArrived&& reply) {
      const auto token = pump.calls_.answered(connection, reply.id);
      if (token) hand_on({connection, CallAnswered{*token, std::move(reply.body)}});
    }
    void operator()(RequestArrived&& request) { hand_on({connection, std::move(request)}); }
    void operator()(RequestCancelled&& cancelled) { hand_on({connection, cancelled}); }
    void operator()(Closed&& closed) {
      pump.calls_.closed(connection);
      hand_on({connection, std::move(closed)});
    }
  };
  std::visit(Translate{*this, connection}, std::move(event.body));
}

void UdpDriver::Pump::connect(const Address& server, KeyJudge expected, CallToken token) {
  const auto connection = endpoint_.connect(server, std::move(expected), Clock::now());
  calls_.open(connection);
  handler_({connection, Connecting{token}});
}

void UdpDriver::Pump::request(ConnectionHandle connection, Priority priority, Body body,
                              CallToken token) {
  if (!calls_.is_open(connection)) return;
  calls_.asked(connection, endpoint_.request(connection, priority, std::move(body)), token);
}

void UdpDriver::Pump::reply(ConnectionHandle connection, RequestId id, Body body) {
  if (calls_.is_open(connection)) endpoint_.reply(connection, id, std::move(body));
}

void UdpDriver::Pump::cancel(ConnectionHandle connection, CallToken token) {
  if (const auto id = calls_.cancelled(connection, token)) endpoint_.cancel(connection, *id);
}

void UdpDriver::Pump::close(ConnectionHandle connection, const CloseReason& reason) {
  if (calls_.is_open(connection)) endpoint_.close(connection, reason, Clock::now());
}

void UdpDriver::Pump::shutdown(const CloseReason& reason) {
  const TimePoint now = Clock::now();
  for (const ConnectionHandle connection : calls_.connections()) {
    endpoint_.close(connection, reason, now);
  }
  turn(now);
  for (int left = kFarewellTurns; left > 0 && transmit(now); --left) {
  }
}

void UdpDriver::Pump::stop() {
  stopped_ = true;
  timer_.cancel();
  boost::system::error_code ignored;
  descriptor_.cancel(ignored);
}

UdpDriver::UdpDriver(boost::asio::io_context& network_loop, EndpointConfig config,
                     UdpOptions options, EventHandler handler)
    : pump_(std::make_shared<Pump>(network_loop, std::move(config), options, std::move(handler))) {
  boost::asio::post(network_loop, [pump = pump_] {
    if (!pump->stopped()) pump->start();
  });
}

UdpDriver::~UdpDriver() { stop(); }

void UdpDriver::post(Work work) {
  boost::asio::post(pump_->loop(), [pump = pump_, work = std::move(work)]() mutable {
    if (pump->stopped()) return;
    std::move(work)(pump->endpoint(), Clock::now());
    pump->turn_soon();
  });
}

void UdpDriver::connect(const Address& server, KeyJudge expected, CallToken token) {
  post([pump = pump_, server, expected = std::move(expected), token](Endpoint&, TimePoint) mutable {
    pump->connect(server, std::move(expected), token);
  });
}

void UdpDriver::request(ConnectionHandle connection, Priority priority, Body body,
                        CallToken token) {
  assert(body.size() <= kMaxMessage.count);
  post([pump = pump_, connection, priority, body = std::move(body), token](Endpoint&,
                                                                          TimePoint) mutable {
    pump->request(connection, priority, std::move(body), token);
  });
}

void UdpDriver::reply(ConnectionHandle connection, RequestId id, Body body) {
  assert(body.size() <= kMaxMessage.count);
  post([pump = pump_, connection, id, body = std::move(body)](Endpoint&, TimePoint) mutable {
    pump->reply(connection, id, std::move(body));
  });
}

void UdpDriver::cancel(ConnectionHandle connection, CallToken token) {
  post(
      [pump = pump_, connection, token](Endpoint&, TimePoint) { pump->cancel(connection, token); });
}

void UdpDriver::close(ConnectionHandle connection, CloseReason reason) {
  post([pump = pump_, connection, reason = std::move(reason)](Endpoint&, TimePoint) {
    pump->close(connection, reason);
  });
}

void UdpDriver::set_rate(RateLimits limits) {
  post([limits](Endpoint& endpoint, TimePoint) { endpoint.set_rate(limits); });
}

void UdpDriver::shutdown(CloseReason reason, absl::AnyInvocable<void() &&> done) {
  boost::asio::post(pump_->loop(), [pump = pump_, reason = std::move(reason),
                                    done = std::move(done)]() mutable {
    if (!pump->stopped()) pump->shutdown(reason);
    pump->stop();
    std::move(done)();
  });
}

void UdpDriver::stop() {
  boost::asio::post(pump_->loop(), [pump = pump_] { pump->stop(); });
}

Address UdpDriver::local_address() const { return pump_->socket().local_address(); }
UdpReport UdpDriver::report() const { return pump_->report(); }
Endpoint& UdpDriver::endpoint() { return pump_->endpoint(); }

}  // namespace rushfs::transport

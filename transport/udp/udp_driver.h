// UdpDriver runs an Endpoint on a real UDP port: it owns the socket and one timer on the network
// loop, and lets other loops use the Endpoint through posted messages. It decides nothing.
//
// Threads: member functions may be called from any thread, except where "network loop" is said.
// They return at once; what they ask for happens in call order on the network loop, and outcomes
// arrive as events. The handler runs on the network loop and must not block; owners on other loops
// post the event onward (boost::asio::post with the event moved).
//
//   UdpDriver driver(network_loop, config, {}, [&](DriverEvent event) {
//     boost::asio::post(file_loop, [this, event = std::move(event)]() mutable { on(event); });
//   });
//   driver.connect(server, expected, CallToken{1});
#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <variant>

#include "transport/endpoint.h"
#include "transport/udp/call_table.h"
#include "transport/udp/udp_report.h"
#include "transport/udp/udp_socket.h"

namespace rushfs::transport {

/// First event of a connection this side started: `token` is the one given to connect().
struct Connecting {
  CallToken token;
};
/// The reply to request(). None arrives after cancel() was carried out or after Closed.
struct CallAnswered {
  CallToken token;
  Buffer body;
};

/// One event of one connection, in order. A connection of the peer's making starts with Connected;
/// one of ours with Connecting, then Connected or Closed. Closed is always the last.
struct DriverEvent {
  ConnectionHandle connection;
  std::variant<Connecting, Connected, CallAnswered, RequestArrived, RequestCancelled, Closed> body;
};

class UdpDriver {
 public:
  using EventHandler = absl::AnyInvocable<void(DriverEvent)>;
  using Work = absl::AnyInvocable<void(Endpoint&, TimePoint) &&>;

  /// Opens and binds the socket. Throws std::system_error naming the address when it cannot.
  UdpDriver(boost::asio::io_context& network_loop, EndpointConfig config, UdpOptions options,
            EventHandler handler);
  /// Like stop(). What was posted before still holds the socket until the loop has run it.
  ~UdpDriver();
  UdpDriver(const UdpDriver&) = delete;
  UdpDriver& operator=(const UdpDriver&) = delete;

  void connect(const Address& server, KeyJudge expected, CallToken token);
  /// Body at most kMaxMessage. A connection that is gone: nothing happens (Closed was delivered).
  void request(ConnectionHandle, Priority, Body body, CallToken token);
  void reply(ConnectionHandle, RequestId, Body body);
  void cancel(ConnectionHandle, CallToken token);
  void close(ConnectionHandle, CloseReason);
  void set_rate(RateLimits);

  /// Runs `work` on the network loop with the endpoint and the turn's time, then sends what it
  /// caused. For report(), peer_key() and the like; must not poll(), receive() or transmit().
  void post(Work work);

  /// Says an orderly farewell to every open connection, then stops, and calls `done` on the
  /// network loop after the farewells were sent.
  void shutdown(CloseReason, absl::AnyInvocable<void() &&> done);
  /// Closes the socket without a word; the handler is not called again once this was carried out
  /// on the network loop.
  void stop();

  /// The bound address, with the port the system chose. Constant.
  Address local_address() const;
  /// Counters and socket facts. Network loop only (see post()).
  UdpReport report() const;
  /// The endpoint, for use inside the event handler. Network loop only.
  Endpoint& endpoint();

 private:
  class Pump;
  std::shared_ptr<Pump> pump_;
};

}  // namespace rushfs::transport

// A world of real endpoints, simulated links and one virtual clock that steps to whatever happens
// next. Single-threaded; an hour of a quiet connection takes milliseconds.
//
//   World world(seed);
//   Node& server = world.add_server();
//   Node& client = world.add_client();
//   world.set_links(client, server, {.rate = 100_Mbps, .delay = 50ms, .loss = 0.01});
#pragma once

#include <absl/functional/any_invocable.h>

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <vector>

#include "tests/sim/chance.h"
#include "tests/sim/link.h"
#include "transport/endpoint.h"
#include "transport/security/identity.h"

namespace rushfs::sim {

class World;

/// A host with one endpoint.
struct Node {
  std::size_t index = 0;
  Address address;
  std::shared_ptr<const Identity> identity;
  EndpointConfig config;
  std::unique_ptr<Endpoint> endpoint;
  /// Takes the endpoint's events; may call the endpoint.
  std::function<void(Event)> on_event;
  /// Sees each datagram before it enters the link; false: swallow it.
  std::function<bool(std::vector<std::uint8_t>&, const Address& to)> on_send;
  bool polls = true;  // false: an application that does not come to take its events
};

class World {
 public:
  explicit World(std::uint64_t seed);

  std::uint64_t seed() const { return seed_; }
  TimePoint now() const { return now_; }
  Duration elapsed() const { return now_ - kBeginning; }
  Chance& chance() { return chance_; }

  Node& add(EndpointConfig config);
  Node& add_server(EndpointConfig config = {});
  Node& add_client();
  /// A new endpoint with the same identity and address: the process was killed and started again.
  void restart(Node& node);
  void set_links(Node& a, Node& b, const LinkConfig& both_ways);
  Link& link(Node& from, Node& to) { return links_[{from.index, to.index}]; }

  /// Starts a connection that accepts exactly the server's key.
  ConnectionHandle connect(Node& client, Node& server);
  /// Puts bytes on the link as if `from` had sent them from the address `source`.
  void inject(const Address& source, Node& to, std::vector<std::uint8_t> bytes, Duration delay);
  void at(TimePoint when, absl::AnyInvocable<void()> action);
  void after(Duration delay, absl::AnyInvocable<void()> action) {
    at(now_ + delay, std::move(action));
  }

  /// Runs until `done` or until `limit` has passed; the value of `done` at the end.
  bool run_until(const std::function<bool()>& done, Duration limit);
  void run_for(Duration time) {
    run_until([] { return false; }, time);
  }

 private:
  static constexpr TimePoint kBeginning = TimePoint{} + std::chrono::hours(1);
  struct Arrival {
    TimePoint when;
    std::uint64_t order = 0;
    Address from;
    Address to;
    std::vector<std::uint8_t> bytes;
    bool operator>(const Arrival& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };

  void settle();
  bool pump(Node& node);
  void send(Node& from, const TransmitBatch& batch);
  void deliver();
  std::optional<TimePoint> next_happening();
  Node* node_at(const Address& address);

  std::uint64_t seed_;
  Chance chance_;
  TimePoint now_ = kBeginning;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::pair<std::size_t, std::size_t>, Link> links_;
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
  std::multimap<TimePoint, absl::AnyInvocable<void()>> actions_;
  std::uint64_t next_order_ = 0;
  std::uint64_t turns_at_this_time_ = 0;
  TransmitBatch batch_;
};

}  // namespace rushfs::sim

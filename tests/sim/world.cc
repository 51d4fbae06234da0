#include "tests/sim/world.h"

#include <algorithm>
#include <stdexcept>

namespace rushfs::sim {
namespace {

// An endpoint that wants attention so often without time passing would spin a real processor.
constexpr std::uint64_t kMaxTurnsAtOneTime = 100'000;

Address address_of(std::size_t index) {
  Address address;
  address.ip[15] = static_cast<std::uint8_t>(index + 1);
  address.port = 7874;
  return address;
}

}  // namespace

World::World(std::uint64_t seed) : seed_(seed), chance_(seed) {}

Node& World::add(EndpointConfig config) {
  auto node = std::make_unique<Node>();
  node->index = nodes_.size();
  node->address = address_of(node->index);
  std::array<std::uint8_t, 32> key;
  chance_.fill(key);
  node->identity = std::make_shared<const Identity>(Identity::from_seed(key));
  config.identity = node->identity;
  node->config = std::move(config);
  nodes_.push_back(std::move(node));
  restart(*nodes_.back());
  return *nodes_.back();
}

Node& World::add_server(EndpointConfig config) {
  config.accept_client = [](const PublicKey&, const Address&) { return true; };
  return add(std::move(config));
}

Node& World::add_client() { return add({}); }

void World::restart(Node& node) {
  auto chance = std::make_shared<Chance>(chance_.number());
  node.endpoint = std::make_unique<Endpoint>(
      node.config, [chance](std::span<std::uint8_t> bytes) { chance->fill(bytes); });
}

void World::set_links(Node& a, Node& b, const LinkConfig& both_ways) {
  link(a, b).config = both_ways;
  link(b, a).config = both_ways;
}

ConnectionHandle World::connect(Node& client, Node& server) {
  const PublicKey expected = server.identity->public_key();
  return client.endpoint->connect(
      server.address, [expected](const PublicKey& key) { return key == expected; }, now_);
}

void World::inject(const Address& source, Node& to, std::vector<std::uint8_t> bytes,
                   Duration delay) {
  arrivals_.push({now_ + delay, next_order_++, source, to.address, std::move(bytes)});
}

void World::at(TimePoint when, absl::AnyInvocable<void()> action) {
  actions_.emplace(when, std::move(action));
}

Node* World::node_at(const Address& address) {
  for (auto& node : nodes_) {
    if (node->address == address) return node.get();
  }
  return nullptr;
}

void World::send(Node& from, const TransmitBatch& batch) {
  const std::span<const std::uint8_t> bytes = batch.bytes;
  Node* to = node_at(batch.to);
  for (std::size_t offset = 0; offset < bytes.size(); offset += batch.segment_size) {
    const auto segment =
        bytes.subspan(offset, std::min<std::size_t>(batch.segment_size, bytes.size() - offset));
    std::vector<std::uint8_t> datagram(segment.begin(), segment.end());
    if (from.on_send && !from.on_send(datagram, batch.to)) continue;
    if (to == nullptr || datagram.empty()) continue;
    const Link::Fate fate = link(from, *to).send(datagram, now_, chance_);
    if (fate.duplicate) {
      arrivals_.push({*fate.duplicate, next_order_++, from.address, batch.to, datagram});
    }
    if (fate.arrival) {
      arrivals_.push({*fate.arrival, next_order_++, from.address, batch.to, std::move(datagram)});
    }
  }
}

void World::deliver() {
  while (!arrivals_.empty() && arrivals_.top().when <= now_) {
    Arrival arrival = std::move(const_cast<Arrival&>(arrivals_.top()));
    arrivals_.pop();
    if (Node* to = node_at(arrival.to)) to->endpoint->receive(arrival.bytes, arrival.from, now_);
  }
}

bool World::pump(Node& node) {
  bool busy = false;
  const auto deadline = node.endpoint->deadline();
  if (deadline && *deadline <= now_) node.endpoint->tick(now_);
  while (node.polls) {
    auto event = node.endpoint->poll();
    if (!event) break;
    busy = true;
    if (node.on_event) node.on_event(std::move(*event));
  }
  while (node.endpoint->transmit(batch_, now_)) {
    busy = true;
    send(node, batch_);
  }
  return busy;
}

// Lets everything happen that happens now.
void World::settle() {
  for (bool busy = true; busy;) {
    busy = false;
    while (!actions_.empty() && actions_.begin()->first <= now_) {
      auto action = std::move(actions_.extract(actions_.begin()).mapped());
      action();
      busy = true;
    }
    if (!arrivals_.empty() && arrivals_.top().when <= now_) {
      deliver();
      busy = true;
    }
    for (auto& node : nodes_) busy |= pump(*node);
    if (++turns_at_this_time_ > kMaxTurnsAtOneTime) {
      throw std::runtime_error("an endpoint spins without time passing");
    }
  }
}

std::optional<TimePoint> World::next_happening() {
  std::optional<TimePoint> next;
  const auto consider = [&](std::optional<TimePoint> when) {
    if (when && (!next || *when < *next)) next = when;
  };
  if (!actions_.empty()) consider(actions_.begin()->first);
  if (!arrivals_.empty()) consider(arrivals_.top().when);
  for (auto& node : nodes_) consider(node->endpoint->deadline());
  return next;
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
  const TimePoint end = now_ + limit;
  settle();
  while (!done()) {
    const auto next = next_happening();
    if (!next || *next > end) {
      now_ = end;
      turns_at_this_time_ = 0;
      settle();
      return done();
    }
    if (*next > now_) {
      now_ = *next;
      turns_at_this_time_ = 0;
    }
    settle();
  }
  return true;
}

}  // namespace rushfs::sim

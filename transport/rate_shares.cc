#include "transport/rate_shares.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace rushfs::transport {
namespace {

constexpr double kUnbounded = std::numeric_limits<double>::infinity();
// Who uses this much of his share may want more than it.
constexpr double kUsesAll = 0.8;
// Who does not may need this much more until the next division.
constexpr double kGrowth = 1.5;
// Bits per second that everyone has at least, so that a quiet connection answers at once.
constexpr double kLeast = 1e6;

}  // namespace

std::vector<double> share_out(double total, std::span<const double> wanted) {
  std::vector<double> shares(wanted.begin(), wanted.end());
  if (std::isinf(total)) return shares;
  std::vector<std::size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return wanted[a] < wanted[b]; });
  double left = total;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double even = left / static_cast<double>(order.size() - i);
    shares[order[i]] = std::min(wanted[order[i]], even);
    left -= shares[order[i]];
  }
  if (left <= 0) return shares;
  for (double& share : shares) share += left / static_cast<double>(shares.size());
  return shares;
}

bool RateShares::is_capped(const Member& member) const {
  return std::isfinite(std::min(total_, member.cap).bits_per_second);
}

void RateShares::add(std::uint64_t connection, const PublicKey& client, BitRate max_rate) {
  const Member member{client, std::min(max_rate, of_client_), {}, {}};
  if (is_capped(member)) ++capped_;
  members_.emplace(connection, member);
}

void RateShares::remove(std::uint64_t connection) {
  const auto found = members_.find(connection);
  if (found == members_.end()) return;
  if (is_capped(found->second)) --capped_;
  members_.erase(found);
}

std::size_t RateShares::connections_of(const PublicKey& client) const {
  return static_cast<std::size_t>(std::count_if(
      members_.begin(), members_.end(), [&](const auto& m) { return m.second.client == client; }));
}

std::vector<RateShares::Part> RateShares::parts() const {
  std::vector<Part> parts;
  for (const auto& [connection, member] : members_) {
    parts.push_back({connection, {}, {}, BitRate::infinite(), BitRate::infinite()});
  }
  return parts;
}

void RateShares::divide(std::span<Part> parts, TimePoint now) {
  const double elapsed = std::max(1e-3, seconds(now - last_));
  last_ = now;
  divide_way(parts, &Member::sending, &Part::sent, &Part::sending, elapsed);
  divide_way(parts, &Member::receiving, &Part::received, &Part::receiving, elapsed);
}

double RateShares::wanted(const Way& way, Bytes count, double elapsed) const {
  const double used = static_cast<double>((count - way.before).count) * 8 / elapsed;
  if (way.share == 0 || used >= kUsesAll * way.share) return kUnbounded;
  return std::max(kLeast, used * kGrowth);
}

// First among the clients, then among each client's connections.
void RateShares::divide_way(std::span<Part> parts, Way Member::*way, Bytes Part::*count,
                            BitRate Part::*rate, double elapsed) {
  struct Client {
    std::vector<Part*> parts;
    std::vector<double> wanted;
    double cap = kUnbounded;
  };
  std::map<std::array<std::uint8_t, 32>, Client> clients;
  for (Part& part : parts) {
    const Member& member = members_.at(part.connection);
    Client& client = clients[member.client.bytes];
    client.parts.push_back(&part);
    client.wanted.push_back(wanted(member.*way, part.*count, elapsed));
    client.cap = std::min(client.cap, member.cap.bits_per_second);
  }
  std::vector<double> of_clients;
  for (const auto& [key, client] : clients) {
    const double sum = std::accumulate(client.wanted.begin(), client.wanted.end(), 0.0);
    of_clients.push_back(std::min(client.cap, sum));
  }
  const std::vector<double> shares = share_out(total_.bits_per_second, of_clients);
  std::size_t next = 0;
  for (const auto& [key, client] : clients) {
    const double share = std::isinf(total_.bits_per_second) ? client.cap
                                                            : std::min(client.cap, shares[next]);
    ++next;
    const std::vector<double> rates = share_out(share, client.wanted);
    for (std::size_t i = 0; i < client.parts.size(); ++i) {
      Part& part = *client.parts[i];
      Way& before = members_.at(part.connection).*way;
      part.*rate = {std::isinf(share) ? kUnbounded : rates[i]};
      before = {part.*count, rates[i]};
    }
  }
}

}  // namespace rushfs::transport

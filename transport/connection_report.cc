// What is told of a connection: its path, and what keeps it from being faster.
#include <algorithm>

#include "transport/connection.h"

namespace rushfs::transport {
namespace {

// A network loop that works, or waits for a processor, for this share of the time has nothing left
// to give.
constexpr double kFullLoad = 0.9;
// Loss worth telling of, and what more of it than the path's own is not chance any more.
constexpr double kNoticeableLoss = 0.005;
constexpr double kExcessLoss = 0.05;
// Of a target rate: what moves so much is held back by it.
constexpr double kAtTarget = 0.95;
// What the peer said of its sending is old after this.
constexpr Duration kPeerSendingLife = std::chrono::seconds(2);

// Which of the path's ways to be the limit it is. While the model backs off, it need not be for
// others: it also waits for the queue of its own last probe to go.
SendLimit path_limit(const PathReport& path) {
  const Duration usual_queue =
      std::max<Duration>(std::chrono::milliseconds(5), path.minimum_round_trip / 10);
  const bool queued = path.standing_queue > usual_queue;
  const bool lossy = path.loss_ratio > path.loss_floor + kExcessLoss;
  if (!queued && (path.loses_probes || lossy)) return SendLimit::policer;
  if (queued && path.limit == SendLimit::congestion) return path.limit;
  return path.loss_ratio > kNoticeableLoss ? SendLimit::random_loss : SendLimit::network;
}

}  // namespace

// What the path's model says, seen together with the hosts at both ends of it.
SendLimit Connection::send_limit(const PathReport& path) const {
  switch (path.limit) {
    case SendLimit::receiver_credit: return path.limit;
    case SendLimit::application:
      if (exchange_->is_waited_for()) return SendLimit::sender_storage;
      return exchange_->is_kept_waiting() ? SendLimit::receiver_credit : path.limit;
    default: break;
  }
  // Between probes the model stays a little below the target that is all the path's capacity to it.
  const double target = rate_.effective().target.bits_per_second;
  if (path.limit == SendLimit::target_rate || path.bandwidth.bits_per_second > kAtTarget * target) {
    return rate_.is_capped() ? SendLimit::remote_cap : SendLimit::target_rate;
  }
  if (context_.load >= kFullLoad) return SendLimit::processor;
  return path.limit == SendLimit::starting ? path.limit : path_limit(path);
}

PathReport Connection::report(TimePoint now) const {
  PathReport report;
  if (recovery_) {
    report = recovery_->report();
    report.limit = limits_.largest(now);
  }
  if (now - peer_sending_since_ < kPeerSendingLife) report.peer = peer_sending_;
  report.packets_received = packets_received_;
  report.bytes_received = Bytes{bytes_received_};
  if (exchange_) report.bytes_retransmitted = Bytes{exchange_->bytes_retransmitted()};
  return report;
}

}  // namespace rushfs::transport

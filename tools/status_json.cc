#include "tools/status_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace rushfs::tools {
namespace {

using nlohmann::json;

const char* name_of(fs::LinkState state) {
  switch (state) {
    case fs::LinkState::connecting: return "connecting";
    case fs::LinkState::connected: return "connected";
    case fs::LinkState::refused: return "refused";
  }
  return "";
}

json link_json(const fs::LinkStatus& link) {
  return {{"state", name_of(link.state)},
          {"reason", link.reason},
          {"seconds_in_state", link.since.count()},
          {"next_attempt_ms", link.next_attempt.count()},
          {"reconnections", link.reconnections},
          {"calls_waiting", link.calls_waiting}};
}

json queue_json(const fs::QueueStatus& queue) {
  json parked = json::array();
  for (const fs::ParkedOperation& operation : queue.parked) {
    parked.push_back({{"operation", operation.operation},
                      {"file", operation.file},
                      {"what", operation.what},
                      {"errno", operation.error}});
  }
  json conflicts = json::array();
  for (const fs::ConflictCopy& conflict : queue.conflicts) {
    conflicts.push_back({{"file", conflict.file},
                         {"copy", conflict.copy},
                         {"missing_bytes", conflict.missing_bytes}});
  }
  return {{"operations", queue.operations}, {"files", queue.files},
          {"bytes", queue.bytes},           {"bytes_sent", queue.bytes_sent},
          {"bytes_total", queue.bytes_total}, {"bytes_done", queue.bytes_done},
          {"retry_errno", queue.retry_error},
          {"parked", parked},               {"conflicts", conflicts}};
}

json cache_json(const fs::CacheStatus& cache) {
  return {{"bytes", cache.bytes}, {"budget", cache.budget}, {"hit_bytes", cache.hits},
          {"miss_bytes", cache.misses}, {"errno", cache.error}};
}

/// JSON has no infinity: an unlimited rate is null.
json rate_json(transport::BitRate rate) {
  return std::isfinite(rate.bits_per_second) ? json(std::round(rate.bits_per_second)) : json();
}

/// What the server says of its sending to us.
json peer_json(const transport::PeerSending& peer) {
  return {{"bandwidth_bps", rate_json(peer.bandwidth)},
          {"loss", peer.loss_ratio},
          {"limited_by", transport::name_of(peer.limit)}};
}

json path_json(const transport::PathReport& path) {
  return {{"round_trip_ms", transport::seconds(path.smoothed_round_trip) * 1e3},
          {"minimum_round_trip_ms", transport::seconds(path.minimum_round_trip) * 1e3},
          {"standing_queue_ms", transport::seconds(path.standing_queue) * 1e3},
          {"bandwidth_bps", rate_json(path.bandwidth)},
          {"pacing_bps", rate_json(path.pacing_rate)},
          {"loss", path.loss_ratio},
          {"bytes_in_flight", path.bytes_in_flight.count},
          {"datagram_bytes", path.datagram_size.count},
          {"packets_sent", path.packets_sent},
          {"packets_received", path.packets_received},
          {"packets_lost", path.packets_lost},
          {"bytes_sent", path.bytes_sent.count},
          {"bytes_received", path.bytes_received.count},
          {"limited_by", transport::name_of(path.limit)},
          {"receiving", path.peer ? peer_json(*path.peer) : json()}};
}

}  // namespace

json to_json(const fs::MountStatus& status) {
  return {{"server", status.server},
          {"export", status.export_name},
          {"mount_point", status.mount_point},
          {"link", link_json(status.link)},
          {"queue", queue_json(status.queue)},
          {"cache", cache_json(status.cache)},
          {"path", status.path ? path_json(*status.path) : json()},
          {"receive_buffer_bytes", status.udp.receive_buffer.granted.count},
          {"datagrams_dropped", status.udp.dropped_by_kernel},
          {"network_load", status.udp.load},
          {"network_errno", status.udp.last_error ? status.udp.last_error->error : 0},
          {"advice", transport::buffer_advice(status.udp)},
          {"round_trips", status.round_trips},
          {"notices", status.notices},
          {"noticed_changes", status.noticed_changes},
          {"bytes_read", status.bytes_read},
          {"bytes_written", status.bytes_written},
          {"open_files", status.open_files}};
}

}  // namespace rushfs::tools

#include "fs/server/server_sessions.h"

#include <openssl/evp.h>
#include <spdlog/spdlog.h>

#include <cassert>
#include <cstring>
#include <span>
#include <unordered_map>
#include <utility>

#include "transport/printable.h"

namespace rushfs::fs {
namespace {

using transport::ConnectionHandle;
using transport::PublicKey;
using transport::RequestId;
using transport::TimePoint;

std::array<std::uint8_t, EVP_MAX_MD_SIZE> sha256(std::span<const std::uint8_t> bytes) {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  assert(done == 1);
  return digest;
}

ClientTag tag_of(const PublicKey& key, const ClientId& client) {
  std::array<std::uint8_t, 48> both;
  std::memcpy(both.data(), key.bytes.data(), key.bytes.size());
  std::memcpy(both.data() + key.bytes.size(), client.bytes.data(), client.bytes.size());
  ClientTag tag;
  std::memcpy(tag.bytes.data(), sha256(both).data(), tag.bytes.size());
  std::memcpy(tag.bytes.data(), sha256(key.bytes).data(), ClientTag::kKeyBytes);
  return tag;
}

/// Requests of one connection under way: twice what a client may have open, as those it cancelled
/// still wait for their turn. Some 64 MiB.
constexpr std::size_t kMostUnderWay = 65536;
/// Measures of one connection that wait for their turn: twice what `rushfs bench` asks for.
constexpr std::size_t kMostMeasures = 1024;

}  // namespace

struct ServerSessions::Connection {
  PublicKey key;
  Export* served = nullptr;  // null: not attached (any more, or yet)
  Export* wanted = nullptr;  // what `served` is to become
  bool attaching = false;
  bool read_only = false;
  ClientTag client;
  NodeId root;
  std::string hostname, subpath;
  std::size_t under_way = 0;
  std::unordered_map<std::uint64_t, CancelFlag> revocable;  // requests under way
  std::deque<std::pair<RequestId, std::uint32_t>> measures;  // with the bytes to be answered
};

ServerSessions::ServerSessions(ExportJudge judge, ConnectionOutput& output, Loop& home)
    : judge_(std::move(judge)),
      output_(output),
      home_(home),
      alive_(std::make_shared<bool>(true)) {}

ServerSessions::~ServerSessions() {
  *alive_ = false;
  for (auto& [name, served] : exports_) {
    served->on_replaced(nullptr);
    served->on_notice(nullptr, nullptr);
  }
}

void ServerSessions::add(Export& served) {
  auto tell = [this, &served](const ClientTag& client, Buffer notice) {
    const auto found = by_client_.find({&served, client});
    if (found == by_client_.end() || connections_.at(found->second)->served == nullptr) return;
    output_.request(found->second, Priority::urgent, std::move(notice));
  };
  auto later = [this](transport::Duration time, Loop::Job job) {
    output_.later(time, [alive = alive_, job = std::move(job)]() mutable {
      if (*alive) std::move(job)();
    });
  };
  served.on_notice(std::move(tell), std::move(later));
  exports_[served.options().name] = &served;
  served.on_replaced([this, &served] {
    std::vector<ConnectionHandle> attached;
    for (const auto& [handle, connection] : connections_) {
      if (connection->served == &served) attached.push_back(handle);
    }
    for (const ConnectionHandle handle : attached) {
      close(handle, transport::CloseCode::none, "what is exported was replaced: attach again");
    }
  });
}

void ServerSessions::on_connected(ConnectionHandle handle, const PublicKey& key, TimePoint) {
  auto connection = std::make_shared<Connection>();
  connection->key = key;
  connections_[handle] = std::move(connection);
}

void ServerSessions::answer(ConnectionHandle handle, RequestId id, Buffer body) {
  const auto connection = connections_.find(handle);
  if (connection == connections_.end()) return;
  connection->second->revocable.erase(id.value);
  output_.reply(handle, id, std::move(body));
}

void ServerSessions::on_answered(ConnectionHandle handle) {
  const auto connection = connections_.find(handle);
  if (connection == connections_.end() || connection->second->served == nullptr) return;
  connection->second->served->notice_answered(connection->second->client);
}

void ServerSessions::close(ConnectionHandle handle, transport::CloseCode code,
                           const std::string& why) {
  output_.close(handle, {code, false, why});
}

void ServerSessions::on_request(ConnectionHandle handle, RequestId id, Priority priority,
                                Buffer body, TimePoint now) {
  const auto found = connections_.find(handle);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  auto decoded = decode_request(body);
  if (const auto* error = std::get_if<DecodeError>(&decoded)) {
    if (*error == DecodeError::unknown_operation) return answer(handle, id, encode_error(ENOSYS));
    spdlog::warn("malformed {} request from {}", operation_name(body), fingerprint(connection.key));
    return close(handle, transport::CloseCode::protocol_violation,
                 std::string("malformed request: ") + operation_name(body));
  }
  auto& request = std::get<Request>(decoded);
  if (const auto* hello = std::get_if<Attach>(&request)) return attach(handle, id, *hello, now);
  if (const auto* asked = std::get_if<Measure>(&request)) return measure(handle, id, *asked);
  if (connection.served == nullptr) return answer(handle, id, encode_error(EACCES));
  RequestContext context;
  context.client = connection.client;
  context.root = connection.root;
  context.read_only = connection.read_only;
  context.priority = priority;
  context.now = now;
  context.cancelled = std::make_shared<std::atomic<bool>>(false);
  connection.revocable[id.value] = context.cancelled;
  if (++connection.under_way > kMostUnderWay) {
    return close(handle, transport::CloseCode::server_busy, "too many requests under way");
  }
  connection.served->handle(std::move(context), std::move(request), std::move(body),
                            [this, alive = alive_, handle, id](Buffer reply) {
                              if (*alive) done(handle, id, std::move(reply));
                            });
}

void ServerSessions::done(ConnectionHandle handle, RequestId id, Buffer body) {
  const auto connection = connections_.find(handle);
  if (connection == connections_.end()) return;
  --connection->second->under_way;
  answer(handle, id, std::move(body));
}

void ServerSessions::measure(ConnectionHandle handle, RequestId id, const Measure& request) {
  auto& waiting = connections_.at(handle)->measures;
  if (waiting.size() >= kMostMeasures) return answer(handle, id, encode_error(EAGAIN));
  waiting.emplace_back(id, request.reply_bytes);
  if (waiting.size() > 1) return;
  measuring_.push_back(handle);
  if (measuring_.size() == 1) answer_measure_later();
}

/// One in each turn of the loop, for they are long; the connections take turns.
void ServerSessions::answer_measure_later() {
  home_.post([this, alive = alive_] {
    if (!*alive) return;
    const ConnectionHandle handle = measuring_.front();
    measuring_.pop_front();
    std::optional<std::pair<RequestId, std::uint32_t>> next;
    if (const auto found = connections_.find(handle); found != connections_.end()) {
      auto& waiting = found->second->measures;
      next = waiting.front();
      waiting.pop_front();
      if (!waiting.empty()) measuring_.push_back(handle);
    }
    if (!measuring_.empty()) answer_measure_later();  // before others may ask again
    if (next) answer(handle, next->first, encode_reply(MeasureReply{Buffer(next->second)}));
  });
}

void ServerSessions::attach(ConnectionHandle handle, RequestId id, const Attach& request,
                            TimePoint now) {
  Connection& connection = *connections_.at(handle);
  const auto refuse = [&](int error) { answer(handle, id, encode_error(error)); };
  if (connection.served != nullptr || connection.attaching) return refuse(EBUSY);
  if (request.version != kFileProtocolVersion) return refuse(EPROTONOSUPPORT);
  const auto grant = judge_(connection.key, request.export_name);
  const auto served = exports_.find(request.export_name);
  if (!grant || served == exports_.end()) return refuse(ENOENT);

  const ClientTag tag = tag_of(connection.key, request.client);
  const auto [place, fresh] = by_client_.try_emplace({served->second, tag}, handle);
  if (!fresh) {  // the client came back before its old connection was missed
    const ConnectionHandle former = std::exchange(place->second, handle);
    connections_.at(former)->served = nullptr;
    connections_.at(former)->wanted = nullptr;
    close(former, transport::CloseCode::none, "the same mount has connected anew");
  }
  connection.attaching = true;
  connection.wanted = served->second;
  connection.client = tag;
  connection.hostname = transport::printable(request.hostname);
  connection.subpath = transport::printable(request.subpath);
  connection.read_only = grant->read_only;
  served->second->attach(tag, request, grant->read_only, now,
                         [this, alive = alive_, handle, id, now, tag, served = served->second](
                             Buffer reply, std::optional<NodeId> root) {
                           if (!*alive) return;
                           const auto still = connections_.find(handle);
                           if (still == connections_.end()) return;
                           still->second->attaching = false;
                           if (std::exchange(still->second->wanted, nullptr) == nullptr) return;
                           if (root) {
                             still->second->served = served;
                             still->second->root = std::move(*root);
                             spdlog::info("{} ({}) uses {}/{}", still->second->hostname,
                                          fingerprint(still->second->key), served->options().name,
                                          still->second->subpath);
                           } else {
                             by_client_.erase({served, tag});
                             served->detached(tag, now, now);
                           }
                           answer(handle, id, std::move(reply));
                         });
}

void ServerSessions::on_cancelled(ConnectionHandle handle, RequestId id) {
  const auto connection = connections_.find(handle);
  if (connection == connections_.end()) return;
  const auto call = connection->second->revocable.find(id.value);
  if (call == connection->second->revocable.end()) return;
  *call->second = true;
  connection->second->revocable.erase(call);
}

void ServerSessions::on_closed(ConnectionHandle handle, TimePoint last_heard, TimePoint now) {
  const auto found = connections_.find(handle);
  if (found == connections_.end()) return;
  const auto connection = std::move(found->second);
  connections_.erase(found);
  for (auto& [id, flag] : connection->revocable) *flag = true;
  Export* left = connection->served != nullptr ? connection->served : connection->wanted;
  if (left == nullptr) return;
  by_client_.erase({left, connection->client});
  left->detached(connection->client, last_heard, now);
}

void ServerSessions::tick(TimePoint now) {
  for (auto& [name, served] : exports_) served->tick(now);
}

std::vector<ServerSessions::Attached> ServerSessions::attached() const {
  std::vector<Attached> out;
  for (const auto& [handle, connection] : connections_) {
    if (connection->served == nullptr) continue;
    out.push_back({connection->key, connection->hostname, connection->served->options().name,
                   connection->subpath,
                   connection->read_only || connection->served->options().read_only});
  }
  return out;
}

}  // namespace rushfs::fs

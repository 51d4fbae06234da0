#include "tests/sim/traffic.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace rushfs::sim {
namespace {

void fill_pattern(std::span<std::uint8_t> bytes, std::uint64_t tag) {
  std::uint64_t word = tag * 0x9e3779b97f4a7c15u + 1;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8, word += 0xd1342543de82ef95u) {
    std::memcpy(bytes.data() + i, &word, 8);
  }
  for (; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(word >> (i % 8 * 8));
}

}  // namespace

Buffer make_body(std::uint32_t tag, std::uint32_t reply_size, std::size_t size) {
  Buffer body(std::max<std::size_t>(size, 8));
  fill_pattern(body, tag);
  std::memcpy(body.data(), &tag, 4);
  std::memcpy(body.data() + 4, &reply_size, 4);
  return body;
}

Buffer make_reply(std::uint32_t tag, std::size_t size) {
  Buffer body(size);
  fill_pattern(body, ~static_cast<std::uint64_t>(tag));
  return body;
}

Responder::Responder(World& world, Node& node) : world_(world), node_(node) {
  node.on_event = [this](Event event) {
    last_connection = event.connection;
    if (auto* request = std::get_if<RequestArrived>(&event.body)) {
      on_request(event.connection, std::move(*request));
    } else if (std::holds_alternative<RequestCancelled>(event.body)) {
      ++cancelled;
    } else if (std::holds_alternative<Connected>(event.body)) {
      ++connected;
    } else if (auto* end = std::get_if<Closed>(&event.body)) {
      closed = end->reason;
      last_heard = end->last_heard;
    }
  };
}

void Responder::on_request(ConnectionHandle connection, RequestArrived request) {
  ++requests;
  bytes += request.body.size();
  std::uint32_t tag = 0;
  std::uint32_t reply_size = 0;
  if (request.body.size() < 8) throw std::runtime_error("a request was cut short");
  std::memcpy(&tag, request.body.data(), 4);
  std::memcpy(&reply_size, request.body.data() + 4, 4);
  if (request.body != make_body(tag, reply_size, request.body.size())) {
    throw std::runtime_error("a request was damaged on the way");
  }
  Duration wait = thinking_time;
  if (works_at) {
    const Bytes moved{request.body.size() + reply_size};
    busy_until_ = std::max(busy_until_, world_.now()) + moved / *works_at;
    wait += busy_until_ - world_.now();
  }
  const RequestId id = request.id;
  if (wait == Duration::zero()) {
    node_.endpoint->reply(connection, id, make_reply(tag, reply_size));
    return;
  }
  world_.after(wait, [this, connection, id, tag, reply_size] {
    node_.endpoint->reply(connection, id, make_reply(tag, reply_size));
  });
}

Requester::Requester(World& world, Node& client, Node& server) : world_(world), client_(client) {
  client.on_event = [this](Event event) { on_event(std::move(event)); };
  reconnect(server);
}

void Requester::reconnect(Node& server) {
  connected_ = false;
  closed_.reset();
  under_way_.clear();
  handle_ = world_.connect(client_, server);
}

bool Requester::wait_connected(Duration limit) {
  world_.run_until([this] { return connected_ || closed_; }, limit);
  return connected_;
}

void Requester::on_event(Event event) {
  if (event.connection != handle_) return;
  if (std::holds_alternative<Connected>(event.body)) connected_ = true;
  if (auto* end = std::get_if<Closed>(&event.body)) closed_ = end->reason;
  auto* reply = std::get_if<ReplyArrived>(&event.body);
  if (reply == nullptr) return;
  const auto found = under_way_.find(reply->id);
  if (found == under_way_.end()) throw std::runtime_error("a reply nobody waits for");
  Pending pending = std::move(found->second);
  under_way_.erase(found);
  if (reply->body != make_reply(pending.tag, pending.reply_size)) {
    throw std::runtime_error("a reply was damaged on the way");
  }
  ++answers_;
  if (pending.answered) pending.answered(world_.now() - pending.asked);
  if (pending.bulk) {
    Progress& progress = bulks_[*pending.bulk];
    progress.done += progress.bulk.message;
    feed(*pending.bulk);
  }
}

RequestId Requester::ask(Priority priority, std::size_t size, std::uint32_t reply_size,
                         std::function<void(Duration)> answered) {
  const std::uint32_t tag = next_tag_++;
  const RequestId id =
      client_.endpoint->request(handle_, priority, make_body(tag, reply_size, size));
  under_way_[id] = {tag, reply_size, world_.now(), std::move(answered), std::nullopt};
  return id;
}

void Requester::cancel(RequestId id) {
  under_way_.erase(id);
  client_.endpoint->cancel(handle_, id);
}

void Requester::start(const Bulk& bulk) {
  bulks_.push_back({bulk});
  for (std::size_t i = 0; i < bulk.window; ++i) feed(bulks_.size() - 1);
}

void Requester::feed(std::size_t index) {
  Progress& progress = bulks_[index];
  if (progress.asked >= progress.bulk.total) return;
  progress.asked += progress.bulk.message;
  const std::uint32_t size = progress.bulk.message;
  const RequestId id = progress.bulk.up ? ask(progress.bulk.priority, size, 16)
                                        : ask(progress.bulk.priority, 64, size);
  under_way_.at(id).bulk = index;
}

bool Requester::bulk_done() const {
  return std::all_of(bulks_.begin(), bulks_.end(),
                     [](const Progress& progress) { return progress.done >= progress.bulk.total; });
}

}  // namespace rushfs::sim

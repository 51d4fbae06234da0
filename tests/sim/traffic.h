// Applications for the simulated world: a server that answers with as many bytes as it is asked
// for, and clients that move bulk data or ask small questions, checking every byte.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tests/sim/world.h"
#include "transport/path_report.h"

namespace rushfs::sim {

/// A body whose bytes follow from `tag`; its first 8 bytes are the tag and the size of the reply.
Buffer make_body(std::uint32_t tag, std::uint32_t reply_size, std::size_t size);
/// The bytes of a reply to a body of this tag.
Buffer make_reply(std::uint32_t tag, std::size_t size);

/// Answers every request; throws on a body that is not as it was sent.
class Responder {
 public:
  explicit Responder(World& world, Node& node);

  Duration thinking_time{};        // before each answer
  std::optional<BitRate> works_at;  // a slow disk: takes requests and gives replies at this rate
  std::uint64_t requests = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t bytes = 0;
  std::uint64_t connected = 0;
  std::optional<CloseReason> closed;
  TimePoint last_heard{};  // of who is gone
  std::optional<ConnectionHandle> last_connection;

 private:
  void on_request(ConnectionHandle connection, RequestArrived request);

  World& world_;
  Node& node_;
  TimePoint busy_until_{};
};

/// One client connection and what it has under way.
class Requester {
 public:
  Requester(World& world, Node& client, Node& server);

  /// Keeps `window` requests under way until `total` bytes were sent up (or asked down).
  struct Bulk {
    bool up = true;
    std::uint64_t total = 0;
    std::uint32_t message = 1 << 20;
    std::size_t window = 64;
    Priority priority = Priority::behind;
  };
  void start(const Bulk& bulk);
  /// Asks once; `answered` gets the time it took.
  RequestId ask(Priority priority, std::size_t size, std::uint32_t reply_size,
                std::function<void(Duration)> answered = {});
  void cancel(RequestId id);

  bool connected() const { return connected_; }
  const std::optional<CloseReason>& closed() const { return closed_; }
  std::uint64_t answers() const { return answers_; }
  std::size_t under_way() const { return under_way_.size(); }
  bool bulk_done() const;
  ConnectionHandle handle() const { return handle_; }
  PathReport report() { return client_.endpoint->report(handle_, world_.now()); }
  bool wait_connected(Duration limit = std::chrono::seconds(30));
  void reconnect(Node& server);

 private:
  struct Pending {
    std::uint32_t tag = 0;
    std::uint32_t reply_size = 0;
    TimePoint asked;
    std::function<void(Duration)> answered;
    std::optional<std::size_t> bulk;
  };
  struct Progress {
    Bulk bulk;
    std::uint64_t asked = 0;
    std::uint64_t done = 0;
  };
  void on_event(Event event);
  void feed(std::size_t bulk);

  World& world_;
  Node& client_;
  ConnectionHandle handle_;
  bool connected_ = false;
  std::optional<CloseReason> closed_;
  std::map<RequestId, Pending> under_way_;
  std::vector<Progress> bulks_;
  std::uint32_t next_tag_ = 1;
  std::uint64_t answers_ = 0;
};

}  // namespace rushfs::sim

// An export on a real directory and clients that talk to it through ServerSessions, all on the
// test's own thread: a call returns when its answer is there.
#pragma once

#include <unistd.h>

#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <optional>

#include "fs/protocol/notices.h"
#include "fs/server/directory_store.h"
#include "fs/server/server_sessions.h"
#include "tests/temporary_folder.h"

namespace rushfs::testing {

using namespace rushfs::fs;

/// A loop that runs when told to.
class ManualLoop : public Loop {
 public:
  void post(Job job) override { jobs_.push_back(std::move(job)); }
  bool run_one() {
    if (jobs_.empty()) return false;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    std::move(job)();
    return true;
  }
  std::size_t waiting() const { return jobs_.size(); }
  Job take() {
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }

 private:
  std::deque<Job> jobs_;
};

struct HarnessOptions {
  bool preserve_identity = geteuid() == 0;
  bool read_only = false;
  bool keep_state = true;
  std::size_t descriptors = ExportOptions().descriptors;
  std::shared_ptr<const Store> store{};  // none: the folder that is exported
};

/// One life of a server; destroy it to "kill" the server.
class ServerHarness : public ConnectionOutput {
 public:
  ServerHarness(const std::filesystem::path& root, const std::filesystem::path& state,
                HarnessOptions options = {})
      : sessions_([](const transport::PublicKey&, const std::string&) { return ExportGrant{}; },
                  *this, home_) {
    static std::uint64_t instance = 1;
    ExportOptions export_options;
    export_options.name = "footage";
    export_options.preserve_identity = options.preserve_identity;
    export_options.read_only = options.read_only;
    export_options.instance = {instance++};
    export_options.descriptors = options.descriptors;
    if (options.keep_state) export_options.state_folder = state;
    DirectoryOptions directory;
    directory.root = root;
    directory.node_key.fill(7);
    directory.preserve_identity = options.preserve_identity;
    auto store = options.store ? options.store : open_directory_store(directory);
    export_ = std::make_unique<Export>(export_options, std::move(store), home_, workers_, now);
    sessions_.add(*export_);
    settle();
  }

  void reply(transport::ConnectionHandle connection, transport::RequestId id,
             Buffer body) override {
    replies[{connection.value, id.value}] = std::move(body);
  }
  void request(transport::ConnectionHandle connection, Priority, Buffer body) override {
    if (auto notice = decode_notice(body)) notices[connection.value].push_back(std::move(*notice));
    if (answers_notices) sessions_.on_answered(connection);
  }
  void close(transport::ConnectionHandle connection, transport::CloseReason reason) override {
    closed[connection.value] = reason;
    sessions_.on_closed(connection, now, now);
  }

  void later(transport::Duration time, Loop::Job job) override {
    timers_.emplace(now + time, std::move(job));
  }

  /// Runs both loops until nothing is left to do.
  void settle() {
    while (home_.run_one() || workers_.run_one()) {
    }
  }
  /// Runs the home loop only: jobs stay with the workers.
  void settle_home() {
    while (home_.run_one()) {
    }
  }
  bool run_one_at_home() { return home_.run_one(); }
  /// The next job of the workers, for the test to run it when it likes.
  Loop::Job take_from_workers() { return workers_.take(); }
  std::size_t with_workers() const { return workers_.waiting(); }
  ServerSessions& sessions() { return sessions_; }
  Export& exported() { return *export_; }
  Export& served() { return *export_; }
  void advance(transport::Duration time) {
    now += time;
    while (!timers_.empty() && timers_.begin()->first <= now) {
      std::move(timers_.extract(timers_.begin()).mapped())();
    }
    sessions_.tick(now);
    settle();
  }

  transport::TimePoint now{std::chrono::hours(1)};
  std::map<std::pair<std::uint64_t, std::uint64_t>, Buffer> replies;
  std::map<std::uint64_t, transport::CloseReason> closed;
  std::map<std::uint64_t, std::vector<Notice>> notices;  // by connection
  bool answers_notices = true;

 private:
  ManualLoop home_, workers_;
  std::multimap<transport::TimePoint, Loop::Job> timers_;
  std::unique_ptr<Export> export_;
  ServerSessions sessions_;
};

class TestClient {
 public:
  explicit TestClient(std::uint8_t who) {
    key_.bytes.fill(who);
    id_.bytes.fill(who);
    incarnation_ = who;
  }

  /// Another client of the same person.
  void become(std::uint16_t other) {
    id_.bytes[0] = static_cast<std::uint8_t>(other);
    id_.bytes[1] = static_cast<std::uint8_t>(other >> 8);
  }

  /// A new connection to (perhaps another life of) the server.
  void connect(ServerHarness& server) {
    static std::uint64_t handle = 1;
    server_ = &server;
    connection_ = {handle++};
    server.sessions().on_connected(connection_, key_, server.now);
  }
  std::uint64_t features = 0;  // to offer
  Result<AttachReply> attach(const std::string& subpath = "",
                             const std::string& export_name = "footage") {
    Attach request;
    request.export_name = export_name;
    request.subpath = subpath;
    request.client = id_;
    request.incarnation = incarnation_;
    request.hostname = "cutting-room";
    request.features = features;
    auto reply = call(request);
    if (reply) root = reply->root;
    return reply;
  }
  void connect_and_attach(ServerHarness& server) {
    connect(server);
    REQUIRE(attach().has_value());
  }
  void disconnect() { server_->sessions().on_closed(connection_, server_->now, server_->now); }
  void begin_anew() { ++incarnation_; }

  transport::RequestId send(Buffer body, Priority priority = Priority::urgent) {
    const transport::RequestId id{next_request_ += 2};
    server_->sessions().on_request(connection_, id, priority, std::move(body), server_->now);
    return id;
  }
  template <class R>
  transport::RequestId send(const R& request, Priority priority = Priority::urgent) {
    return send(encode(request), priority);
  }
  /// None: not answered yet.
  template <class R>
  std::optional<Result<typename R::Reply>> answer(transport::RequestId id) {
    const auto reply = server_->replies.find({connection_.value, id.value});
    if (reply == server_->replies.end()) return std::nullopt;
    return decode_reply<typename R::Reply>(reply->second);
  }
  /// What the answer is long on the wire.
  std::size_t reply_bytes(transport::RequestId id) const {
    return server_->replies.at({connection_.value, id.value}).size();
  }
  template <class R>
  Result<typename R::Reply> call(const R& request) {
    const auto id = send(request);
    server_->settle();
    auto got = answer<R>(id);
    REQUIRE(got.has_value());
    return *got;
  }
  transport::ConnectionHandle connection() const { return connection_; }
  /// What it was told since the last call.
  std::vector<NoticedChange> noticed() {
    server_->settle();
    std::vector<NoticedChange> all;
    for (Notice& notice : std::exchange(server_->notices[connection_.value], {})) {
      CHECK(!notice.everything);
      all.insert(all.end(), notice.changes.begin(), notice.changes.end());
    }
    return all;
  }

  CallNumber number() { return {next_call_++, 1}; }

  // Shorthands.
  Create create(const std::string& name, std::uint32_t mode = 0644) {
    Create request;
    request.call = number();
    request.directory = root;
    request.name = name;
    request.mode = mode;
    request.exclusive = true;
    return request;
  }
  NodeId lookup(const std::string& name) {
    auto found = call(Lookup{root, name});
    REQUIRE(found.has_value());
    REQUIRE(found->entry.has_value());
    return found->entry->node;
  }
  Write write(const NodeId& node, std::uint64_t sequence, std::uint64_t after, std::uint64_t offset,
              const std::string& data) {
    written_.push_back(data);
    Write request;
    request.node = node;
    request.position = {sequence, after, 0};
    request.offset = offset;
    request.data = {reinterpret_cast<const std::uint8_t*>(written_.back().data()), data.size()};
    return request;
  }
  /// The content, or nothing with `error` set.
  std::string read(const NodeId& node, int* error = nullptr) {
    auto reply = call(Read{node, 0, 1 << 20});
    if (error != nullptr) *error = reply ? 0 : reply.error().value();
    if (!reply) return {};
    return std::string(reply->zeros_before, '\0') +
           std::string(reply->data.begin(), reply->data.end()) +
           std::string(reply->zeros_after, '\0');
  }

  NodeId root;

 private:
  transport::PublicKey key_;
  ClientId id_;
  std::uint64_t incarnation_;
  ServerHarness* server_ = nullptr;
  transport::ConnectionHandle connection_;
  std::uint64_t next_request_ = 0;
  std::uint64_t next_call_ = 1;
  std::deque<std::string> written_;
};

template <class T>
int error_of(const Result<T>& result) {
  return result ? 0 : result.error().value();
}

}  // namespace rushfs::testing

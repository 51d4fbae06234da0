// Clients and a server in one process, without FUSE, sockets, threads or a real clock: real Volume,
// Session and cache classes, a real Export on a real directory, and between them links that delay,
// reorder and drop connections on a seed. Crashes of either side are a function call. Exporting a
// store that depends on nothing but the seed, a world goes the same way each time.
#pragma once

#include <catch2/catch.hpp>

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "cache/block_cache.h"
#include "cache/write_queue.h"
#include "fs/client/session.h"
#include "fs/client/volume.h"
#include "fs/server/directory_store.h"
#include "fs/server/export.h"
#include "fs/server/server_sessions.h"
#include "tests/temporary_folder.h"

/// How a failed check shows a result: its error, if any.
template <class T>
struct Catch::StringMaker<boost::system::result<T>> {
  static std::string convert(const boost::system::result<T>& result) {
    return result ? "a value" : result.error().message();
  }
};

namespace rushfs::fs::test {

/// Jobs wait here until the world runs them.
class TestLoop : public Loop {
 public:
  void post(Job job) override { jobs_.push_back(std::move(job)); }
  bool step() { return step(0); }
  /// Not the oldest first, as where several threads take jobs: the one at `which`, modulo all.
  bool step(std::size_t which);
  void clear() { jobs_.clear(); }
  bool empty() const { return jobs_.empty(); }

 private:
  std::deque<Job> jobs_;
};

struct WorldOptions {
  std::uint64_t seed = 1;
  transport::Duration shortest_delay = std::chrono::milliseconds(10);  // one way
  transport::Duration longest_delay = std::chrono::milliseconds(10);
  std::uint64_t queue_budget = 1ULL << 30;
  std::uint64_t cache_budget = 1ULL << 28;
  transport::Duration timeout = std::chrono::seconds(60);
  std::size_t clients = 1;
  bool notices = false;  // clients ask to be told of changes, and are promised them (as root)
  testing::TemporaryFolder::Place place = testing::TemporaryFolder::Place::disk;
  /// Opens what is exported, at each start of the server; none: a folder of this machine.
  std::function<std::shared_ptr<const Store>(const LoopTime&)> store{};
};

class World : public ConnectionOutput {
 public:
  explicit World(WorldOptions options = {});
  ~World() override;

  /// Whom the calls below are about, and those of the client in question: 0 at first.
  void choose(std::size_t client) { chosen_ = client; }
  std::size_t chosen() const { return chosen_; }
  bool running() const { return running(chosen_); }
  bool running(std::size_t client) const { return clients_[client] != nullptr; }
  Volume& volume() { return volume(chosen_); }
  Volume& volume(std::size_t client);
  Session& session() { return session(chosen_); }
  Session& session(std::size_t client);
  const std::filesystem::path& exported() const { return exported_; }
  std::mt19937_64& random() { return random_; }
  transport::TimePoint now() const { return time_.now; }
  /// Calls that reached the server, by operation; for counting round trips.
  std::map<std::string, int> calls;
  /// Error to answer instead of carrying a call out; called with the operation's name.
  std::function<std::optional<int>(const std::string&)> sabotage;
  /// How much longer than others a call, or its answer, is under way; by the operation's name.
  std::map<std::string, transport::Duration> slow_calls, slow_answers;
  /// Called after each job of the server's workers: what is exported may have changed.
  std::function<void()> served;
  /// The server's workers are busy: what they are given waits.
  bool workers_rest = false;
  /// The disks of the clients are busy: what their write queues are given waits.
  bool queues_rest = false;
  /// Called with each message that arrives, and who sent it: a client, or -1 for the server.
  std::function<void(int client, const Buffer& body)> delivered;

  /// Runs the world until `done` or for `patience` of virtual time; false: the latter.
  bool run_until(const std::function<bool()>& done,
                 transport::Duration patience = std::chrono::minutes(10));
  void run_for(transport::Duration duration);
  /// Starts an operation and runs until it is answered. Fails the test if it never is.
  template <class T>
  Result<T> await(const std::function<void(Reply<T>)>& start) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    start(Reply<T>([answer](Result<T> result) { answer->emplace(std::move(result)); }));
    if (!run_until([&] { return answer->has_value(); })) give_up();
    return std::move(**answer);
  }

  // Shorthands; paths are relative to the root, errors are errno values in the result.
  Result<NodeNumber> find(const std::string& path);
  Result<Opened> open(const std::string& path, OpenFlags flags);
  Result<Created> create(const std::string& path, OpenFlags flags, std::uint32_t mode = 0644);
  Result<std::string> read(HandleNumber handle, std::uint64_t offset, std::uint64_t length);
  Result<std::uint64_t> write(HandleNumber handle, std::uint64_t offset, const std::string& data,
                              Through through = Through::pages);
  Result<void> close(HandleNumber handle);
  Result<std::string> read_file(const std::string& path);
  Result<void> write_file(const std::string& path, const std::string& data);
  Result<Attributes> stat(const std::string& path);
  Result<void> drain() {
    return await<void>([this](auto reply) { volume().wait_all(std::move(reply)); });
  }

  void cut_link();       // both sides are told
  /// Nothing arrives until it is over, or a side gives the connection up: the transport does it
  /// after 30 s, the client when it waited for 14 s.
  void silence_link(bool silent);
  bool silent(std::size_t client) const { return silent_[client]; }
  void kill_server();
  void start_server();
  /// While it is down: what was in the memory of its machine is lost (the caller sees to that).
  void boot_server_machine() { instance_ += 1ULL << 32; }
  bool server_running() const { return export_ != nullptr; }
  /// The server is about to be told what programs on its machine did.
  void disk_changed() {
    server_loop_.post([this] {
      if (export_) export_->look_at_disk();
    });
  }
  /// kill -9: what the disk has stays, nothing else; and the next start.
  void kill_client();
  void start_client();
  void start_client_unattached();
  /// Orderly end and start.
  void restart_client();

 private:
  struct Client;
  class Link;
  friend class Link;

  std::shared_ptr<const Store> open_store() const;
  void reply(transport::ConnectionHandle, transport::RequestId, Buffer body) override;
  void request(transport::ConnectionHandle, Priority, Buffer body) override;
  void close(transport::ConnectionHandle, transport::CloseReason) override;
  void later(transport::Duration wait, Loop::Job job) override;
  transport::Duration delay();
  std::filesystem::path client_folder(std::size_t client) const;
  Link* link_of(transport::ConnectionHandle handle);
  void tick();
  bool step();
  [[noreturn]] void give_up();

  WorldOptions options_;
  std::mt19937_64 random_;
  testing::TemporaryFolder folder_;
  std::filesystem::path exported_;
  LoopTime time_;
  std::multimap<transport::TimePoint, Loop::Job> events_;
  transport::TimePoint next_tick_{};

  TestLoop server_loop_, worker_loop_;
  std::unique_ptr<Export> export_;
  std::unique_ptr<ServerSessions> sessions_;
  std::uint64_t instance_ = 0;

  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<bool> silent_;
  std::size_t chosen_ = 0;
  std::uint64_t connections_ = 0;
  std::map<transport::ConnectionHandle, std::size_t> owners_;  // of connections
};

/// By the world's clock.
template <class Action>
transport::Duration time_of(World& world, Action action) {
  const auto before = world.now();
  action();
  return world.now() - before;
}

}  // namespace rushfs::fs::test

// An export with real worker threads: many clients at once, nothing lost, and no data race (run
// this under TSan).
#include <condition_variable>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "tests/fs/server_harness.h"

using namespace rushfs::testing;
namespace files = std::filesystem;

namespace {

/// A queue of jobs that any number of threads may serve.
class SharedLoop : public Loop {
 public:
  void post(Job job) override {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    wake_.notify_one();
  }
  /// False: stopped.
  bool run_one() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stopped_ || !jobs_.empty(); });
    if (jobs_.empty()) return false;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    std::move(job)();
    return true;
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    wake_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool stopped_ = false;
};

class Replies : public ConnectionOutput {
 public:
  void reply(rushfs::transport::ConnectionHandle connection, rushfs::transport::RequestId id,
             Buffer body) override {
    got[{connection.value, id.value}] = std::move(body);
  }
  void request(rushfs::transport::ConnectionHandle, Priority, Buffer) override {}
  void close(rushfs::transport::ConnectionHandle, rushfs::transport::CloseReason) override {}
  void later(rushfs::transport::Duration, Loop::Job) override {}
  std::map<std::pair<std::uint64_t, std::uint64_t>, Buffer> got;
};

constexpr int kClients = 4;
constexpr int kFiles = 10;
constexpr int kWrites = 20;

}  // namespace

TEST_CASE("clients that create, write, rename, read and remove at once do not disturb each other") {
  TemporaryFolder exported, state;
  SharedLoop home, workers;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      while (workers.run_one()) {
      }
    });
  {
    Replies replies;
    DirectoryOptions directory;
    directory.root = exported.path();
    directory.preserve_identity = geteuid() == 0;
    ExportOptions options;
    options.name = "footage";
    options.state_folder = state.path();
    Export served(options, open_directory_store(directory), home, workers,
                  rushfs::transport::Clock::now());
    ServerSessions sessions(
        [](const rushfs::transport::PublicKey&, const std::string&) { return ExportGrant{}; },
        replies, home);
    sessions.add(served);
    rushfs::transport::TimePoint now{std::chrono::hours(1)};
    std::uint64_t next = 0;
    const auto send = [&](std::uint64_t client, const auto& request) {
      const rushfs::transport::RequestId id{next += 2};
      sessions.on_request({client}, id, Priority::urgent, encode(request), now);
      return id;
    };
    const auto wait = [&](std::uint64_t client, rushfs::transport::RequestId id) {
      while (!replies.got.contains({client, id.value})) home.run_one();
      return replies.got[{client, id.value}];
    };
    std::vector<NodeId> roots(kClients);
    for (std::uint64_t c = 0; c < kClients; ++c) {
      rushfs::transport::PublicKey key;
      key.bytes.fill(static_cast<std::uint8_t>(c));
      sessions.on_connected({c}, key, now);
      Attach attach;
      attach.export_name = "footage";
      roots[c] = decode_reply<AttachReply>(wait(c, send(c, attach)))->root;
    }
    // Creations of all clients in one directory.
    std::vector<std::vector<rushfs::transport::RequestId>> created(kClients);
    for (int f = 0; f < kFiles; ++f) {
      for (std::uint64_t c = 0; c < kClients; ++c) {
        Create create;
        create.call = {static_cast<std::uint64_t>(f + 1), 1};
        create.directory = roots[c];
        create.name = std::to_string(c) + "-" + std::to_string(f);
        create.mode = 0644;
        create.exclusive = true;
        created[c].push_back(send(c, create));
      }
    }
    std::vector<std::vector<NodeId>> nodes(kClients);
    for (std::uint64_t c = 0; c < kClients; ++c) {
      for (const auto id : created[c]) {
        nodes[c].push_back(decode_reply<EntryReply>(wait(c, id))->entry.node);
      }
    }
    // Each writes its own files, in a shuffled order, while others list and rename.
    std::mt19937 random(5);
    std::vector<std::pair<std::uint64_t, rushfs::transport::RequestId>> waiting;
    const std::string digits = "0123456789abcdefghij";
    for (std::uint64_t c = 0; c < kClients; ++c) {
      std::vector<Write> writes;
      for (int f = 0; f < kFiles; ++f) {
        for (std::uint64_t w = 0; w < kWrites; ++w) {
          const std::uint64_t sequence = static_cast<std::uint64_t>(f) * kWrites + w + 1;
          Write write;
          write.node = nodes[c][static_cast<std::size_t>(f)];
          write.position = {sequence, w == 0 ? 0 : sequence - 1, 0};
          write.offset = w;
          write.data = {reinterpret_cast<const std::uint8_t*>(&digits[w]), 1};
          writes.push_back(write);
        }
      }
      std::shuffle(writes.begin(), writes.end(), random);
      for (const Write& write : writes) waiting.emplace_back(c, send(c, write));
      for (int f = 0; f < kFiles; f += 2) {
        const std::string name = std::to_string(c) + "-" + std::to_string(f);
        const Rename rename{{static_cast<std::uint64_t>(1000 + f), 1},
                            roots[c],
                            name,
                            roots[c],
                            "moved-" + name,
                            RenameMode::replace,
                            false};
        waiting.emplace_back(c, send(c, rename));
        waiting.emplace_back(c, send(c, ReadDirectory{roots[c], 0, 1 << 20, true}));
        waiting.emplace_back(c, send(c, Commit{nodes[c][static_cast<std::size_t>(f)], 0, false}));
      }
    }
    for (const auto& [c, id] : waiting) CHECK(wait(c, id)[0] == 0);
    for (std::uint64_t c = 0; c < kClients; ++c) {
      for (int f = 0; f < kFiles; ++f) {
        const std::string name = std::to_string(c) + "-" + std::to_string(f);
        CHECK(read_file(exported / (f % 2 == 0 ? "moved-" + name : name)) == digits);
      }
    }
  }
  workers.stop();
  for (std::thread& thread : threads) thread.join();
}

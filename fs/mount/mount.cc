#include "fs/mount/mount.h"

#include <spdlog/spdlog.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <stdexcept>
#include <thread>

#include "cache/block_cache.h"
#include "cache/write_queue.h"
#include "fs/asio_loop.h"
#include "fs/client/session.h"
#include "fs/client/volume.h"
#include "fs/mount/fuse_session.h"
#include "fs/mount/host.h"
#include "fs/mount/mount_guard.h"
#include "fs/mount/mount_memory.h"
#include "fs/mount/path_keeper.h"
#include "fs/mount/replay_process.h"
#include "fs/mount/udp_carrier.h"

namespace rushfs::fs {

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

/// How often the path is asked about: several times per round trip of a long link.
constexpr auto kPathInterval = 25ms;
/// What housekeeping (validity, commits, releases) is done in.
constexpr auto kHousekeeping = 1s;
/// Who asks for the status waits no longer than this for a busy cache disk.
constexpr auto kStatusPatience = 200ms;
/// For a server that was met before: a handshake and a repeat of it over 600 ms.
constexpr auto kPatienceWithMemory = 4s;
/// The network's refusals (ICMP) can be forged or pass; so many per address mean it.
constexpr std::uint64_t kRefusalsBelieved = 3;
/// How long a farewell may take, one datagram; and what was written just before it.
constexpr auto kFarewell = 500ms;

}  // namespace

class Mount::Implementation {
 public:
  explicit Implementation(MountConfig config);
  ~Implementation();

  bool connect(std::chrono::milliseconds patience);
  void start();
  void run();
  void stop();
  MountStatus status() const;
  void fresh_status(StatusHandler done);

  asio::io_context file_context;
  std::unique_ptr<transport::UdpDriver> driver;
  std::unique_ptr<Volume> volume;
  std::unique_ptr<Session> session;

 private:
  void refresh();
  void arm();
  void on_timer();
  void on_event(transport::DriverEvent event);
  void ask_path();
  void attached(const AttachReply& reply, bool restarted);
  transport::KeyJudge judge();
  bool network_refuses() const;
  void throw_failure() const;
  void leave();
  void finish();

  MountConfig config_;
  MountGuard guard_;  // forked, as the next, before there are files and threads
  std::unique_ptr<ReplayProcess> replay_;
  LoopTime time_;
  cache::WriteQueue queue_;  // refused before blocks of another format are given up
  cache::BlockCache blocks_;

  AsioLoop file_loop_{file_context, [this] { refresh(); }};
  asio::io_context network_context_;
  LoopThread blocks_thread_, queue_thread_;
  DiskLoop blocks_loop_{blocks_thread_, file_loop_};
  DiskLoop queue_loop_{queue_thread_, file_loop_};

  UdpCarrier carrier_;
  std::optional<PathKeeper> paths_;
  std::unique_ptr<FuseSession> fuse_;
  asio::steady_timer timer_{file_context};
  std::optional<transport::TimePoint> armed_;  // when it rings
  asio::steady_timer patience_{file_context};  // with the queue, once unmounted
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> network_work_;
  std::thread network_thread_;

  bool ended_ = false, finished_ = false;
  transport::TimePoint next_housekeeping_{}, next_path_{};
  std::optional<transport::PathReport> path_;
  std::uint64_t packets_received_ = 0;
  transport::UdpReport udp_;
  CacheStatus cache_;
  std::optional<transport::PublicKey> unexpected_key_;
};

Mount::Implementation::Implementation(MountConfig config)
    : config_(std::move(config)),
      replay_(config_.tell_watchers ? new ReplayProcess(config_.mount_point) : nullptr),
      queue_((make_cache_folder(config_.cache_directory),
              cache::WriteQueue::Options{config_.cache_directory / "queue"})),
      blocks_({config_.cache_directory / "blocks", config_.cache_size}),
      carrier_(config_.servers, judge()) {
  claim_cache_folder(config_.cache_directory, config_.export_name, queue_.stats().operations > 0);
  cache_.bytes = blocks_.stats().used_bytes;
  cache_.budget = config_.cache_size;
  refresh();
  driver = std::make_unique<transport::UdpDriver>(
      network_context_, config_.endpoint, config_.udp, [this](transport::DriverEvent event) {
        asio::post(file_context, [this, event = std::move(event)]() mutable {
          refresh();
          on_event(std::move(event));
        });
      });
  paths_.emplace(config_.cache_directory, *driver);
  SessionConfig session_config;
  session_config.export_name = config_.export_name;
  session_config.subpath = config_.subdirectory;
  session_config.client.bytes = queue_.id();
  session_config.incarnation = random_number();
  session_config.hostname = own_hostname();
  session_config.timeout = config_.timeout;
  session = std::make_unique<Session>(
      std::move(session_config), carrier_, time_, system_random,
      [this](const AttachReply& reply, bool restarted) { attached(reply, restarted); });
  session->on_notice([this](const Notice& notice) { volume->noticed(notice); });
  session->on_due([this] { arm(); });
  carrier_.attach(*driver, *session);
  volume = std::make_unique<Volume>(
      ClientParts{*session, blocks_loop_, blocks_, queue_loop_, queue_, time_},
      Volume::Options{config_.timeout, config_.read_only, own_hostname(), config_.access_times});
  volume->on_due([this] { arm(); });
  volume->restore();
  blocks_thread_.start();
  queue_thread_.start();
  network_work_.emplace(network_context_.get_executor());
  network_thread_ = std::thread([this] { network_context_.run(); });
}

Mount::Implementation::~Implementation() {
  if (fuse_) fuse_->unmount();
  if (!finished_) finish();
  // What the disk loops still had to say, so that no answer is dropped unsaid.
  queue_thread_.stop();
  blocks_thread_.stop();
  file_context.restart();
  file_context.poll();
  volume.reset();
  fuse_.reset();
  driver.reset();  // it says so to the network's loop, a later member
}

void Mount::Implementation::refresh() {
  time_.now = transport::Clock::now();
  time_.wall = wall_clock();
}

void Mount::Implementation::arm() {
  auto due = session->deadline();
  if (volume) due = std::min(due, volume->deadline().value_or(due));
  if (std::exchange(armed_, due) == due) return;
  timer_.expires_at(due);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) on_timer();
  });
}

void Mount::Implementation::on_timer() {
  armed_.reset();
  refresh();
  session->tick();
  volume->send_gathered();
  if (time_.now >= next_housekeeping_) {
    next_housekeeping_ = time_.now + kHousekeeping;
    volume->tick(session->attached());
    if (fuse_) fuse_->tick();
    blocks_loop_.run([this] { return (blocks_.flush(), blocks_.stats()); },
                     [this](cache::BlockCacheStats stats) {
                       cache_.bytes = stats.used_bytes;
                       cache_.budget = stats.budget_bytes;
                     });
    ask_path();
    paths_->tick(path_, time_.now, file_loop_, queue_loop_);
  }
  arm();
}

void Mount::Implementation::on_event(transport::DriverEvent event) {
  if (finished_) return;
  const bool answer = std::holds_alternative<transport::CallAnswered>(event.body);
  carrier_.on_event(std::move(event));
  if (!answer) return arm();
  if (time_.now >= next_path_) ask_path();
}

void Mount::Implementation::ask_path() {
  next_path_ = time_.now + kPathInterval;
  driver->post([this, connection = carrier_.connection()](transport::Endpoint& endpoint,
                                                          transport::TimePoint now) {
    std::optional<transport::PathReport> path;
    if (connection) path = endpoint.report(*connection, now);
    asio::post(file_context, [this, path, udp = driver->report()] {
      udp_ = udp;
      path_ = path;
      if (!path_) return;
      path_->limit = volume->set_path(*path_);
      if (path_->packets_received != std::exchange(packets_received_, path_->packets_received)) {
        session->heard();
      }
    });
  });
}

void Mount::Implementation::attached(const AttachReply& reply, bool restarted) {
  volume->attached(reply, restarted);
  queue_loop_.run([folder = config_.cache_directory,
                   memory = MountMemory{config_.servers, reply}] { remember(folder, memory); });
}

// Asked on the network loop; the key that was not expected is for the person who mounts.
transport::KeyJudge Mount::Implementation::judge() {
  return [this, expected = config_.expected_server](const transport::PublicKey& key) {
    if (expected(key)) return true;
    asio::post(file_context, [this, key] { unexpected_key_ = key; });
    return false;
  };
}

bool Mount::Implementation::network_refuses() const {
  return udp_.last_error && udp_.last_error->count >= kRefusalsBelieved * config_.servers.size();
}

void Mount::Implementation::throw_failure() const {
  const auto refusal = session->refusal();
  const auto reason = session->close_reason();
  if (refusal && !reason) throw std::runtime_error(config_.server_name + ": " + *refusal);
  const auto sentence = session->status().reason;
  ConnectFailure failure(config_.server_name + ": " +
                         (sentence.empty() ? "the server does not answer" : sentence));
  failure.reason = reason.value_or(
      transport::CloseReason{transport::CloseCode::handshake_timeout, false, ""});
  failure.server_key = unexpected_key_;
  if (udp_.last_error) failure.network_error = udp_.last_error->error;
  throw failure;
}

bool Mount::Implementation::connect(std::chrono::milliseconds patience) {
  refresh();
  const auto memory = recall(config_.cache_directory);
  if (memory) patience = std::min<std::chrono::milliseconds>(patience, kPatienceWithMemory);
  const auto until = time_.now + patience;
  const auto work = asio::make_work_guard(file_context);
  session->start();
  arm();
  while (!session->attached()) {
    if (session->refusal()) throw_failure();
    if (network_refuses() || transport::Clock::now() >= until) {
      if (!memory) throw_failure();
      volume->remembered(memory->attached);
      return false;
    }
    file_context.run_one_until(std::min(until, transport::Clock::now() + kPathInterval));
    refresh();
    if (time_.now >= next_path_) ask_path();
  }
  return true;
}

void Mount::Implementation::start() {
  std::string source = config_.server_name + ":/" + config_.export_name;
  if (!config_.subdirectory.empty()) source += "/" + config_.subdirectory;
  FuseOptions options{config_.mount_point,  source,         config_.allow_other, config_.read_only,
                      config_.fuse_options, replay_.get(), &guard_};
  fuse_ = std::make_unique<FuseSession>(file_context, *volume, options, [this] { refresh(); });
  volume->set_kernel(fuse_.get());
  fuse_->mount([this] { leave(); });
}

void Mount::Implementation::run() {
  const auto work = asio::make_work_guard(file_context);
  file_context.restart();
  file_context.run();
  finish();
}

void Mount::Implementation::stop() {
  asio::post(file_context, [this] {
    if (fuse_) fuse_->unmount();
    leave();
  });
}

// The server need keep nothing for us, unless something stays queued: it gets a moment to be sent.
void Mount::Implementation::leave() {
  if (std::exchange(ended_, true)) return;
  volume->close_all([this](Result<void>) {
    if (!session->reachable()) return file_context.stop();
    patience_.expires_after(kFarewell);
    patience_.async_wait([this](const auto& error) {
      if (!error) file_context.stop();
    });
    volume->wait_all([this](Result<void> sent) {
      if (!sent || volume->queue_status().operations > 0) return;
      patience_.cancel();
      ask(*session, transport::Priority::urgent, Detach{},
          [this](const Result<Answer<EmptyReply>>&) { file_context.stop(); }, Patience::glance);
    });
  });
}

// Orderly end: waiting callers are told, the queue is made durable, the server hears a farewell.
void Mount::Implementation::finish() {
  finished_ = true;
  refresh();
  volume->stop();
  session->stop();
  queue_loop_.run([this] {
    if (const auto result = queue_.commit(); !result) {
      spdlog::error("the write queue could not be made durable: {}", result.error().message());
    }
  });
  paths_->shut_down(kFarewell);
  driver->stop();
  network_work_.reset();
  network_context_.stop();
  network_thread_.join();
}

MountStatus Mount::Implementation::status() const {
  MountStatus status;
  status.server = config_.server_name;
  status.export_name = config_.export_name;
  status.mount_point = config_.mount_point;
  status.link = session->status();
  status.queue = volume->queue_status();
  status.cache = volume->cache_status();
  status.cache.bytes = cache_.bytes;
  status.cache.budget = cache_.budget;
  status.path = path_;
  status.udp = udp_;
  status.round_trips = session->waits();
  status.notices = session->notices();
  status.noticed_changes = session->noticed_changes();
  status.bytes_read = volume->bytes_read();
  status.bytes_written = volume->bytes_written();
  status.open_files = volume->open_files();
  return status;
}

void Mount::Implementation::fresh_status(StatusHandler done) {
  const auto asked = std::make_shared<StatusHandler>(std::move(done));
  const auto patience = std::make_shared<asio::steady_timer>(file_context, kStatusPatience);
  const auto answer = [this, asked, patience] {
    if (!*asked) return;  // it was answered
    patience->cancel();
    std::move(std::exchange(*asked, nullptr))(status());
  };
  patience->async_wait([answer](const boost::system::error_code& error) {
    if (!error) answer();
  });
  blocks_loop_.run([this] { return blocks_.stats(); }, [this, answer](const auto& stats) {
    cache_.bytes = stats.used_bytes;
    answer();
  });
}

Mount::Mount(MountConfig config)
    : implementation_(std::make_unique<Implementation>(std::move(config))) {}
Mount::~Mount() = default;
bool Mount::connect(std::chrono::milliseconds most) { return implementation_->connect(most); }
void Mount::start() { implementation_->start(); }
void Mount::run() { implementation_->run(); }
void Mount::stop() { implementation_->stop(); }
asio::io_context& Mount::file_loop() { return implementation_->file_context; }
void Mount::status(StatusHandler done) { implementation_->fresh_status(std::move(done)); }
using Done = Reply<void>::Handler;
void Mount::wait_all(Done done) { implementation_->volume->wait_all(std::move(done)); }
void Mount::wait_file(std::string path, Done done) {
  implementation_->volume->wait_file(std::move(path), std::move(done));
}
void Mount::retry_now() {
  implementation_->session->retry_now();
  implementation_->volume->retry_now();
}
void Mount::discard_parked(std::uint64_t operation, Done done) {
  implementation_->volume->discard_parked(operation, std::move(done));
}
void Mount::set_rate(transport::RateLimits limits) { implementation_->driver->set_rate(limits); }

}  // namespace rushfs::fs

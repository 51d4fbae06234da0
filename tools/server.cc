#include "tools/server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <csignal>
#include <variant>

#include "fs/server/directory_store.h"
#include "tools/credentials.h"
#include "tools/error.h"
#include "tools/process.h"
#include "tools/server_secrets.h"

namespace rushfs::tools {
namespace {

// As many system calls as one disk or array can usefully have at once.
constexpr unsigned kWorkers = 16;
/// Sockets, state files, and what the workers open for a moment.
constexpr std::size_t kDescriptorsForAllElse = 256;
constexpr auto kTick = std::chrono::seconds(5);

SharedKeys load_keys(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error) && !error) {
    spdlog::warn("There is no {}: nobody may connect. Put the line that `rushfs keygen` prints "
                 "on a client into it; it is read again when it changes.", file.string());
    return std::make_shared<const transport::AuthorizedKeys>();
  }
  auto keys = std::make_shared<const transport::AuthorizedKeys>(
      transport::AuthorizedKeys::load(file));
  for (const transport::BadLine& line : keys->bad_lines()) {
    spdlog::warn("{}:{} is ignored: {}", file.string(), line.number, line.reason);
  }
  return keys;
}

bool preserves_identity(const ServerConfig& config) {
  const bool root = geteuid() == 0;
  if (config.identity_mapping == "preserve" && !root) {
    throw CommandError(ExitCode::failure, "identity_mapping = \"preserve\" needs root.");
  }
  return root && config.identity_mapping != "squash";
}

/// One folder is the other, or in it.
bool overlap(const std::filesystem::path& one, const std::filesystem::path& other) {
  const auto a = std::filesystem::weakly_canonical(one);
  const auto b = std::filesystem::weakly_canonical(other);
  const auto [end_a, end_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return end_a == a.end() || end_b == b.end();
}

/// Another export that shows files of this one too.
const ExportConfig* beside(const ServerConfig& config, const ExportConfig& exported) {
  for (const ExportConfig& other : config.exports) {
    const bool both = &other != &exported && overlap(other.directory, exported.directory);
    if (both) return &other;
  }
  return nullptr;
}

}  // namespace

Server::Server(const ServerConfig& config)
    : keys_file_(config.authorized_keys),
      network_keys_(std::make_shared<SharedKeys>(load_keys(keys_file_))),
      clients_(*network_keys_) {
  const auto identity = load_identity(config.identity);
  sessions_ = std::make_unique<fs::ServerSessions>(
      [this](const transport::PublicKey& key, const std::string& name) {
        return clients_.grant(key, name);
      },
      static_cast<fs::ConnectionOutput&>(*this), home_);
  open_exports(config, *identity);
  open_socket(config, identity);
  keys_watch_ = std::make_unique<FileWatch>(file_loop_, keys_file_, [this] { reload_keys(); });
  spdlog::info("Listening on {}, key {}", transport::to_string(address()),
               transport::fingerprint(identity->public_key()));
  const std::string advice = transport::buffer_advice(driver_->report());
  if (!advice.empty()) spdlog::warn("{}", advice);
}

Server::~Server() {
  for (WorkerPool& workers : workers_) workers.stop();
  file_loop_.restart();
  file_loop_.poll();  // what the workers brought back
}

void Server::open_exports(const ServerConfig& config, const transport::Identity& identity) {
  const bool preserve = preserves_identity(config);
  const fs::InstanceId instance = new_instance(identity);
  for (const ExportConfig& exported : config.exports) {
    fs::ExportOptions options;
    options.name = exported.name;
    options.read_only = exported.read_only;
    options.preserve_identity = preserve;
    options.squash_uid = geteuid();
    options.squash_gid = getegid();
    const ExportConfig* const other = beside(config, exported);
    options.beside_another = other != nullptr;
    options.instance = instance;
    options.workers = kWorkers;
    options.descriptors = (file_limit() - std::min(file_limit(), kDescriptorsForAllElse)) /
                          config.exports.size();
    options.state_folder = state_folder(config, exported, identity);
    std::filesystem::create_directories(options.state_folder);
    const fs::DirectoryOptions directory{exported.directory, node_key(identity, exported.name),
                                         preserve};
    exports_.push_back(std::make_unique<fs::Export>(
        std::move(options), fs::open_directory_store(directory), home_,
        workers_.emplace_back(kWorkers), transport::Clock::now()));
    sessions_->add(*exports_.back());
    watch_disk(*exports_.back());
    spdlog::info("Exporting {} as {}{}", exported.directory.string(), exported.name,
                 exported.read_only ? ", read only" : "");
    if (other == nullptr) continue;
    spdlog::warn("Export {} shows files of {} too: its clients see changes only within a second, "
                 "and locks hold only within one export",
                 exported.name, other->name);
  }
}

void Server::open_socket(const ServerConfig& config,
                         std::shared_ptr<const transport::Identity> identity) {
  transport::EndpointConfig endpoint;
  endpoint.identity = std::move(identity);
  endpoint.max_rate = config.max_rate;
  endpoint.max_rate_per_client = config.max_rate_per_client;
  endpoint.accept_client = [keys_now = network_keys_](const transport::PublicKey& key,
                                                      const transport::Address& from) {
    const transport::AuthorizedKey* const entry = (*keys_now)->find(key);
    transport::Admission admission = entry != nullptr && entry->may_come_from(from);
    if (admission.admitted && entry->max_rate) admission.max_rate = *entry->max_rate;
    return admission;
  };
  transport::UdpOptions udp;
  udp.listen = transport::parse_address(config.listen);
  udp.dscp = static_cast<std::uint8_t>(config.dscp);
  driver_ = std::make_unique<transport::UdpDriver>(
      network_loop_, std::move(endpoint), udp,
      [this](transport::DriverEvent event) { on_network_event(std::move(event)); });
}

void Server::on_network_event(transport::DriverEvent event) {
  if (std::holds_alternative<transport::Connected>(event.body)) {
    const transport::PublicKey key = driver_->endpoint().peer_key(event.connection);
    boost::asio::post(file_loop_, [this, connection = event.connection, key] {
      on_connected(connection, key);
    });
    return;
  }
  boost::asio::post(file_loop_,
                    [this, event = std::move(event)]() mutable { on_event(std::move(event)); });
}

void Server::on_connected(transport::ConnectionHandle connection,
                          const transport::PublicKey& key) {
  spdlog::info("{} connected", clients_.name(key));
  clients_.connected(connection, key);
  sessions_->on_connected(connection, key, transport::Clock::now());
}

void Server::on_event(transport::DriverEvent event) {
  const auto now = transport::Clock::now();
  if (auto* request = std::get_if<transport::RequestArrived>(&event.body)) {
    sessions_->on_request(event.connection, request->id, request->priority,
                          std::move(request->body), now);
  } else if (auto* cancelled = std::get_if<transport::RequestCancelled>(&event.body)) {
    sessions_->on_cancelled(event.connection, cancelled->id);
  } else if (std::holds_alternative<transport::CallAnswered>(event.body)) {
    sessions_->on_answered(event.connection);
  } else if (auto* closed = std::get_if<transport::Closed>(&event.body)) {
    spdlog::info("A client left: {} (code {})", closed->reason.text,
                 static_cast<int>(closed->reason.code));
    clients_.closed(event.connection);
    sessions_->on_closed(event.connection, closed->last_heard, now);
  }
}

void Server::reply(transport::ConnectionHandle connection, transport::RequestId id,
                   transport::Buffer body) {
  driver_->reply(connection, id, std::move(body));
}

void Server::request(transport::ConnectionHandle connection, transport::Priority priority,
                     transport::Buffer body) {
  driver_->request(connection, priority, std::move(body), {});
}

void Server::watch_disk(fs::Export& exported) {
  const auto descriptor = exported.disk_descriptor();
  if (!descriptor) return;
  auto& watch = disk_watches_.emplace_back(file_loop_, ::dup(*descriptor));
  auto wait = [&watch, &exported](auto& self) -> void {
    watch.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [&exported, self](const boost::system::error_code& error) mutable {
                       // Where the disk was replaced, nobody reads what the old one says.
                       if (error || !exported.disk_descriptor()) return;
                       exported.look_at_disk();
                       self(self);
                     });
  };
  wait(wait);
}

void Server::close(transport::ConnectionHandle connection, transport::CloseReason reason) {
  driver_->close(connection, std::move(reason));
}

void Server::later(transport::Duration time, fs::Loop::Job job) {
  const auto timer = std::make_shared<boost::asio::steady_timer>(file_loop_, time);
  timer->async_wait([timer, job = std::move(job)](const boost::system::error_code&) mutable {
    std::move(job)();
  });
}

void Server::reload_keys() {
  SharedKeys keys;
  try {
    keys = load_keys(keys_file_);
  } catch (const std::exception& error) {
    spdlog::error("The keys stay as they were: {}", error.what());
    return;
  }
  spdlog::info("Read {} again: {} keys", keys_file_.string(), keys->keys().size());
  boost::asio::post(network_loop_, [shared = network_keys_, keys] { *shared = keys; });
  for (auto& [connection, reason] : clients_.replace(keys)) {
    driver_->close(connection, std::move(reason));
  }
}

void Server::tick_later() {
  timer_.expires_after(kTick);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    sessions_->tick(transport::Clock::now());
    tick_later();
  });
}

void Server::stop() {
  spdlog::info("Stopping");
  driver_->shutdown({transport::CloseCode::none, false, "the server is stopping"}, [this] {
    network_loop_.stop();
    file_loop_.stop();
  });
}

void Server::run() {
  const auto keep_network = boost::asio::make_work_guard(network_loop_);
  std::thread network([this] { network_loop_.run(); });
  signals_.add(SIGTERM);
  signals_.add(SIGINT);
  signals_.async_wait([this](const boost::system::error_code& error, int) {
    if (!error) stop();
  });
  tick_later();
  file_loop_.run();
  network.join();
}

}  // namespace rushfs::tools

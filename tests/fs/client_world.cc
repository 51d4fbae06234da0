#include "client_world.h"

#include <fcntl.h>
#include <unistd.h>

#include "tests/fs/open_or_create.h"

namespace rushfs::fs::test {

namespace {

using namespace std::chrono_literals;
/// As the transport: after so long without a sign of life a connection ends.
constexpr auto kIdle = 30s;

transport::PublicKey key_of(std::size_t client) {
  transport::PublicKey key{};
  key.bytes[0] = static_cast<std::uint8_t>(client);
  return key;
}

}  // namespace

bool TestLoop::step(std::size_t which) {
  if (jobs_.empty()) return false;
  const auto at = jobs_.begin() + static_cast<std::ptrdiff_t>(which % jobs_.size());
  auto job = std::move(*at);
  jobs_.erase(at);
  std::move(job)();
  return true;
}

/// A client's connection to the server: one at a time, numbered.
class World::Link : public Carrier {
 public:
  Link(World& world, std::size_t client) : world_(world), client_(client) {}
  ~Link() override { *alive_ = false; }

  void connect() override {
    const transport::ConnectionHandle handle{++world_.connections_};
    current_ = handle;
    world_.owners_[handle] = client_;
    after_delay(handle, [this, handle] {
      if (!world_.sessions_ || silent()) {
        transport::CloseReason reason{transport::CloseCode::handshake_timeout, false, ""};
        return world_.later(1s, guarded([this, handle, reason] { closed(handle, reason); }));
      }
      world_.sessions_->on_connected(handle, key_of(client_), world_.time_.now);
      world_.later(world_.delay(), guarded([this, handle] {
        if (current_ == handle) session().connected();
      }));
    });
  }
  void request(std::uint64_t token, Priority priority, transport::Body sent) override {
    const auto handle = *current_;
    const std::string operation = operation_name(sent.bytes());
    const auto slow = world_.slow_answers.find(operation);
    if (slow != world_.slow_answers.end()) slow_answers_[{handle, token}] = slow->second;
    const auto detour =
        world_.slow_calls.contains(operation) ? world_.slow_calls.at(operation) : 0s;
    auto job = [=, this, body = Buffer(sent.bytes().begin(), sent.bytes().end())]() mutable {
      if (!world_.sessions_) return;
      if (world_.delivered) world_.delivered(static_cast<int>(client_), body);
      ++world_.calls[operation];
      const auto error = world_.sabotage ? world_.sabotage(operation) : std::nullopt;
      if (error) return world_.reply(handle, {token}, encode_error(*error));
      world_.sessions_->on_request(handle, {token}, priority, std::move(body), world_.time_.now);
    };
    deliver(handle, std::move(job), detour);
  }
  void cancel(std::uint64_t token) override {
    if (!current_) return;
    deliver(*current_, [this, handle = *current_, token] {
      if (world_.sessions_) world_.sessions_->on_cancelled(handle, {token});
    });
  }
  void reply(transport::RequestId, transport::Body) override {
    if (!current_) return;
    deliver(*current_, [this, handle = *current_] {
      if (world_.sessions_) world_.sessions_->on_answered(handle);
    });
  }
  void disconnect(transport::CloseReason reason) override {
    if (current_) drop(reason);
  }

  void answered(transport::ConnectionHandle handle, std::uint64_t token, Buffer body) {
    auto job = [this, token, body = std::move(body)]() mutable {
      if (world_.delivered) world_.delivered(-1, body);
      session().answered(token, std::move(body));
    };
    const auto slow = slow_answers_.extract({handle, token});
    deliver(handle, std::move(job), slow ? slow.mapped() : 0s);
  }
  void asked(transport::ConnectionHandle handle, Buffer body) {
    deliver(handle, [this, body = std::move(body)]() mutable {
      if (world_.delivered) world_.delivered(-1, body);
      session().asked({}, std::move(body));
    });
  }
  void closed(transport::ConnectionHandle handle, const transport::CloseReason& reason) {
    if (current_ != handle) return;
    current_.reset();
    if (world_.running(client_)) session().closed(reason);  // not while it is being destroyed
  }
  /// Both sides hear of the end; what is on its way is lost.
  void drop(const transport::CloseReason& reason) {
    if (!current_) return;
    const auto handle = *current_;
    const auto last_heard = silent_since_.value_or(world_.time_.now);
    world_.later(silent() ? kIdle : 0s, [&world = world_, handle, last_heard] {
      if (world.sessions_) world.sessions_->on_closed(handle, last_heard, world.time_.now);
    });
    closed(handle, reason);
  }
  void silence_changed() {
    silent_since_.reset();
    if (silent()) silent_since_ = world_.time_.now;
    for (auto& [handle, job] : std::exchange(held_up_, {})) deliver(handle, std::move(job));
  }
  void tick() {
    if (current_ && !silent() && world_.sessions_ && session().attached()) session().heard();
    const bool idle = silent_since_ && world_.time_.now - *silent_since_ >= kIdle;
    if (idle) drop({transport::CloseCode::idle_timeout, false, ""});
  }

 private:
  bool silent() const { return world_.silent_[client_]; }
  Session& session() { return world_.session(client_); }
  template <class Job>
  std::function<void()> guarded(Job job) {
    auto shared = std::make_shared<Job>(std::move(job));
    return [alive = alive_, shared] {
      if (*alive) (*shared)();
    };
  }
  template <class Job>
  void after_delay(transport::ConnectionHandle handle, Job job, transport::Duration detour = {}) {
    auto shared = std::make_shared<Job>(std::move(job));
    world_.later(world_.delay() + detour, guarded([this, handle, shared] {
      if (current_ == handle) (*shared)();
    }));
  }
  /// The transport repeats what was lost until the connection ends: silence delays.
  template <class Job>
  void deliver(transport::ConnectionHandle handle, Job job, transport::Duration detour = {}) {
    auto shared = std::make_shared<Job>(std::move(job));
    auto arrived = [this, handle, shared] {
      if (!silent()) return (*shared)();
      held_up_.emplace_back(handle, [shared] { (*shared)(); });
    };
    after_delay(handle, std::move(arrived), detour);
  }

  World& world_;
  const std::size_t client_;
  std::optional<transport::ConnectionHandle> current_;
  std::optional<transport::TimePoint> silent_since_;
  std::vector<std::pair<transport::ConnectionHandle, std::function<void()>>> held_up_;
  std::map<std::pair<transport::ConnectionHandle, std::uint64_t>, transport::Duration>
      slow_answers_;  // of calls that are not answered yet
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

struct World::Client {
  Client(World& world, std::size_t number)
      : folder(world.client_folder(number)),
        link(world, number),
        blocks(std::make_unique<cache::BlockCache>(
            cache::BlockCache::Options{folder / "blocks", world.options_.cache_budget})),
        queue(std::make_unique<cache::WriteQueue>(
            cache::WriteQueue::Options{folder / "queue", world.options_.queue_budget})) {
    SessionConfig config;
    config.export_name = "footage";
    config.client.bytes = queue->id();
    if (world.options_.store) config.client.bytes = {static_cast<std::uint8_t>(number)};
    config.incarnation = world.random_();
    config.hostname = "editor" + (number > 0 ? std::to_string(number) : "");
    config.timeout = world.options_.timeout;
    auto random = [&world](std::span<std::uint8_t> bytes) {
      for (auto& byte : bytes) byte = static_cast<std::uint8_t>(world.random_());
    };
    auto attached = [this](auto& reply, bool again) { volume->attached(reply, again); };
    session = std::make_unique<Session>(config, link, world.time_, random, attached);
    volume = std::make_unique<Volume>(
        ClientParts{*session, blocks_loop, *blocks, queue_loop, *queue, world.time_},
        Volume::Options{world.options_.timeout, false, config.hostname});
    if (world.options_.notices) {
      session->on_notice([this](const Notice& notice) { volume->noticed(notice); });
    }
    volume->restore();
    session->start();
  }
  transport::TimePoint deadline() const {
    return std::min(session->deadline(), volume->deadline().value_or(session->deadline()));
  }
  void on_timer() { session->tick(), volume->send_gathered(); }
  ~Client() {
    volume->stop();
    session->stop();
    while (queue_jobs.step() || block_jobs.step() || file.step()) continue;
    volume.reset();
  }

  const std::filesystem::path folder;
  TestLoop file, block_jobs, queue_jobs;
  const std::array<TestLoop*, 3> loops{&file, &block_jobs, &queue_jobs};
  DiskLoop blocks_loop{block_jobs, file}, queue_loop{queue_jobs, file};
  Link link;
  std::unique_ptr<cache::BlockCache> blocks;
  std::unique_ptr<cache::WriteQueue> queue;
  std::unique_ptr<Session> session;
  std::unique_ptr<Volume> volume;
};

Volume& World::volume(std::size_t client) { return *clients_[client]->volume; }
Session& World::session(std::size_t client) { return *clients_[client]->session; }

std::filesystem::path World::client_folder(std::size_t client) const {
  return folder_ / ("client" + std::to_string(client));
}

World::World(WorldOptions options)
    : options_(options),
      random_(options.seed),
      folder_(options.place),
      exported_(folder_ / "exported"),
      clients_(options.clients),
      silent_(options.clients) {
  std::filesystem::create_directories(exported_);
  time_.now = transport::TimePoint{} + 1h;
  time_.wall = std::chrono::system_clock::now().time_since_epoch();
  if (options.store) time_.wall = 500'000h;  // some day in 2027
  start_server();
  for (chosen_ = 0; chosen_ < options.clients; ++chosen_) start_client();
  chosen_ = 0;
}

World::~World() {
  for (auto& client : clients_) client.reset();
  kill_server();
}

std::shared_ptr<const Store> World::open_store() const {
  if (options_.store) return options_.store(time_);
  DirectoryOptions directory;
  directory.root = exported_;
  directory.preserve_identity = geteuid() == 0;
  return open_directory_store(directory);
}

void World::start_server() {
  ExportOptions options;
  options.name = "footage";
  options.preserve_identity = geteuid() == 0 || options_.store;
  options.squash_uid = geteuid();
  options.squash_gid = getegid();
  options.instance = {++instance_};
  options.state_folder = folder_ / "state";
  std::filesystem::create_directories(options.state_folder);
  export_ = std::make_unique<Export>(options, open_store(), server_loop_, worker_loop_, time_.now);
  sessions_ = std::make_unique<ServerSessions>(
      [](const auto&, const auto&) { return ExportGrant{}; }, *this, server_loop_);
  sessions_->add(*export_);
}

void World::kill_server() {
  if (!export_) return;
  sessions_.reset();
  export_.reset();
  server_loop_.clear();
  worker_loop_.clear();
  for (auto& client : clients_) {
    if (client) client->link.drop({transport::CloseCode::idle_timeout, false, ""});
  }
}

void World::start_client_unattached() {
  clients_[chosen_] = std::make_unique<Client>(*this, chosen_);
}

void World::start_client() {
  start_client_unattached();
  if (sessions_ && !silent_[chosen_]) REQUIRE(run_until([this] { return session().attached(); }));
}

void World::kill_client() {
  // The state of the files at this moment is what kill -9 leaves.
  const auto folder = client_folder(chosen_), image = folder_ / "image";
  std::filesystem::copy(folder, image, std::filesystem::copy_options::recursive);
  clients_[chosen_]->link.drop({transport::CloseCode::idle_timeout, false, ""});
  clients_[chosen_].reset();
  std::filesystem::remove_all(folder);
  std::filesystem::rename(image, folder);
}

void World::restart_client() {
  clients_[chosen_].reset();
  start_client();
}

void World::cut_link() {
  clients_[chosen_]->link.drop({transport::CloseCode::idle_timeout, false, ""});
}
void World::silence_link(bool silent) {
  silent_[chosen_] = silent;
  if (running()) clients_[chosen_]->link.silence_changed();
}

World::Link* World::link_of(transport::ConnectionHandle handle) {
  const auto& client = clients_[owners_.at(handle)];
  return client ? &client->link : nullptr;
}

void World::reply(transport::ConnectionHandle handle, transport::RequestId id, Buffer body) {
  if (Link* link = link_of(handle)) link->answered(handle, id.value, std::move(body));
}

void World::request(transport::ConnectionHandle handle, Priority, Buffer body) {
  if (Link* link = link_of(handle)) link->asked(handle, std::move(body));
}

void World::close(transport::ConnectionHandle handle, transport::CloseReason reason) {
  later(delay(), [this, handle, reason] {
    if (Link* link = link_of(handle)) link->closed(handle, reason);
  });
}

void World::later(transport::Duration wait, Loop::Job job) {
  events_.emplace(time_.now + wait, std::move(job));
}

transport::Duration World::delay() {
  const auto spread = (options_.longest_delay - options_.shortest_delay).count();
  return options_.shortest_delay +
         transport::Duration(spread > 0 ? static_cast<long>(random_() %
                                                            static_cast<unsigned long>(spread))
                                        : 0);
}

void World::tick() {
  next_tick_ = time_.now + 1s;
  for (auto& client : clients_) {
    if (!client) continue;
    client->volume->tick(client->session->attached());
    client->blocks_loop.run([&blocks = *client->blocks] { blocks.flush(); });  // as Mount does
    client->link.tick();
  }
  if (sessions_) sessions_->tick(time_.now);
  if (export_) export_->tick(time_.now);
}

// One job of some loop, in an order of the seed's choice; or else the next event in time.
bool World::step() {
  const std::size_t loops = 2 + 3 * clients_.size(), first = random_() % loops;
  for (std::size_t i = 0; i < loops; ++i) {
    const std::size_t which = (first + i) % loops;
    if (which == 0 && server_loop_.step()) return true;
    if (which == 1 && !workers_rest && worker_loop_.step(options_.clients > 1 ? random_() : 0)) {
      if (served) served();
      return true;
    }
    const auto* client = which < 2 ? nullptr : clients_[(which - 2) / 3].get();
    auto* const loop = client ? client->loops[(which - 2) % 3] : nullptr;
    if (loop && !(queues_rest && loop == client->loops[2]) && loop->step()) return true;
  }
  auto until = next_tick_;
  for (auto& client : clients_) {
    if (client) until = std::min(until, client->deadline());
  }
  const bool event = !events_.empty() && events_.begin()->first <= until;
  if (event) until = events_.begin()->first;
  const auto passed = std::max(until, time_.now) - time_.now;
  time_.now += passed;
  time_.wall += passed;
  if (event) {
    auto job = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    std::move(job)();
    return true;
  }
  for (auto& client : clients_) {
    if (client) client->on_timer();
  }
  if (time_.now >= next_tick_) tick();
  return true;
}

bool World::run_until(const std::function<bool()>& done, transport::Duration patience) {
  const auto until = time_.now + patience;
  while (!done()) {
    if (time_.now > until) return false;
    step();
  }
  return true;
}

void World::run_for(transport::Duration duration) {
  const auto until = time_.now + duration;
  run_until([&] { return time_.now >= until; }, duration + 1s);
}

void World::give_up() {
  const auto queue = volume().queue_status();
  FAIL("an operation was never answered; seed "
       << options_.seed << "; link " << session().status().reason << ", "
       << session().status().calls_waiting << " calls; queue " << queue.operations
       << " operations, " << queue.bytes << " bytes, " << queue.files << " files, error "
       << queue.retry_error << ", " << queue.parked.size() << " parked");
  std::abort();
}

Result<NodeNumber> World::find(const std::string& path) {
  NodeNumber at = kRootNode;
  std::size_t begin = 0;
  while (begin < path.size()) {
    const auto end = std::min(path.find('/', begin), path.size());
    const auto found = await<NodeReference>([&](auto reply) {
      volume().lookup(at, path.substr(begin, end - begin), std::move(reply));
    });
    if (!found) return found.error();
    if (found->number.value == 0) return errno_code(ENOENT);
    at = found->number;
    begin = end + 1;
  }
  return at;
}

Result<Opened> World::open(const std::string& path, OpenFlags flags) {
  const auto node = find(path);
  if (!node) return node.error();
  return await<Opened>([&](auto reply) { volume().open(*node, flags, std::move(reply)); });
}

Result<Created> World::create(const std::string& path, OpenFlags flags, std::uint32_t mode) {
  const auto slash = path.rfind('/');
  const auto parent = slash == std::string::npos ? Result<NodeNumber>(kRootNode)
                                                 : find(path.substr(0, slash));
  if (!parent) return parent.error();
  const auto name = path.substr(slash + 1);  // all of it without a slash: npos + 1 is 0
  return await<Created>([&](auto reply) {
    open_or_create(volume(), *parent, name, flags, mode, std::move(reply));
  });
}

Result<std::string> World::read(HandleNumber handle, std::uint64_t offset, std::uint64_t length) {
  const auto slices = await<Slices>(
      [&](auto reply) { volume().read(handle, offset, length, std::move(reply)); });
  if (!slices) return slices.error();
  std::string text;
  for (const auto& slice : *slices) text.append(slice.bytes.begin(), slice.bytes.end());
  return text;
}

Result<std::uint64_t> World::write(HandleNumber handle, std::uint64_t offset,
                                   const std::string& data, Through through) {
  return await<std::uint64_t>([&](auto reply) {
    volume().write(handle, offset, Buffer(data.begin(), data.end()), std::move(reply), through);
  });
}

Result<void> World::close(HandleNumber handle) {
  auto result = await<void>([&](auto reply) { volume().flush(handle, std::move(reply)); });
  volume().release(handle);
  return result;
}

Result<std::string> World::read_file(const std::string& path) {
  const auto opened = open(path, {.read = true});
  if (!opened) return opened.error();
  std::string text;
  for (;;) {
    const auto part = read(opened->handle, text.size(), 128 << 10);
    if (!part) return part.error();
    if (part->empty()) break;
    text += *part;
  }
  const auto closed = close(opened->handle);
  if (!closed) return closed.error();
  return text;
}

Result<void> World::write_file(const std::string& path, const std::string& data) {
  const auto created = create(path, {.write = true, .truncate = true});
  if (!created) return created.error();
  for (std::size_t at = 0; at < data.size(); at += 128 << 10) {
    const auto written = write(created->opened.handle, at, data.substr(at, 128 << 10));
    if (!written) return written.error();
  }
  return close(created->opened.handle);
}

Result<Attributes> World::stat(const std::string& path) {
  const auto node = find(path);
  if (!node) return node.error();
  return await<Attributes>(
      [&](auto reply) { volume().get_attributes(*node, std::move(reply)); });
}

}  // namespace rushfs::fs::test

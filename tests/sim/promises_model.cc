#include "tests/sim/promises_model.h"

#include <sys/stat.h>
#include <xxhash.h>

#include "tests/sim/memory_store.h"

namespace rushfs::sim {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMounts = 3, kProgramsPerMount = 2;
constexpr Duration kLongestDelay = 40ms;
/// A change waits a moment for what comes next, and then travels; it may overtake the notice
/// before it, which is no later.
constexpr Duration kNews = fs::kBetweenNotices + kLongestDelay + 1ms;

}  // namespace

/// RUSHFS_TRACE=1 tells all that happens.
bool PromisesModel::tracing() {
  static const bool wanted = std::getenv("RUSHFS_TRACE") != nullptr;
  return wanted;
}

fs::test::WorldOptions PromisesModel::world_options() {
  fs::test::WorldOptions world;
  world.seed = options_.seed;
  world.shortest_delay = 1ms;
  world.longest_delay = kLongestDelay;
  world.queue_budget = 4 << 20;
  world.clients = kMounts;
  world.notices = true;
  world.place = testing::TemporaryFolder::Place::memory;
  world.store = [this](const fs::LoopTime& time) {
    if (!disk_) disk_ = std::make_unique<MemoryDisk>(time);
    return open_memory_store(*disk_);
  };
  return world;
}

PromisesModel::PromisesModel(const ModelOptions& options)
    : options_(options),
      chance_(options.seed * 7919 + 1),
      favourite_(static_cast<Subject>(options.seed % kSubjects)),
      world_owner_(std::make_unique<fs::test::World>(world_options())),
      world_(*world_owner_),
      history_(*disk_),
      mounts_(kMounts, MountModel(history_, kNews)),
      conflicts_(kMounts),
      asked_of_server_(kMounts),
      heard_again_(kMounts),
      ready_(kMounts) {
  disk_->content_changed = world_.served = [this] { look_at_server(); };
  world_.delivered = [this](int client, const fs::Buffer& body) {
    const std::int64_t when[] = {now().time_since_epoch().count(), client};
    digest(when, sizeof when);
    digest(body.data(), body.size());
  };
  for (std::size_t i = 0; i < kMounts * kProgramsPerMount; ++i) {
    programs_.emplace_back();
    programs_.back().client = i % kMounts;
    programs_.back().folder_key = history_.root();
  }
  if (options.locks) prepare_locks();
  watch();
}

PromisesModel::~PromisesModel() {
  for (Program& program : programs_) ++program.life;
  world_owner_.reset();
}

void PromisesModel::look_at_server() {
  for (const FileKey& key : history_.look(now())) {
    if (!tracing()) break;
    const FileState& state = history_.file(key).back();
    std::fprintf(stderr, "  server: #%lu has %u links, %s\n", key.inode, state.links,
                 state.bytes ? brief(*state.bytes).c_str() : "gone");
  }
}

std::optional<std::string> PromisesModel::run() {
  while (operations_ < static_cast<std::uint64_t>(options_.operations) && !broken_) step();
  if (!broken_) settle();
  return broken_;
}

void PromisesModel::digest(const void* bytes, std::size_t size) {
  digest_ = XXH3_64bits_withSeed(bytes, size, digest_);
}

void PromisesModel::note(std::size_t client, const std::string& line) {
  char when[32];
  std::snprintf(when, sizeof when, "%9.3f", transport::seconds(now().time_since_epoch()) - 3600);
  log_.push_back(std::string(when) + " mount " + std::to_string(client) + " " + line);
  digest(log_.back().data(), log_.back().size());
  if (tracing()) std::fprintf(stderr, "%s\n", log_.back().c_str());
  if (log_.size() > 60) log_.pop_front();
}

void PromisesModel::broken(const std::string& paragraph, const std::string& how) {
  if (broken_) return;
  broken_ = "RUSHFS_TEST_SEED=" + std::to_string(options_.seed) + ", \"" + paragraph +
            "\": " + how + "\n";
  for (const auto& line : log_) *broken_ += line + "\n";
}

// ---- What happens, and when --------------------------------------------------------------------

void PromisesModel::watch() {
  for (std::size_t client = 0; client < kMounts; ++client) {
    const bool up = world_.running(client) && !world_.silent(client) &&
                    world_.session(client).attached();
    const bool comes_back = up && !mounts_[client].up_since();
    for (std::size_t i = 0; i < programs_.size() && comes_back; ++i) {
      Program& program = programs_[i];
      if (program.client == client && program.holds) program.came_late |= may_have_lost(i);
    }
    mounts_[client].link(up, now());
    if (up) ready_[client] = true;
  }
}

void PromisesModel::step() {
  happen();
  const auto program = chance_.below(programs_.size());
  if (!programs_[program].busy && ready_[programs_[program].client]) act(program);
  auto events = chance_.below(chance_.below(10) == 0 ? 200 : 12);
  world_.run_until([&] {
    watch();
    return broken_ || events-- == 0;
  });
}

void PromisesModel::happen() {
  for (std::size_t client = 0; client < kMounts; ++client) {
    if (!heard_again_[client] || now() < *heard_again_[client]) continue;
    heard_again_[client].reset();
    world_.choose(client);
    note(client, "** can be heard again");
    world_.silence_link(false);
  }
  if (server_back_ && now() >= *server_back_) {
    server_back_.reset();
    note(0, "** server starts");
    world_.start_server();
    server_started_ = now();
  }
  const auto client = chance_.below(kMounts);
  world_.choose(client);
  const auto what = chance_.below(1000);
  if (what < 25) {
    const auto pause = std::chrono::milliseconds(chance_.below(what < 2 ? 90'000 : 3000));
    const auto until = now() + pause;
    world_.run_until([&] {
      watch();
      return broken_ || now() >= until;
    });
  } else if (what < 31 && options_.cuts && world_.running(client)) {
    note(client, "** link cut");
    world_.cut_link();
  } else if (what < 34 && options_.cuts && !heard_again_[client]) {
    const bool long_silent = chance_.below(8) == 0;  // for longer than a lock's lease
    heard_again_[client] = now() + std::chrono::milliseconds(chance_.below(long_silent ? 150'000
                                                                                       : 40'000));
    note(client, "** falls silent");
    world_.silence_link(true);
  } else if (what < 37 && options_.crashes) {
    kill_client(client);
  } else if (what < 39 && options_.crashes && !server_back_) {
    note(0, "** server killed");
    world_.kill_server();
    if (chance_.below(2) == 0) cut_power();
    server_back_ = now() + std::chrono::milliseconds(chance_.below(8000));
  } else if (what < 44 && options_.beside) {
    act_beside();
  }
  watch();
}

void PromisesModel::cut_power() {
  note(0, "** and its power cut");
  power_cut_ = now();
  world_.boot_server_machine();
  for (const auto& [file, tag] : history_.cut_power(now())) {
    const auto client = tag % 10;
    // What was copied away, overwritten, and copied back is a copy.
    const bool copied = std::ranges::any_of(
        asked_of_server_, [&, key = file](const auto& files) { return files.contains(key); });
    expect(client >= mounts_.size() || copied || !mounts_[client].settled(tag),
           "Write, close, fsync",
           "a power cut of the server took write " + std::to_string(tag) + ", sent and forgotten");
  }
}

/// A program on the server's machine changes something at the root.
void PromisesModel::act_beside() {
  const auto root = disk_->root();
  const std::string name = "f" + std::to_string(chance_.below(5));
  const auto found = disk_->look_up(*root, name);
  const auto what = chance_.below(6);
  note(0, "** on the server's disk, " + name + ": " + std::to_string(what));
  disk_->beside = true;
  if (!found) {
    const auto made = disk_->make(root, name, {}, S_IFREG | 0644);
    disk_->write(**made, 0, cell(next_tag(9)));
  } else if ((*found)->folder()) {
    static_cast<void>(disk_->remove_directory(*root, name));
  } else if (!(*found)->regular()) {
    static_cast<void>(disk_->unlink(*root, name));
  } else if (what < 3) {
    disk_->write(**found, chance_.below(20) * kCell, cell(next_tag(9)));
  } else if (what == 3) {
    disk_->truncate(**found, chance_.below(20) * kCell);
  } else if (what == 4) {
    static_cast<void>(disk_->unlink(*root, name));
  } else {
    const std::string to = "f" + std::to_string(chance_.below(5));
    static_cast<void>(disk_->rename(root, name, root, to, fs::RenameMode::replace));
  }
  disk_->beside = false;
  history_.look(now());
  world_.disk_changed();
}

void PromisesModel::kill_client(std::size_t client) {
  note(client, "** killed");
  refresh(client);
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    Program& program = programs_[i];
    if (program.client != client) continue;
    if (program.locker) lost_lock(i);
    // Killed before all was published, it takes with it what it wrote.
    if (program.busy && program.does == "unlock") locked_[*program.locker].may_hold.clear();
    const auto life = program.life + 1;
    const auto locker = program.locker;
    program = {};
    program.client = client;
    program.life = life;
    program.locker = locker;
    program.folder_key = history_.root();
  }
  for (LockedFile& file : locked_) file.late_from.insert(client);
  mounts_[client].killed();
  ready_[client] = false;
  conflicts_[client] = 0;
  world_.kill_client();
  world_.start_client_unattached();
}

/// What can be known of a mount without asking it for files.
void PromisesModel::refresh(std::size_t client) {
  if (!world_.running(client)) return;
  const auto status = world_.volume(client).queue_status();
  if (status.conflicts.size() > conflicts_[client]) {
    const auto& conflict = status.conflicts.back();
    note(client, "** conflict: " + conflict.file + " and " + conflict.copy);
    conflicts_[client] = status.conflicts.size();
    // What its queue was made to may be the file without it, or with what a power cut took.
    const bool copy_lost = std::ranges::any_of(asked_of_server_[client], [&](const auto& each) {
      return power_cut_ && *power_cut_ >= each.second;
    });
    expect(!options_.apart || copy_lost || unanswered_.contains(client), "Conflicts",
           "a conflict over '" + conflict.file + "', which nobody else has touched");
    mounts_[client].set_aside(false);
    for (Program& program : programs_) {
      if (program.client == client && program.file) program.file->elsewhere = true;
    }
  }
  for (const auto& parked : status.parked) {
    const bool removed = parked.error == ESTALE || parked.error == ENOENT;
    expect(removed || (parked.error == EIO && options_.locks),
           "A full queue, a full disk",
           "parked: " + parked.what + " of " + parked.file + ": " + std::strerror(parked.error));
    mounts_[client].set_aside(true);
  }
  if (status.operations != 0) return;
  nothing_late_from(client);
  const auto lost = mounts_[client].drained(now());
  expect(lost.empty(), "Write, close, fsync",
         "nothing is queued, and write " + std::to_string(lost.empty() ? 0 : lost.front()) +
             " never reached the server");
}

}  // namespace rushfs::sim

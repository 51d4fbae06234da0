#include "tests/sim/promises_model.h"

#include <sys/stat.h>
#include <xxhash.h>

#include "tests/sim/memory_store.h"

namespace rushfs::sim {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMounts = 3, kProgramsPerMount = 2;
constexpr Duration kLongestDelay = 40ms;
/// A change waits until the notice before it was answered, and then travels itself.
constexpr Duration kNews = 3 * kLongestDelay + 1ms;

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
      world_owner_(std::make_unique<fs::test::World>(world_options())),
      world_(*world_owner_),
      history_(*disk_),
      mounts_(kMounts, MountModel(history_, kNews)),
      conflicts_(kMounts),
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
  for (const FileKey key : history_.look(now())) {
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
    heard_again_[client] = now() + std::chrono::milliseconds(chance_.below(40'000));
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
  world_.boot_server_machine();
  for (const Tag tag : history_.cut_power(now())) {
    const auto client = tag % 10;
    expect(client >= mounts_.size() || !mounts_[client].settled(tag), "Write, close, fsync",
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
    expect(!options_.apart, "Conflicts",
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

/// A kernel lets one program at a time change the names in a folder, while none looks them up.
bool PromisesModel::names_in_use(std::size_t client, bool to_change) const {
  return std::any_of(programs_.begin(), programs_.end(), [&](const Program& program) {
    if (!program.busy || program.client != client) return false;
    const auto does = program.does.substr(0, program.does.find(' '));
    if (does == "lookup") return to_change;
    return does == "create" || does == "mkdir" || does == "link" || does == "rename" ||
           does == "unlink" || does == "rmdir";
  });
}

void PromisesModel::act(std::size_t program) {
  Program& who = programs_[program];
  if (who.locker) return act_locked(program);
  if (who.file) {
    if (who.file->elsewhere) return close(program);
    switch (chance_.below(14)) {
      case 0: case 1: case 2: case 3: return read(program);
      case 4: case 5: case 6: case 7: return write(program);
      case 8: return truncate(program);
      case 9: return sync(program);
      case 10: case 11: return close(program);
      default: break;
    }
  }
  const auto name = some_name(program);
  const auto what = chance_.below(22);
  if (what >= 8 && what < 18 && names_in_use(who.client, true)) return;
  switch (what) {
    case 0: case 1: case 2: case 3: case 4: return look_up(program, name);
    case 5: case 6: case 7: return stat(program);
    case 8: case 9: return who.file ? read(program) : create(program, name);
    case 10: case 11: case 12: return who.file ? write(program) : open(program);
    case 13: return remove(program, name, false);
    case 14: return rename(program, name, some_name(program));
    case 15: return link(program, name);
    case 16: return make_directory(program, "d" + std::to_string(chance_.below(2)));
    case 17: return remove(program, "d" + std::to_string(chance_.below(2)), true);
    case 18: return list(program);
    case 19: return chance_.below(8) == 0 ? wait(program) : look_up(program, name);
    default: return enter(program);
  }
}

// ---- The end ----------------------------------------------------------------------------------

/// Programs end what they do; who waits for a lock gets it when its turn comes.
void PromisesModel::close_all() {
  const auto closed = [&] {
    watch();
    bool all = true;
    for (std::size_t i = 0; i < programs_.size() && !broken_; ++i) {
      Program& program = programs_[i];
      all = all && !program.busy && !program.file;
      if (program.busy || !program.file || !ready_[program.client]) continue;
      if (program.holds) {
        give_lock(i);
      } else {
        close(i);
      }
    }
    return all || broken_;
  };
  const bool all = world_.run_until(closed);
  std::string waiting;
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    if (programs_[i].busy) waiting += ", of " + std::to_string(i) + ": " + programs_[i].does;
  }
  expect(all, "Losing the link, or the server", "an operation is never answered" + waiting);
}

void PromisesModel::settle() {
  note(0, "** all is mended");
  settling_ = true;
  if (server_back_) world_.start_server();
  server_back_.reset();
  for (std::size_t client = 0; client < kMounts; ++client) {
    world_.choose(client);
    if (world_.silent(client)) world_.silence_link(false);
    heard_again_[client].reset();
  }
  close_all();
  world_.run_until([&] {
    watch();
    for (const bool ready : ready_) {
      if (!ready) return false;
    }
    return true;
  });
  for (std::size_t client = 0; client < kMounts && !broken_; ++client) {
    world_.choose(client);
    const bool empty = world_.run_until([&] {
      watch();
      refresh(client);
      const auto status = world_.volume(client).queue_status();
      for (const auto& parked : status.parked) {
        world_.volume(client).discard_parked(parked.operation, [](fs::Result<void>) {});
      }
      return broken_ || status.operations == 0;
    });
    expect(empty, "Write, close, fsync", "what is queued is never sent");
  }
  if (!broken_) world_.run_for(5s);
  watch();
  if (!broken_) compare_with_server();
}

/// Long after the last change all mounts show what the server has.
void PromisesModel::compare_with_server() {
  for (std::size_t client = 0; client < kMounts && !broken_; ++client) {
    world_.choose(client);
    note(client, "** compared with the server");
    for (const auto& [name, key] : history_.folder(history_.root()).back().names) {
      const auto& file = history_.file(key);
      const auto seen = world_.stat(name);
      expect(seen.has_value() && key_of(*seen) == key, "What others change",
             "in the end a mount does not find '" + name + "', but " +
                 (seen ? "#" + std::to_string(seen->inode) : seen.error().message()));
      if (broken_ || file.empty()) continue;
      const auto bytes = world_.read_file(name);
      expect(bytes.has_value() && *bytes == *file.back().bytes && seen->size == bytes->size(),
             "What others change", "in the end a mount has other bytes in '" + name + "'");
    }
  }
}

}  // namespace rushfs::sim

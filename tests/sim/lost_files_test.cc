// New files whose names a power cut of the server takes, on seeds: what was written is there in the
// end, under its name. docs/semantics.md, "Conflicts".
#include <catch2/catch.hpp>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <set>

#include "tests/sim/chance.h"
#include "tests/sim/memory_world.h"

namespace rushfs::sim {

namespace {

using namespace std::chrono_literals;
using namespace rushfs::fs;

class Recorder {
 public:
  explicit Recorder(std::uint64_t seed)
      : chance_(seed),
        owner_(make_memory_world(disk_, {.seed = seed, .longest_delay = 30ms})),
        world_(*owner_) {}

  void run() {
    for (int i = 0; i < 150; ++i) {
      step();
      world_.run_for(std::chrono::milliseconds(chance_.below(chance_.below(8) == 0 ? 4000 : 40)));
    }
    if (!world_.server_running()) start_server();
    while (!handles_.empty()) close();
    REQUIRE(world_.drain());
    const auto status = world_.volume().queue_status();
    CHECK(status.parked.empty());
    CHECK((status.conflicts.empty() || killed_));
    std::set<std::string> found;
    for (const auto& [name, entry] : disk_->root()->names) {
      const std::string& bytes = *entry.file->bytes;
      if (bytes.empty()) continue;
      const auto& written = expected_[taken_for(name)];
      INFO(name << " has " << bytes.size() << " bytes of " << written.size());
      CHECK((bytes == written));
      CHECK(found.insert(taken_for(name)).second);
    }
    for (const auto& [name, bytes] : expected_) CHECK((bytes.empty() || found.contains(name)));
  }

 private:
  /// Killed just when a lost file was made again, the next process takes it for somebody else's.
  std::string taken_for(const std::string& name) const {
    return killed_ ? name.substr(0, name.find(" (conflict")) : name;
  }

  void step() {
    const auto what = chance_.below(100);
    const bool calm = world_.now() - server_started_ > 20s;  // nothing is made again just now
    if (what < 10 && world_.server_running()) return create();
    if (what < 70 && !handles_.empty()) return write();
    if (what < 78 && !handles_.empty()) return truncate();
    if (what < 86 && !handles_.empty()) return close();
    if (what < 88) return world_.cut_link();
    if (what < 96) return world_.server_running() ? cut_power() : start_server();
    if (what < 98 && (calm || !world_.server_running())) kill_client();
  }

  void create() {
    const auto name = "take" + std::to_string(++takes_);
    auto made = [this, name](Result<Created> result) {
      if (!result) return;  // it was lost before anybody was told of it
      expected_[name];
      handles_[name] = *result;
    };
    const OpenFlags flags{.read = true, .write = true, .exclusive = true};
    if (chance_.below(2) == 0) {  // much may happen before it is answered
      return world_.volume().create(kRootNode, name, {}, 0644, flags, std::move(made));
    }
    made(world_.create(name, flags));
    if (handles_.contains(name)) write(name);
  }
  std::string some_open() {
    return std::next(handles_.begin(), static_cast<long>(chance_.below(handles_.size())))->first;
  }
  void write() { write(some_open()); }
  void write(const std::string& name) {
    auto& bytes = expected_[name];
    const std::uint64_t offset = chance_.below(bytes.size() + 2000);
    const std::string text(1 + chance_.below(3000), static_cast<char>('a' + chance_.below(26)));
    REQUIRE(world_.write(handles_[name].opened.handle, offset, text));
    bytes.resize(std::max<std::size_t>(bytes.size(), offset + text.size()));
    bytes.replace(offset, text.size(), text);
  }
  void truncate() {
    const auto name = some_open();
    AttributeChange change;
    change.size = chance_.below(expected_[name].size() + 1000);
    REQUIRE(world_.await<Attributes>([&](auto reply) {
      world_.volume().set_attributes(handles_[name].found.number, change, std::move(reply));
    }));
    expected_[name].resize(*change.size);
  }
  void close() {
    const auto name = some_open();
    REQUIRE(world_.close(handles_[name].opened.handle));
    handles_.erase(name);
  }
  void cut_power() {
    world_.kill_server();
    disk_->cut_power();
    world_.boot_server_machine();
    disk_->lose_new_files();
    disk_->take_changed();  // which keeps them
  }
  void start_server() {
    world_.start_server();
    server_started_ = world_.now();
  }
  void kill_client() {
    for (const auto& [name, handle] : handles_) {
      REQUIRE(world_.await<void>([&](auto reply) {
        world_.volume().flush(handle.opened.handle, std::move(reply));
      }));
    }
    handles_.clear();
    killed_ = true;
    world_.kill_client();
    world_.start_client_unattached();
  }

  Chance chance_;
  std::unique_ptr<MemoryDisk> disk_;
  std::unique_ptr<fs::test::World> owner_;
  fs::test::World& world_;
  transport::TimePoint server_started_{};
  int takes_ = 0;
  bool killed_ = false;
  std::map<std::string, std::string> expected_;
  std::map<std::string, Created> handles_;
};

}  // namespace

TEST_CASE("whatever new files the server's disk loses, all that was written is there in the end") {
  if (!std::getenv("RUSHFS_TRACE")) spdlog::set_level(spdlog::level::off);
  std::uint64_t first = 1, last = 60;
  if (const char* asked = std::getenv("RUSHFS_TEST_SEED")) {
    char* end = nullptr;
    first = last = std::strtoull(asked, &end, 10);
    if (*end == '-') last = std::strtoull(end + 1, nullptr, 10);
  }
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    INFO("seed " << seed);
    Recorder(seed).run();
  }
}

}  // namespace rushfs::sim

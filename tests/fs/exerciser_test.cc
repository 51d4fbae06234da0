// Random operations against a model that is a plain map of strings, while the link is cut, the
// server killed and the client killed at random moments. What is checked is what docs/semantics.md
// promises: programs see their own changes at once, and every closed file arrives complete, once.
#include <catch2/catch.hpp>

#include <fcntl.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "client_world.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;
using rushfs::testing::read_file;

namespace {

class Exerciser {
 public:
  explicit Exerciser(std::uint64_t seed) : world_(options(seed)) {}

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step();
    settle();
  }

 private:
  struct File {
    std::string bytes;
    bool dirty = false;         // written to since the last close or fsync
    bool copied = false;        // by the server, into it
    bool perhaps_lost = false;  // for the server was killed then
  };

  static WorldOptions options(std::uint64_t seed) {
    WorldOptions options;
    options.seed = seed;
    options.shortest_delay = 1ms;
    options.longest_delay = 40ms;
    options.queue_budget = 4 << 20;
    return options;
  }

  std::uint64_t pick(std::uint64_t below) { return world_.random()() % below; }
  std::string random_bytes(std::size_t length) {
    std::string bytes(length, ' ');
    for (auto& c : bytes) c = static_cast<char>('a' + pick(26));
    return bytes;
  }
  std::string random_name() { return "file " + std::to_string(pick(6)); }

  void step() {
    switch (pick(24)) {
      case 0: case 1: return open_or_create();
      case 2: case 3: case 4: case 5: case 6: return write();
      case 7: case 8: case 9: return read();
      case 10: case 11: return close();
      case 12: return sync();
      case 13: return truncate();
      case 14: return rename();
      case 15: return unlink();
      case 16: return check_attributes();
      case 17: return world_.run_for(std::chrono::milliseconds(pick(3000)));
      case 18: return pick(4) == 0 ? world_.cut_link() : read();
      case 19: return pick(6) == 0 ? restart_server() : write();
      case 20: return pick(10) == 0 ? kill_client() : write();
      case 21: return allocate();
      case 22: return copy();
      default: return read_closed();
    }
  }

  void open_or_create() {
    if (open_.size() >= 4) return;
    const auto name = random_name();
    const bool exists = files_.contains(name);
    if (exists) {
      const bool truncate = pick(4) == 0;
      const bool append = pick(4) == 0;
      const auto opened = world_.open(
          name, {.read = true, .write = true, .append = append, .truncate = truncate});
      REQUIRE(opened);
      if (truncate) {
        files_[name]->bytes.clear();
        files_[name]->dirty = true;
      }
      open_.push_back({opened->handle, files_[name], append});
    } else {
      const auto created = world_.create(name, {.read = true, .write = true, .exclusive = true});
      REQUIRE(created);
      files_[name] = std::make_shared<File>();
      open_.push_back({created->opened.handle, files_[name]});
    }
  }

  void write() {
    if (open_.empty()) return;
    auto& target = open_[pick(open_.size())];
    auto& model = target.file->bytes;
    const auto offset = target.append ? model.size() : pick(700'000);
    const auto bytes = random_bytes(1 + pick(pick(3) == 0 ? 300'000 : 5'000));
    const auto written = world_.write(target.handle, offset, bytes);
    REQUIRE(written);
    REQUIRE(*written == bytes.size());
    if (model.size() < offset + bytes.size()) model.resize(offset + bytes.size());
    model.replace(offset, bytes.size(), bytes);
    target.file->dirty = true;
  }

  void allocate() {
    if (open_.empty()) return;
    constexpr std::uint32_t kModes[] = {0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        FALLOC_FL_ZERO_RANGE,
                                        FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    const auto& target = open_[pick(open_.size())];
    const std::uint32_t mode = kModes[pick(std::size(kModes))];
    const auto offset = pick(600'000), length = 1 + pick(100'000);
    const auto done = world_.await<void>([&](auto reply) {
      world_.volume().allocate(target.handle, mode, offset, length, std::move(reply));
    });
    if (!done && done.error().value() == EOPNOTSUPP) return;  // not on this disk
    REQUIRE(done);
    auto& model = target.file->bytes;
    const bool grows = (mode & FALLOC_FL_KEEP_SIZE) == 0;
    if (grows && model.size() < offset + length) model.resize(offset + length);
    const auto end = std::min<std::size_t>(model.size(), offset + length);
    if (mode != 0 && offset < end) model.replace(offset, end - offset, end - offset, '\0');
    target.file->dirty = true;
  }

  void copy() {
    if (open_.empty()) return;
    const auto& from = open_[pick(open_.size())];
    const auto& to = open_[pick(open_.size())];
    if (from.file == to.file || to.append) return;
    const auto at = pick(600'000), onto = pick(600'000), length = 1 + pick(200'000);
    const auto copied = world_.await<std::uint64_t>([&](auto reply) {
      world_.volume().copy_range(from.handle, at, to.handle, onto, length, std::move(reply));
    });
    REQUIRE(copied);
    const std::string& source = from.file->bytes;
    const std::string bytes = at < source.size() ? source.substr(at, length) : "";
    REQUIRE(*copied == bytes.size());
    if (bytes.empty()) return;
    auto& model = to.file->bytes;
    if (model.size() < onto + bytes.size()) model.resize(onto + bytes.size());
    model.replace(onto, bytes.size(), bytes);
    to.file->dirty = to.file->copied = true;
  }

  // docs/semantics.md, "A full queue, a full disk": what the server had copied may be lost.
  static void check_safe(const File& file, const Result<void>& told) {
    const bool lost = !told && told.error() == errno_code(EIO) && file.perhaps_lost;
    REQUIRE((told || lost));
  }

  void compare(HandleNumber handle, const std::string& model) {
    const auto offset = pick(800'000), length = 1 + pick(400'000);
    const auto got = world_.read(handle, offset, length);
    REQUIRE(got);
    const std::string expected = offset < model.size() ? model.substr(offset, length) : "";
    if (*got == expected) return;
    std::size_t at = 0;
    while (at < got->size() && at < expected.size() && (*got)[at] == expected[at]) ++at;
    FAIL("read of " << length << " at " << offset << ": got " << got->size() << " bytes, expected "
                    << expected.size() << ", first difference at " << offset + at);
  }

  void read() {
    if (open_.empty()) return;
    const auto& target = open_[pick(open_.size())];
    compare(target.handle, target.file->bytes);
  }

  void read_closed() {
    const auto name = random_name();
    if (!files_.contains(name)) return;
    const auto opened = world_.open(name, {.read = true});
    REQUIRE(opened);
    compare(opened->handle, files_[name]->bytes);
    REQUIRE(world_.close(opened->handle));
  }

  void close() {
    if (open_.empty()) return;
    const auto index = pick(open_.size());
    check_safe(*open_[index].file, world_.close(open_[index].handle));
    open_[index].file->dirty = false;
    open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void sync() {
    if (open_.empty()) return;
    const auto& target = open_[pick(open_.size())];
    const auto synced = world_.await<void>(
        [&](auto reply) { world_.volume().sync(target.handle, std::move(reply)); });
    check_safe(*target.file, synced);
    target.file->dirty = false;
    for (const auto& [name, file] : files_) {
      if (file == target.file) REQUIRE(read_file(world_.exported() / name) == file->bytes);
    }
  }

  void truncate() {
    const auto name = random_name();
    if (!files_.contains(name)) return;
    AttributeChange change;
    change.size = pick(600'000);
    const auto node = world_.find(name);
    REQUIRE(node);
    const auto result = world_.await<Attributes>([&](auto reply) {
      world_.volume().set_attributes(*node, change, std::move(reply));
    });
    REQUIRE(result);
    REQUIRE(result->size == *change.size);
    files_[name]->bytes.resize(*change.size);
    files_[name]->dirty = true;
  }

  void rename() {
    const auto from = random_name(), to = random_name();
    look_up(from);
    look_up(to);
    const auto result = world_.await<void>([&](auto reply) {
      world_.volume().rename(kRootNode, from, kRootNode, to, RenameMode::replace,
                             std::move(reply));
    });
    if (!files_.contains(from)) {
      REQUIRE(result.error().value() == ENOENT);
      return;
    }
    REQUIRE(result);
    if (from == to) return;
    files_[to] = files_[from];
    files_.erase(from);
  }

  void unlink() {
    const auto name = random_name();
    look_up(name);
    const auto result = world_.await<void>(
        [&](auto reply) { world_.volume().unlink(kRootNode, name, std::move(reply)); });
    if (files_.contains(name)) {
      REQUIRE(result);
      files_.erase(name);
    } else {
      REQUIRE(result.error().value() == ENOENT);
    }
  }

  void check_attributes() {
    const auto name = random_name();
    const auto seen = world_.stat(name);
    if (files_.contains(name)) {
      REQUIRE(seen);
      REQUIRE(seen->size == files_[name]->bytes.size());
    } else {
      REQUIRE(seen.error().value() == ENOENT);
    }
  }

  // The kernel knows a name before it asks to change it.
  void look_up(const std::string& name) {
    const auto found = world_.find(name);
    REQUIRE((found || found.error().value() == ENOENT));
  }

  void restart_server() {
    world_.kill_server();
    for (auto& handle : open_) handle.file->perhaps_lost |= handle.file->copied;
    world_.run_for(std::chrono::milliseconds(pick(4000)));
    world_.start_server();
  }

  // What was not closed may be there or not; the rest must be.
  void kill_client() {
    world_.kill_client();
    open_.clear();
    world_.run_for(std::chrono::milliseconds(pick(2000)));
    world_.start_client();
    for (auto it = files_.begin(); it != files_.end();) {
      if (!it->second->dirty) {
        ++it;
        continue;
      }
      look_up(it->first);
      REQUIRE(world_.await<void>(
          [&](auto reply) { world_.volume().unlink(kRootNode, it->first, std::move(reply)); }));
      it = files_.erase(it);
    }
  }

  void settle() {
    while (!open_.empty()) close();
    REQUIRE(world_.drain());
    world_.run_for(10s);
    const auto status = world_.volume().queue_status();
    CHECK(status.operations == 0);
    CHECK(status.parked.empty());
    std::size_t found = 0;
    for (const auto& entry : std::filesystem::directory_iterator(world_.exported())) {
      const auto name = entry.path().filename().string();
      if (name == kOrphanFolder) continue;
      ++found;
      REQUIRE(files_.contains(name));
      REQUIRE((read_file(entry.path()) == files_[name]->bytes));
    }
    CHECK(found == files_.size());
  }

  struct Handle {
    HandleNumber handle;
    std::shared_ptr<File> file;
    bool append = false;
  };
  World world_;
  std::map<std::string, std::shared_ptr<File>> files_;
  std::vector<Handle> open_;
};

}  // namespace

TEST_CASE("random operations with crashes on both sides leave what the model has") {
  std::uint64_t first = 1, count = 20;
  if (const char* seed = std::getenv("RUSHFS_SEED")) {
    first = std::strtoull(seed, nullptr, 10);
    count = 1;
  }
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    INFO("RUSHFS_SEED=" << seed);
    Exerciser(seed).run(150);
  }
}

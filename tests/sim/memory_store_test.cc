// A MemoryDisk against the real thing: whatever is done to both, a folder of this machine answers
// alike.
#include <sys/stat.h>
#include <catch2/catch.hpp>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "fs/server/directory_store.h"
#include "tests/sim/chance.h"
#include "tests/sim/memory_store.h"
#include "tests/temporary_folder.h"

namespace rushfs::sim {
namespace {

using namespace fs;  // NOLINT: a Store speaks the language of files

/// The same file or folder in both stores.
struct Pair {
  NodeRef memory, real;
};

class Comparison {
 public:
  explicit Comparison(std::uint64_t seed)
      : chance_(seed), folder_(testing::TemporaryFolder::Place::memory) {
    DirectoryOptions options;
    options.root = folder_.path();
    real_ = open_directory_store(options);
    memory_ = open_memory_store(disk_);
    ::chmod(folder_.path().c_str(), 0755);
    nodes_.push_back({memory_->root()->node, real_->root()->node});
  }

  void step() {
    const Pair node = any(), directory = any(), other = any();
    const std::string name = some_name(), to = some_name();
    INFO("of " << name << " and " << to);
    switch (chance_.below(11)) {
      case 0:
      case 1:
        return make(directory, name, chance_.below(3) == 0);
      case 2:
        return same(memory_->link(*node.memory, *directory.memory, name),
                    real_->link(*node.real, *directory.real, name));
      case 3:
        return same(memory_->unlink(*directory.memory, name), real_->unlink(*directory.real, name));
      case 4:
        return same(memory_->remove_directory(*directory.memory, name),
                    real_->remove_directory(*directory.real, name));
      case 5:
      case 6: {
        constexpr std::array kModes{RenameMode::replace, RenameMode::replace,
                                    RenameMode::no_replace, RenameMode::exchange};
        const auto mode = kModes[chance_.below(kModes.size())];
        return same(memory_->rename(*directory.memory, name, *other.memory, to, mode),
                    real_->rename(*directory.real, name, *other.real, to, mode));
      }
      case 7:
      case 8:
        return change_bytes(node);
      case 9: {
        const std::string orphan = "o" + std::to_string(chance_.below(2));
        if (node.real->type() != S_IFREG) return;
        return same(memory_->keep_orphan(*node.memory, orphan),
                    real_->keep_orphan(*node.real, orphan));
      }
      default: {
        const std::string orphan = "o" + std::to_string(chance_.below(2));
        memory_->drop_orphan(orphan);
        real_->drop_orphan(orphan);
      }
    }
  }

  void compare() {
    for (const Pair& node : nodes_) {
      const auto memory = memory_->attributes(*node.memory), real = real_->attributes(*node.real);
      REQUIRE((memory && real));
      CHECK(memory->mode == real->mode);
      // A failed attempt to keep an orphan leaves the place for them at the root.
      if (&node != &nodes_.front()) CHECK(memory->links == real->links);
      if (node.real->type() != S_IFDIR) CHECK(memory->size == real->size);
      if (node.real->type() == S_IFDIR)
        CHECK(names(*memory_, *node.memory) == names(*real_, *node.real));
      if (node.real->type() == S_IFREG)
        CHECK(bytes(*memory_, *node.memory) == bytes(*real_, *node.real));
    }
  }

 private:
  Pair any() { return nodes_[chance_.below(nodes_.size())]; }
  std::string some_name() { return "n" + std::to_string(chance_.below(4)); }

  template <class A, class B>
  void same(const A& memory, const B& real) {
    CHECK((memory ? 0 : memory.error().value()) == (real ? 0 : real.error().value()));
  }

  void make(const Pair& directory, const std::string& name, bool folder) {
    const NewName in_memory{*directory.memory, name, {}}, on_disk{*directory.real, name, {}};
    if (folder) {
      const auto memory = memory_->make_directory(in_memory, 0755);
      const auto real = real_->make_directory(on_disk, 0755);
      same(memory, real);
      if (memory && real) nodes_.push_back({memory->node, real->node});
    } else {
      const auto memory = memory_->create(in_memory, 0644);
      const auto real = real_->create(on_disk, 0644);
      same(memory, real);
      if (memory && real) nodes_.push_back({memory->found.node, real->found.node});
    }
  }

  void change_bytes(const Pair& node) {
    const auto memory = memory_->open(*node.memory, true);
    const auto real = real_->open(*node.real, true);
    same(memory, real);
    if (!memory || !real) return;
    const std::vector<std::uint8_t> data(1 + chance_.below(40), static_cast<std::uint8_t>('a'));
    const auto offset = chance_.below(200);
    Append append;
    append.expected = offset;
    append.repeated = chance_.below(2) == 0;
    append.data = data;
    AttributeChanges size;
    size.size = offset;
    switch (chance_.below(3)) {
      case 0:
        return same(memory_->write(**memory, offset, data, false),
                    real_->write(**real, offset, data, false));
      case 1: {
        const auto in_memory = memory_->append(**memory, append);
        const auto on_disk = real_->append(**real, append);
        REQUIRE((in_memory && on_disk));
        CHECK(*in_memory == *on_disk);
        return;
      }
      default:
        return same(memory_->set_attributes(*node.memory, memory->get(), size),
                    real_->set_attributes(*node.real, real->get(), size));
    }
  }

  static std::set<std::string> names(const Store& store, const Node& node) {
    ReadDirectory request;
    request.max_bytes = kMaxTransfer;
    const auto listed = store.list(request, node);
    std::set<std::string> out;
    if (!listed) return out;
    for (const auto& entry : listed->entries) out.insert(entry.name);
    return out;
  }
  static std::string bytes(const Store& store, const Node& node) {
    const auto file = store.open(node, false);
    std::vector<std::uint8_t> out(1024);
    const auto count = file ? store.read(**file, 0, out) : Result<std::size_t>(file.error());
    return count ? std::string(out.begin(), out.begin() + static_cast<long>(*count)) : "";
  }

  Chance chance_;
  testing::TemporaryFolder folder_;
  LoopTime time_;
  MemoryDisk disk_{time_};
  std::shared_ptr<const Store> memory_, real_;
  std::vector<Pair> nodes_;
};

}  // namespace

TEST_CASE("a disk in memory behaves as a folder of this machine") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Comparison comparison(seed);
    for (int i = 0; i < 100; ++i) {
      comparison.step();
      comparison.compare();
    }
  }
}

}  // namespace rushfs::sim

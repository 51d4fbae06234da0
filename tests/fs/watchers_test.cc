// docs/semantics.md, "Watching": what programs that watch are told of what others do.
#include "client_world.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

namespace {

/// A kernel with programs that watch everything.
class WatchingKernel : public KernelCache {
 public:
  void invalidate(NodeNumber, const Spans&) override {}
  void invalidate_name(NodeNumber, const std::string&) override {}
  void settle(absl::AnyInvocable<void() &&> then) override { std::move(then)(); }
  bool tells_events() const override { return true; }
  void happened(RemoteEvent event) override {
    constexpr std::array kNames{"created", "changed", "attributes", "removed", "renamed"};
    told.push_back(std::string(kNames[static_cast<std::size_t>(event.what)]) + " " + event.name);
  }
  std::vector<std::string> told;
};

constexpr std::size_t kWriter = 0, kWatcher = 1;

}  // namespace

TEST_CASE("a folder that comes and goes before we have looked at it is told to have done both") {
  World world({.clients = 2, .notices = true});
  WatchingKernel kernel;
  world.choose(kWatcher);
  world.volume().set_kernel(&kernel);
  REQUIRE(world.stat("day").error().value() == ENOENT);
  world.run_for(2s);
  world.slow_answers["lookup"] = 300ms;
  world.choose(kWriter);
  world.volume().make_directory(kRootNode, "day", {}, 0755, [](Result<NodeReference>) {});
  REQUIRE(world.run_until([&] { return world.calls["lookup"] == 2; }));  // the watcher asks
  REQUIRE(kernel.told.empty());
  world.volume().remove_directory(kRootNode, "day", [](Result<void>) {});
  world.run_for(5s);
  CHECK(kernel.told == std::vector<std::string>{"created day", "removed day"});
  world.choose(kWatcher);
  world.volume().set_kernel(nullptr);
}

TEST_CASE("what happens in a watched folder after a cut is told as before it") {
  World world({.clients = 2, .notices = true});
  WatchingKernel kernel;
  std::filesystem::create_directory(world.exported() / "day");
  std::ofstream(world.exported() / "day" / "clip") << "1";
  world.choose(kWatcher);
  world.volume().set_kernel(&kernel);
  // As the kernel has it: referenced, and asked about by nobody.
  const auto day = world.find("day").value();
  REQUIRE(world.find("day/clip"));
  world.run_for(3s);
  world.cut_link();
  world.calls.clear();
  REQUIRE(world.run_until([&] { return world.calls["attach"] > 0; }));
  world.run_for(3s);
  world.choose(kWriter);
  REQUIRE(world.write_file("day/clip", "22"));
  REQUIRE(world.create("day/take", {.write = true}));
  world.run_for(3s);
  CHECK(kernel.told == std::vector<std::string>{"changed clip", "created take"});
  world.choose(kWatcher);
  world.volume().forget(day, 1);
  world.volume().set_kernel(nullptr);
}

// docs/semantics.md, "What others change": one change among many files that are cached costs what
// one change costs; and one after another is told as soon.
#include <numeric>

#include "client_world.h"
#include "tests/as_root.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

namespace {

/// A kernel's cache that counts what it is told to drop.
class CountingKernel : public KernelCache {
 public:
  void invalidate(NodeNumber number, const Spans&) override { dropped.push_back(number); }
  void invalidate_name(NodeNumber, const std::string&) override { ++names; }
  void settle(absl::AnyInvocable<void() &&> then) override { std::move(then)(); }
  bool tells_events() const override { return false; }
  void happened(RemoteEvent) override {}

  std::vector<NodeNumber> dropped;
  int names = 0;
};

struct Cost {
  std::uint64_t notices = 0, changes = 0;
  std::size_t kernel = 0;
  int questions_told = 0;  // by the mount, when it was told
  int questions = 0;       // and when all files were looked at, and the one was read, again
};

std::string name_of(int number) {
  return "clip" + std::to_string(number);
}

/// One mount has looked at and read so many files; another writes to one of them.
Cost cost_of_a_change_among(int files) {
  WorldOptions options;
  options.clients = 2;
  options.notices = true;
  World world(options);
  for (int i = 0; i < files; ++i) {
    rushfs::testing::write_file(world.exported() / name_of(i), "frames");
  }
  constexpr std::size_t kWriter = 0, kReader = 1;
  world.choose(kReader);
  for (int i = 0; i < files; ++i) REQUIRE(world.read_file(name_of(i)) == "frames");
  world.run_for(2min);  // what was held open a moment ago is let go
  CountingKernel kernel;
  world.volume().set_kernel(&kernel);
  const auto number = world.find(name_of(files / 2));
  const Session& told = world.session();
  Cost cost{told.notices(), told.noticed_changes(), 0, 0, 0};

  world.choose(kWriter);
  const auto opened = world.open(name_of(files / 2), {.write = true});
  REQUIRE(opened);
  world.calls.clear();
  REQUIRE(world.write(opened->handle, 0, "FRAMES"));
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().sync(opened->handle, std::move(reply)); }));
  const auto all_calls = [&] {
    return std::accumulate(world.calls.begin(), world.calls.end(), 0,
                           [](int sum, const auto& each) { return sum + each.second; });
  };
  const int asked_by_writer = all_calls();
  world.run_for(5s);
  cost.questions_told = all_calls() - asked_by_writer;
  cost.notices = told.notices() - cost.notices;
  cost.changes = told.noticed_changes() - cost.changes;
  for (const NodeNumber dropped : kernel.dropped) CHECK(dropped == *number);
  CHECK(kernel.names == 0);
  cost.kernel = kernel.dropped.size();

  world.choose(kReader);
  world.calls.clear();
  for (int i = 0; i < files; ++i) REQUIRE(world.stat(name_of(i)));
  REQUIRE(world.read_file(name_of(files / 2)) == "FRAMES");
  cost.questions = all_calls();
  world.volume().set_kernel(nullptr);
  return cost;
}

}  // namespace

TEST_CASE("one change among thousands of cached files costs what one costs") {
  if (!rushfs::testing::as_root()) return;  // another user's server is told nothing of its disk
  const Cost few = cost_of_a_change_among(10), many = cost_of_a_change_among(3000);
  CHECK(few.notices == many.notices);
  CHECK(few.changes == many.changes);
  CHECK(few.kernel == many.kernel);
  CHECK(few.questions_told == many.questions_told);
  CHECK(few.questions <= 3);  // one more or less as the disk's clock falls
  CHECK(many.notices <= 2);
  CHECK(many.changes <= 2);
  CHECK(many.questions_told <= 1);
  CHECK(many.questions <= 3);
}

TEST_CASE("what changes just after something else is seen as soon: in one way and 50 ms") {
  constexpr auto kOneWay = 200ms;
  World world({.shortest_delay = kOneWay, .longest_delay = kOneWay, .clients = 2, .notices = true});
  REQUIRE(world.write_file("take", "0"));
  REQUIRE(world.drain());
  world.choose(1);
  const auto reader = world.open("take", {.read = true}).value().handle;
  world.choose(0);
  const auto writer = world.open("take", {.write = true}).value().handle;
  world.run_for(5s);
  for (const std::uint64_t size : {2, 3}) {
    world.run_for(5ms);  // the reader is being told of the one before
    const auto written = world.calls["write"];
    REQUIRE(world.write(writer, 0, std::string(size, 'x')));
    world.volume().sync(writer, Reply<void>([](Result<void>) {}));  // it need not gather others
    REQUIRE(world.run_until([&] { return world.calls["write"] > written; }));
  }
  world.run_for(kOneWay + 50ms);
  world.choose(1);
  CHECK(time_of(world, [&] { CHECK(world.stat("take").value().size == 3); }) == 0s);
  CHECK(world.close(reader));
}

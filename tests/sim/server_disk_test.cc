// Disks of a server that do what few do. fsync(2) fails once, and what it was to write is lost:
// docs/file-protocol.md, "Queued changes", 6. It has extended attributes that no client's kernel
// knows.
#include <catch2/catch.hpp>

#include "tests/fs/server_harness.h"
#include "tests/sim/memory_world.h"

using namespace rushfs;
using namespace rushfs::fs;
using namespace rushfs::sim;
using namespace std::chrono_literals;

namespace {

struct Story {
  explicit Story(std::size_t clients)
      : world(make_memory_world(disk, {.longest_delay = 20ms, .clients = clients})) {}
  std::unique_ptr<MemoryDisk> disk;
  std::unique_ptr<fs::test::World> world;
  std::string on_platter() { return *disk->look_up(*disk->root(), "clip").value()->on_platter; }
};

}  // namespace

TEST_CASE("a sync fails while more is being written: nothing is lost") {
  Story story(1);
  auto& world = *story.world;
  const auto file = world.create("clip", {.write = true}).value();
  std::string expected;
  const auto write = [&](char byte) {
    const std::string data(100'000, byte);
    REQUIRE(world.write(file.opened.handle, expected.size(), data));
    expected += data;
  };
  write('a');
  world.run_for(100ms);  // applied, and not on the disk yet
  story.disk->failing_syncs = 1;
  world.workers_rest = true;
  std::optional<bool> synced;
  world.volume().sync(file.opened.handle,
                      Reply<void>([&](Result<void> r) { synced = r.has_value(); }));
  REQUIRE(world.run_until([&] { return world.calls["commit"] > 0; }));
  write('b');
  world.run_for(100ms);  // it has arrived
  world.workers_rest = false;
  REQUIRE(world.run_until([&] { return synced.has_value(); }));
  CHECK_FALSE(*synced);
  REQUIRE(world.close(file.opened.handle));
  REQUIRE(world.drain());  // the mount says that all of it is on stable storage
  CHECK(story.on_platter().size() == expected.size());
  CHECK((story.on_platter() == expected));
  CHECK(story.on_platter().find('a') == 0);
}

TEST_CASE("another mount's sync of the same file fails: ours are still answered") {
  Story story(2);
  auto& world = *story.world;
  const auto first = world.create("clip", {.write = true}).value();
  REQUIRE(world.write(first.opened.handle, 0, "first"));
  REQUIRE(world.drain());
  world.choose(1);
  const auto second = world.open("clip", {.read = true, .write = true}).value();
  REQUIRE(world.write(second.handle, 100, "second"));
  world.run_for(200ms);  // applied and answered, not committed yet
  world.choose(0);
  REQUIRE(world.write(first.opened.handle, 200, "third"));
  story.disk->failing_syncs = 1;
  const auto failed = world.await<void>(
      [&](Reply<void> reply) { world.volume().sync(first.opened.handle, std::move(reply)); });
  CHECK_FALSE(failed);
  world.choose(1);
  std::optional<bool> synced;
  world.volume().sync(second.handle, Reply<void>([&](Result<void> r) { synced = r.has_value(); }));
  CHECK(world.run_until([&] { return synced.has_value(); }, 10min));
}

TEST_CASE("a disk that fails while the writer is cut off is not forgotten with the open file") {
  Story story(1);
  auto& world = *story.world;
  const auto file = world.create("clip", {.write = true}).value();
  REQUIRE(world.write(file.opened.handle, 0, "frames"));
  world.run_for(100ms);  // applied, and not on the disk yet
  world.silence_link(true);
  auto& clip = **story.disk->look_up(*story.disk->root(), "clip");
  REQUIRE(*clip.bytes == "frames");
  story.disk->lose(clip);
  std::uint64_t known = MemoryDisk::losses_known_at_open(clip);
  CHECK_FALSE(story.disk->sync(clip, known));  // a program on the server's machine is told of it
  world.run_for(2min);
  world.silence_link(false);
  REQUIRE(world.close(file.opened.handle));
  REQUIRE(world.drain());
  CHECK(story.on_platter() == "frames");
}

TEST_CASE("a client that sets the system's own attributes past its kernel is refused") {
  const LoopTime time{};
  MemoryDisk disk(time);
  testing::TemporaryFolder state;
  testing::ServerHarness server({}, state.path(), {.store = open_memory_store(disk)});
  testing::TestClient client(1);
  client.connect_and_attach(server);
  const NodeId clip = client.call(client.create("clip"))->entry.node;
  const auto set = [&](const std::string& name) {
    const auto done =
        client.call(SetXattr{client.number(), clip, name, std::string("value"), XattrMode::any});
    return done ? 0 : done.error().value();
  };
  CHECK(set("system.nfs4_acl") == EOPNOTSUPP);
  CHECK(set("system.posix_acl_access") == 0);
  CHECK(set("trusted.note") == 0);
}

TEST_CASE("of the system's own attributes only POSIX ACLs may be set") {
  Story story(1);
  auto& world = *story.world;
  const auto file = world.create("clip", {.write = true}).value();
  const auto set = [&](const std::string& name) {
    const auto done = world.await<void>([&](auto reply) {
      world.volume().set_xattr(file.found.number, name, "value", XattrMode::any,
                               std::move(reply));
    });
    return done ? 0 : done.error().value();
  };
  CHECK(set("system.nfs4_acl") == EOPNOTSUPP);
  CHECK(set("user.note") == 0);
  CHECK(world.calls["setxattr"] == 1);
  REQUIRE(world.write(file.opened.handle, 0, "queued"));
  CHECK(set("system.nfs4_acl") == EOPNOTSUPP);
  REQUIRE(world.close(file.opened.handle));
  REQUIRE(world.drain());
}

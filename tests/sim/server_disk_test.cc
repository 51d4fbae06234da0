// Disks of a server that do what few do. fsync(2) fails once, and what it was to write is lost:
// docs/file-protocol.md, "Queued changes", 6. It has extended attributes that no client's kernel
// knows.
#include <algorithm>
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

namespace {

/// Two mounts have the file open, and all that was written to it is on the disk.
struct Shared : Story {
  Shared() : Story(2) {
    const auto made = world->create("clip", {.read = true, .write = true}).value();
    REQUIRE(world->write(made.opened.handle, 0, text));
    REQUIRE(world->close(made.opened.handle));
    REQUIRE(world->drain());
    world->run_for(1s);
    for (const std::size_t client : {1, 0}) {
      world->choose(client);
      for (auto& handle : handles[client]) {
        handle = world->open("clip", {.read = true, .write = true}).value().handle;
      }
    }
  }
  void truncate(std::uint64_t size) {
    AttributeChange change;
    change.size = size;
    REQUIRE(world->await<Attributes>([&](auto reply) {
      world->volume().set_attributes(world->find("clip").value(), change, std::move(reply));
    }));
  }
  void copy() {
    REQUIRE(world->await<std::uint64_t>([&](auto reply) {
      world->volume().copy_range(handles[0][0], 0, handles[0][0], 1000, 500, std::move(reply));
    }));
  }
  int sync(std::size_t client, std::size_t handle) {
    world->choose(client);
    const auto synced = world->await<void>(
        [&](auto reply) { world->volume().sync(handles[client][handle], std::move(reply)); });
    world->choose(0);
    return synced ? 0 : synced.error().value();
  }

  std::string text = std::string(1000, 't');
  HandleNumber handles[2][2];
};

}  // namespace

TEST_CASE("what the server did for us is lost when another's sync fails: each descriptor hears") {
  Shared story;
  story.copy();
  story.disk->failing_syncs = 1;
  CHECK(story.sync(1, 0) == EIO);  // had it open, as on a local disk
  CHECK(story.on_platter() == story.text);
  for (const std::size_t handle : {0, 1}) {
    CHECK(story.sync(0, handle) == EIO);
    CHECK(story.sync(0, handle) == 0);
  }
  CHECK(story.sync(1, 0) == 0);
  CHECK(story.sync(1, 1) == 0);  // none of theirs was lost
  const auto later = story.world->open("clip", {.write = true}).value();
  CHECK(story.world->await<void>(
      [&](auto reply) { story.world->volume().sync(later.handle, std::move(reply)); }));
}

TEST_CASE("what the server did for us is lost when our own sync fails: we are told once") {
  Shared story;
  story.copy();
  story.disk->failing_syncs = 1;
  CHECK(story.sync(0, 0) == EIO);
  CHECK(story.sync(0, 0) == 0);
  CHECK(story.sync(0, 1) == EIO);
  CHECK(story.sync(0, 1) == 0);
}

TEST_CASE("the link is lost with the answer that tells of it: we are told on the next one") {
  Shared story;
  auto& world = *story.world;
  story.copy();
  story.disk->failing_syncs = 1;
  CHECK(story.sync(1, 0) == EIO);
  world.slow_answers["commit"] = 1s;
  world.calls.clear();
  std::optional<int> synced;
  world.volume().sync(story.handles[0][0], Reply<void>([&](Result<void> result) {
                        synced = result ? 0 : result.error().value();
                      }));
  REQUIRE(world.run_until([&] { return world.calls["commit"] == 1; }));
  world.slow_answers.clear();
  world.cut_link();
  REQUIRE(world.run_until([&] { return synced.has_value(); }));
  CHECK(synced == EIO);
  CHECK(story.sync(0, 0) == 0);
}

TEST_CASE("it is lost when what we wrote is committed in the background: that is sent again") {
  Shared story;
  story.copy();
  story.disk->failing_syncs = 1;
  REQUIRE(story.world->write(story.handles[0][0], 2000, "written"));
  story.world->run_for(10s);
  CHECK(story.on_platter().ends_with("written"));
  CHECK(story.sync(0, 1) == EIO);
  CHECK(story.sync(0, 0) == EIO);
  CHECK(story.sync(0, 0) == 0);
  CHECK(story.on_platter() == story.text + std::string(1000, '\0') + "written");
}

TEST_CASE("what had reached the disk before a sync failed is told to nobody") {
  Shared story;
  story.copy();
  CHECK(story.sync(1, 0) == 0);
  story.disk->failing_syncs = 1;
  CHECK(story.sync(1, 0) == EIO);
  CHECK(story.sync(0, 0) == 0);
}

TEST_CASE("a file that was cut short is long again after its disk has failed: who syncs it hears") {
  Shared story;
  REQUIRE(story.world->close(story.handles[0][0]));
  REQUIRE(story.world->close(story.handles[0][1]));
  story.world->run_for(10s);
  story.truncate(10);
  story.disk->failing_syncs = 1;
  CHECK(story.sync(1, 0) == EIO);
  for (auto& handle : story.handles[0]) {
    handle = story.world->open("clip", {.write = true}).value().handle;
  }
  CHECK(story.sync(0, 0) == EIO);  // who opens it is told too, if nobody was before
  CHECK(story.sync(0, 0) == 0);
}

TEST_CASE("the server's power is cut between a copy and its close: the close fails") {
  Shared story;
  story.copy();
  story.world->kill_server();
  story.disk->cut_power();
  story.world->boot_server_machine();
  story.world->start_server();
  story.world->run_for(10s);
  const auto flushed = story.world->await<void>(
      [&](auto reply) { story.world->volume().flush(story.handles[0][0], std::move(reply)); });
  CHECK_FALSE(flushed);
  CHECK(story.world->await<void>(
      [&](auto reply) { story.world->volume().flush(story.handles[0][0], std::move(reply)); }));
}

TEST_CASE("the server's power is cut before what it allocated is on its disk: who syncs it hears") {
  Shared story;
  const auto allocated = story.world->await<void>([&](auto reply) {
    story.world->volume().allocate(story.handles[0][0], 0, 0, 1 << 20, std::move(reply));
  });
  REQUIRE(allocated);
  CHECK(story.world->stat("clip").value().size == 1 << 20);
  const auto restart = [&] {
    story.world->kill_server();
    story.disk->cut_power();
    story.world->boot_server_machine();
    story.world->start_server();
    story.world->run_for(10s);
  };
  SECTION("also who has closed it, which waits for nothing") {
    REQUIRE(story.world->await<void>(
        [&](auto reply) { story.world->volume().flush(story.handles[0][0], std::move(reply)); }));
    story.world->run_for(10s);
    restart();
    CHECK(story.sync(0, 0) == 0);
    CHECK(story.world->stat("clip").value().size == 1 << 20);
    return;
  }
  restart();
  CHECK(story.world->stat("clip").value().size < 1 << 20);
  CHECK(story.sync(0, 0) == EIO);
  CHECK(story.sync(0, 0) == 0);
}

TEST_CASE("the server alone is restarted between a copy and its close: nothing is lost") {
  Shared story;
  story.copy();
  story.world->kill_server();
  story.world->start_server();
  story.world->run_for(10s);
  CHECK(story.world->await<void>(
      [&](auto reply) { story.world->volume().flush(story.handles[0][0], std::move(reply)); }));
  const auto there = story.world->open("clip", {.read = true}).value().handle;
  const auto before = story.world->read(there, 0, 100).value();
  story.world->kill_server();
  story.disk->cut_power();
  story.world->boot_server_machine();
  story.world->start_server();
  story.world->run_for(10s);
  CHECK(story.world->read_file("clip").value().substr(0, 100) == before);
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

namespace {

/// Many small files on a server that may keep few open.
struct Untar {
  static constexpr std::uint64_t kFiles = 200;
  LoopTime time{};
  MemoryDisk disk{time};
  testing::TemporaryFolder state;
  testing::ServerHarness server{
      {}, state.path(), {.descriptors = 1, .store = open_memory_store(disk)}};
  testing::TestClient client{1};
  std::vector<NodeId> made;
  std::vector<transport::RequestId> writes;

  Untar() {
    client.connect_and_attach(server);
    for (std::uint64_t i = 0; i < kFiles; ++i) {
      made.push_back(client.call(client.create(std::to_string(i)))->entry.node);
    }
  }
  void write_all() {
    for (std::uint64_t i = 0; i < kFiles; ++i) {
      writes.push_back(client.send(client.write(made[i], i + 1, 0, 0, "frames")));
    }
  }
  std::size_t unsynced() const {
    const auto& names = disk.root()->names;
    return static_cast<std::size_t>(std::ranges::count_if(names, [](const auto& name) {
      const MemoryDisk::File& file = *name.second.file;
      return file.bytes && !file.bytes->empty() && file.bytes != file.on_platter;
    }));
  }
  std::size_t lost() {
    std::size_t count = 0;
    for (std::uint64_t i = 0; i < kFiles; ++i) {
      count += client.call(Commit{made[i], i + 1, false}).has_value() ? 0 : 1;
    }
    return count;
  }
};

}  // namespace

TEST_CASE("more files are written than the server keeps open: none is declared lost") {
  Untar untar;
  untar.write_all();
  untar.server.settle();
  CHECK(untar.lost() == 0);
}

TEST_CASE("a disk that syncs slower than files are written holds the writes back") {
  Untar untar;
  untar.write_all();
  std::size_t most = 0;
  std::vector<Loop::Job> jobs;  // the newest is done first: a sync when nothing else can be
  while (true) {
    untar.server.settle_home();
    while (untar.server.with_workers() > 0) jobs.push_back(untar.server.take_from_workers());
    if (jobs.empty()) break;
    auto job = std::move(jobs.back());
    jobs.pop_back();
    std::move(job)();
    most = std::max(most, untar.unsynced());
  }
  CHECK(most < 30);
  for (const auto id : untar.writes) REQUIRE(untar.client.answer<Write>(id).has_value());
  CHECK(untar.lost() == 0);
}

TEST_CASE("a call that writes to a file is held back too, and then carried out") {
  Untar untar;
  std::vector<transport::RequestId> asked;
  for (const NodeId& node : untar.made) {
    SetAttributes longer;
    longer.order = untar.client.number();
    longer.node = node;
    longer.size = 100;
    asked.push_back(untar.client.send(longer));
  }
  untar.server.settle();
  for (const auto id : asked) REQUIRE(untar.client.answer<SetAttributes>(id)->has_value());
  for (const NodeId& node : untar.made) {
    REQUIRE(untar.client.call(Commit{node, 0, false}).has_value());
  }
}

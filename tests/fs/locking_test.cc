// docs/semantics.md, "Locks": what a program is told that asks for one, waits, or has lost it.
#include <catch2/catch.hpp>

#include "client_world.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using rushfs::testing::read_file;
using rushfs::testing::write_file;
using namespace std::chrono_literals;

namespace {

constexpr OpenFlags kBoth{.read = true, .write = true};

Result<void> lock(World& world, HandleNumber handle, const LockAsk& ask) {
  return world.await<void>(
      [&](auto reply) { world.volume().lock(handle, ask, std::move(reply)); });
}

}  // namespace

TEST_CASE("a lock is free for the next who asks here when its descriptor was closed") {
  World world;
  REQUIRE(world.write_file("file", "content"));
  LockAsk ask;
  ask.span.kind = LockKind::whole;
  ask.span.type = LockType::exclusive;
  for (std::uint64_t owner = 1; owner <= 3; ++owner) {
    ask.owner = owner;
    const auto opened = world.open("file", kBoth);
    REQUIRE(opened);
    CHECK(lock(world, opened->handle, ask));
    REQUIRE(world.write(opened->handle, 0, "written under it"));
    world.volume().release(opened->handle);
  }
}

TEST_CASE("a signal ends the wait for a lock that is being given up here") {
  World world;
  REQUIRE(world.write_file("file", "content"));
  const auto ours = world.open("file", kBoth)->handle, others = world.open("file", kBoth)->handle;
  LockAsk ask;
  ask.span.kind = LockKind::whole;
  ask.span.type = LockType::exclusive;
  ask.owner = 1;
  REQUIRE(lock(world, ours, ask));
  REQUIRE(world.write(ours, 0, "written under it"));
  world.silence_link(true);
  world.volume().release(ours);

  ask.owner = 2;
  ask.ticket = 1;
  std::optional<int> error;
  world.volume().lock(others, ask, [&](Result<void> done) {
    error = done ? 0 : done.error().value();
  });
  world.run_for(1s);
  CHECK(!error);
  world.volume().cancel_lock(1);
  CHECK(error == EINTR);

  world.silence_link(false);
  world.run_for(5s);
  ask.owner = 3;
  ask.ticket = 0;
  CHECK(lock(world, others, ask));
}

TEST_CASE("a lock set after one that could not be published was given up is held") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 11));
  WorldOptions options{.seed = seed, .shortest_delay = 1ms, .longest_delay = 50ms, .clients = 2};
  World world(options);
  REQUIRE(world.write_file("file", "content"));
  REQUIRE(world.drain());
  LockAsk ask;
  ask.owner = 1;
  ask.span.kind = LockKind::whole;
  ask.span.type = LockType::exclusive;
  const auto first = world.open("file", kBoth).value().handle;
  const auto second = world.open("file", kBoth).value().handle;
  REQUIRE(lock(world, first, ask));
  world.sabotage = [](const std::string& operation) -> std::optional<int> {
    if (operation == "write") return EPERM;
    return std::nullopt;
  };
  REQUIRE(world.write(first, 0, "refused"));
  world.volume().release(first);
  REQUIRE(lock(world, second, ask));
  world.run_for(1s);
  world.choose(1);
  const auto other = world.open("file", kBoth).value().handle;
  CHECK(lock(world, other, ask).error().value() == EAGAIN);
}

TEST_CASE("who lost his locks cannot go on by any call on the file") {
  WorldOptions options;
  options.clients = 2;
  World world(options);
  REQUIRE(world.write_file("project", "old"));
  REQUIRE(world.drain());
  LockAsk whole;
  whole.owner = whole.process = 1;
  whole.span.type = LockType::exclusive;
  const auto mine = world.open("project", kBoth).value().handle;
  REQUIRE(lock(world, mine, whole));
  world.silence_link(true);
  world.choose(1);
  const auto theirs = world.open("project", kBoth).value().handle;
  world.run_for(57s);
  CHECK(lock(world, theirs, whole).error() == errno_code(EAGAIN));
  world.run_for(8s);  // the lease is over
  REQUIRE(lock(world, theirs, whole));
  world.choose(0);
  world.silence_link(false);
  world.run_for(30s);
  Volume& volume = world.volume();
  const auto error = [](const auto& result) { return result ? 0 : result.error().value(); };
  CHECK(error(world.read(mine, 0, 1)) == EIO);
  CHECK(error(world.write(mine, 0, "x")) == EIO);
  CHECK(error(world.await<void>([&](auto reply) {
          volume.allocate(mine, 0, 0, 100, std::move(reply));
        })) == EIO);
  CHECK(error(world.await<std::uint64_t>([&](auto reply) {
          volume.seek(mine, 0, Seek::data, std::move(reply));
        })) == EIO);
  CHECK(error(world.await<std::uint64_t>([&](auto reply) {
          volume.copy_range(mine, 0, mine, 10, 3, std::move(reply));
        })) == EIO);
}

TEST_CASE("a lock set after one that was asked for in vain was taken back is held") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 11));
  World world({.seed = seed, .shortest_delay = 1ms, .longest_delay = 50ms, .timeout = 5s,
               .clients = 2});
  write_file(world.exported() / "wanted", "content");
  LockAsk ask;
  ask.owner = 1;
  ask.span.type = LockType::exclusive;
  const auto ours = world.open("wanted", kBoth).value().handle;
  world.silence_link(true);
  REQUIRE(lock(world, ours, ask).error().value() == ETIMEDOUT);
  world.silence_link(false);
  REQUIRE(lock(world, ours, ask));
  world.run_for(1s);
  world.choose(1);
  const auto theirs = world.open("wanted", kBoth).value().handle;
  CHECK(lock(world, theirs, ask).error().value() == EAGAIN);
}

TEST_CASE("a lock whose answer comes late does not undo what was written meanwhile") {
  World world;
  write_file(world.exported() / "index", "old");
  const auto locks = world.open("index", kBoth).value().handle;
  const auto writes = world.open("index", kBoth).value().handle;
  world.slow_answers["lock"] = 5s;
  LockAsk ask;
  ask.owner = 1;
  ask.span.type = LockType::exclusive;
  std::optional<bool> locked;
  world.volume().lock(locks, ask, [&](Result<void> done) { locked = done.has_value(); });
  world.run_for(1s);  // the answer is on its way, with the file as it is
  REQUIRE(world.write(writes, 4095, "x"));
  REQUIRE(world.drain());
  world.run_until([&] { return locked.has_value(); }, 10s);
  CHECK(locked == true);
  CHECK(world.read(writes, 0, 5000)->size() == 4096);
}

TEST_CASE("what was written under a lock that was lost after its file was closed is not sent") {
  World world({.timeout = 20s, .clients = 2});
  REQUIRE(world.write_file("table", "before!"));
  REQUIRE(world.drain());
  LockAsk ask;
  ask.owner = 1;
  ask.span.kind = GENERATE(LockKind::record, LockKind::whole);
  ask.span.type = LockType::exclusive;
  const auto ours = world.open("table", kBoth).value().handle;
  REQUIRE(lock(world, ours, ask));
  REQUIRE(world.write(ours, 0, "written"));
  world.run_for(5ms);
  world.silence_link(true);
  REQUIRE(world.write(ours, 0, "of ours"));
  std::optional<int> error;
  world.volume().unlock_closed(ours, 1, [&](Result<void> done) {
    error = done ? 0 : done.error().value();
  });
  world.volume().release(ours);
  world.run_for(80s);
  CHECK(error == (ask.span.kind == LockKind::record ? ETIMEDOUT : 0));

  world.kill_server();
  world.start_server();
  world.choose(1);
  const auto theirs = world.open("table", kBoth).value().handle;
  REQUIRE(lock(world, theirs, ask));
  REQUIRE(world.write(theirs, 0, "THEIRS!"));
  REQUIRE(world.drain());
  world.choose(0);
  world.silence_link(false);
  world.run_for(1min);
  world.choose(1);
  CHECK(read_file(world.exported() / "table") == "THEIRS!");
  ask.span.type = LockType::none;
  REQUIRE(lock(world, theirs, ask));
  world.choose(0);
  ask.span.type = LockType::exclusive;
  CHECK(lock(world, world.open("table", kBoth).value().handle, ask));
}

namespace {

LockAsk exclusive_lock() {
  LockAsk ask;
  ask.owner = 1;
  ask.span.type = LockType::exclusive;
  return ask;
}

/// We are cut off already; until another mount has our lock.
void lose_lock(World& world) {
  world.choose(1);
  const auto theirs = world.open("table", kBoth).value().handle;
  world.run_for(70s);
  REQUIRE(lock(world, theirs, exclusive_lock()));
  world.choose(0);
  world.silence_link(false);
  world.run_for(1min);
}

}  // namespace

TEST_CASE("what was on its way into the queue when a lock was lost is not sent") {
  World world({.clients = 2});
  REQUIRE(world.write_file("table", "before!"));
  REQUIRE(world.drain());
  const auto ours = world.open("table", kBoth).value().handle;
  REQUIRE(lock(world, ours, exclusive_lock()));
  world.queues_rest = true;
  REQUIRE(world.write(ours, 0, "of ours"));  // the queue has taken space for it
  world.silence_link(true);
  lose_lock(world);
  CHECK(world.write(ours, 0, "again").error() == errno_code(EIO));
  world.queues_rest = false;
  world.run_for(1min);
  CHECK(read_file(world.exported() / "table") == "before!");
  CHECK(world.volume().queue_status().parked.size() == 1);
}

TEST_CASE("who waits for room in the queue while his lock is lost is told, and nothing is sent") {
  World world({.queue_budget = 1 << 20, .timeout = 10min, .clients = 2});
  REQUIRE(world.write_file("table", "before!"));
  REQUIRE(world.write_file("clip", "short"));
  REQUIRE(world.drain());
  const auto ours = world.open("table", kBoth).value().handle;
  const auto clip = world.open("clip", kBoth).value().handle;
  REQUIRE(lock(world, ours, exclusive_lock()));
  world.silence_link(true);
  const auto answer = [](std::optional<int>& error) {
    return [&error](Result<std::uint64_t> done) { error = done ? 0 : done.error().value(); };
  };
  std::optional<int> filled, error;
  for (std::uint64_t at = 0; at < 4 << 20; at += 1 << 18) {
    world.volume().write(clip, at, Buffer(1 << 18, 'x'), answer(filled), Through::pages);
  }
  world.volume().write(ours, 0, Buffer(7, 'x'), answer(error), Through::pages);
  world.run_for(70s);
  CHECK(!error);
  lose_lock(world);
  CHECK(error == EIO);
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "table") == "before!");
  CHECK(std::filesystem::file_size(world.exported() / "clip") == 4 << 20);
}

TEST_CASE("who asked for more in vain keeps what he had, and nobody keeps more") {
  World world({.timeout = 5s, .clients = 2});
  write_file(world.exported() / "table", "content");
  const auto ours = world.open("table", kBoth).value().handle;
  LockAsk ask;
  ask.owner = 1;
  ask.span.kind = GENERATE(LockKind::record, LockKind::whole);
  ask.span.type = LockType::shared;
  REQUIRE(lock(world, ours, ask));
  ask.span.type = LockType::exclusive;
  world.slow_answers["lock"] = 3s;
  std::optional<int> error;
  world.volume().lock(ours, ask, [&](Result<void> done) {
    error = done ? 0 : done.error().value();
  });
  world.run_for(1s);  // the server has granted it, and the answer is on its way
  world.silence_link(true);
  world.run_for(10s);
  CHECK(error == ETIMEDOUT);
  world.slow_answers.clear();
  world.silence_link(false);
  world.run_for(10s);
  const bool kept = ask.span.kind == LockKind::record;  // flock(2) gives up first

  world.choose(1);
  ask.owner = 2;
  const auto theirs = world.open("table", kBoth).value().handle;
  CHECK(lock(world, theirs, ask).has_value() != kept);
  ask.span.type = LockType::shared;
  CHECK(lock(world, theirs, ask));
}

TEST_CASE("an flock that could not be changed is given up, and not missed after a cut") {
  World world({.timeout = 5s, .clients = 2});
  write_file(world.exported() / "table", "content");
  LockAsk ask;
  ask.span.kind = LockKind::whole;
  ask.span.type = LockType::shared;
  const auto ours = world.open("table", kBoth).value().handle;
  REQUIRE(lock(world, ours, ask));
  world.choose(1);
  REQUIRE(lock(world, world.open("table", kBoth).value().handle, ask));
  world.choose(0);
  ask.span.type = LockType::exclusive;
  CHECK(lock(world, ours, ask).error() == errno_code(EAGAIN));
  world.silence_link(true);
  world.run_for(20s);
  world.silence_link(false);
  world.run_for(20s);
  CHECK(world.read(ours, 0, 7) == "content");
}

TEST_CASE("a lock asked for while the link was dying does not hide that an earlier one was lost") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 21));
  World world({.seed = seed, .shortest_delay = 1ms, .longest_delay = 50ms, .timeout = 5min,
               .clients = 2});
  write_file(world.exported() / "table", "content");
  LockAsk ask;
  ask.span.type = LockType::exclusive;
  ask.span.last = 9;
  const auto ours = world.open("table", kBoth).value().handle;
  REQUIRE(lock(world, ours, ask));
  world.silence_link(true);
  ask.span.last = 19;
  std::optional<int> error;
  world.volume().lock(ours, ask, [&](Result<void> done) {
    error = done ? 0 : done.error().value();
  });
  world.run_for(100s);
  CHECK(!error);

  world.choose(1);
  const auto theirs = world.open("table", kBoth).value().handle;
  REQUIRE(lock(world, theirs, ask));
  REQUIRE(world.write(theirs, 0, "CONTENT"));
  ask.span.type = LockType::none;
  REQUIRE(lock(world, theirs, ask));

  world.choose(0);
  world.silence_link(false);
  world.run_for(1min);
  CHECK(error == EIO);
  CHECK(world.read(ours, 0, 100).error().value() == EIO);
}

TEST_CASE("locks are answered by the timeout without a link, and nobody keeps what he was denied") {
  World world({.timeout = 10s, .clients = 2});
  for (const char* name : {"wanted", "held", "closed"}) {
    write_file(world.exported() / name, "content");
  }
  LockAsk ask;
  ask.owner = 1;
  ask.span.kind = LockKind::whole;
  const auto handle_of = [&](const char* name) {
    return world.open(name, kBoth).value().handle;
  };
  const auto error_of = [&](HandleNumber handle, LockType type, bool wait = false) {
    ask.span.type = type;
    ask.ticket = wait ? 1 : 0;
    const auto done = lock(world, handle, ask);
    return done ? 0 : done.error().value();
  };
  const auto theirs = handle_of("wanted");
  REQUIRE(error_of(theirs, LockType::exclusive) == 0);
  world.choose(1);
  const auto wanted = handle_of("wanted"), held = handle_of("held");
  const auto closed = handle_of("closed"), again = handle_of("closed");
  REQUIRE(error_of(held, LockType::exclusive) == 0);
  REQUIRE(error_of(closed, LockType::exclusive) == 0);
  world.silence_link(true);
  world.volume().release(closed);
  std::vector<int> errors;
  CHECK(time_of(world, [&] {
          errors.push_back(error_of(wanted, LockType::exclusive, true));
        }) < 12s);
  CHECK(time_of(world, [&] { errors.push_back(error_of(held, LockType::none)); }) < 12s);
  CHECK(time_of(world, [&] { errors.push_back(error_of(again, LockType::exclusive)); }) < 12s);
  CHECK(errors == std::vector{ETIMEDOUT, ETIMEDOUT, ETIMEDOUT});
  world.silence_link(false);
  world.run_for(1min);
  world.choose(0);
  REQUIRE(error_of(theirs, LockType::none) == 0);
  world.run_for(1s);
  ask.owner = 2;
  CHECK(error_of(theirs, LockType::exclusive) == 0);
  CHECK(error_of(handle_of("held"), LockType::exclusive) == 0);
  CHECK(error_of(handle_of("closed"), LockType::exclusive) == 0);
}

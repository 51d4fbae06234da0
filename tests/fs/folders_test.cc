// What a listing taught, and how long it may be used: docs/semantics.md, "What others change".
#include <catch2/catch.hpp>

#include <map>

#include "client_world.h"
#include "tests/as_root.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using rushfs::testing::write_file;
using namespace std::chrono_literals;

namespace {

constexpr int kFiles = 5000;  // several pages

WorldOptions with_notices() {
  WorldOptions options;
  options.notices = true;
  options.clients = 2;
  return options;
}

std::string name_of(int number) { return "clip " + std::to_string(number); }

void fill(World& world) {
  for (int i = 0; i < kFiles; ++i) write_file(world.exported() / name_of(i), "take");
}

HandleNumber open_root(World& world) {
  return world
      .await<HandleNumber>(
          [&](auto reply) { world.volume().open_directory(kRootNode, std::move(reply)); })
      .value();
}

Listed list(World& world, HandleNumber folder, std::uint64_t cookie) {
  return world
      .await<Listed>([&](auto reply) {
        world.volume().read_directory(folder, cookie, std::move(reply));
      })
      .value();
}

int all_calls(const World& world) {
  int calls = 0;
  for (const auto& [operation, count] : world.calls) calls += count;
  return calls;
}

}  // namespace

TEST_CASE("who takes his time over a listing need not look up what it told") {
  if (!rushfs::testing::as_root()) return;
  World world(with_notices());
  fill(world);
  world.run_for(3s);
  const auto folder = open_root(world);
  world.calls.clear();
  std::uint64_t cookie = 0;
  int entered = 0, pages = 0;
  for (auto listed = list(world, folder, 0); listed.first < listed.page->size();
       listed = list(world, folder, cookie)) {
    ++pages;
    world.run_for(3s);
    for (std::size_t i = listed.first; i < listed.page->size(); ++i) {
      const auto& entry = (*listed.page)[i];
      cookie = entry.cookie;
      if (world.volume().enter(kRootNode, entry, listed.last_known)) ++entered;
    }
  }
  CHECK(pages >= 2);
  CHECK(entered == kFiles);
  CHECK(all_calls(world) <= pages + 1);
  world.volume().release_directory(folder);
}

TEST_CASE("a name looked for in vain is not asked for again before its folder changes") {
  if (!rushfs::testing::as_root()) return;
  World world(with_notices());
  CHECK(world.find("clip").error().value() == ENOENT);
  world.run_for(3s);
  world.calls.clear();
  CHECK(world.find("clip").error().value() == ENOENT);
  CHECK(world.calls["lookup"] == 0);
  world.choose(1);
  REQUIRE(world.write_file("clip", "theirs"));
  REQUIRE(world.drain());
  world.choose(0);
  CHECK(world.read_file("clip").value() == "theirs");
}

TEST_CASE("without promises a name looked for in vain is asked for again after a second") {
  World world;
  fill(world);  // too many for a listing to come along
  CHECK(world.find("other").error().value() == ENOENT);
  world.calls.clear();
  CHECK(world.find("other").error().value() == ENOENT);
  CHECK(world.calls["lookup"] == 0);
  write_file(world.exported() / "other", "theirs");
  world.run_for(1s);
  CHECK(world.find("other"));
  REQUIRE(world.write_file("ours", "1"));
  CHECK(world.read_file("ours").value() == "1");
}

TEST_CASE("a name looked for in vain brings the names of a small folder") {
  if (!rushfs::testing::as_root()) return;
  World world(with_notices());
  std::filesystem::create_directory(world.exported() / "day");
  write_file(world.exported() / "day" / "clip 1", "take");
  REQUIRE(world.find("day/clip 1"));
  CHECK(world.calls["readdir"] == 0);
  CHECK(world.find("day/clip 2").error().value() == ENOENT);
  world.run_for(3s);
  world.calls.clear();
  CHECK(world.find("day/clip 3").error().value() == ENOENT);
  CHECK(all_calls(world) == 0);
  REQUIRE(world.write_file("day/clip 3", "ours"));
  CHECK(world.read_file("day/clip 3").value() == "ours");
}

TEST_CASE("what others change while a listing is read is looked up, and nothing else") {
  if (!rushfs::testing::as_root()) return;
  World world(with_notices());
  fill(world);
  world.run_for(3s);
  const auto folder = open_root(world);
  const auto listed = list(world, folder, 0);
  const std::string changed = (*listed.page)[7].name;
  world.choose(1);
  REQUIRE(world.write_file(changed, "another take"));
  REQUIRE(world.drain());
  world.run_for(3s);
  world.choose(0);
  std::vector<std::string> to_look_up;
  for (const auto& entry : *listed.page) {
    if (entry.name == "." || entry.name == "..") continue;
    if (!world.volume().enter(kRootNode, entry, listed.last_known)) {
      to_look_up.push_back(entry.name);
    }
  }
  CHECK(to_look_up == std::vector<std::string>{changed});
  CHECK(world.stat(changed)->size == std::string("another take").size());
  world.volume().release_directory(folder);
}

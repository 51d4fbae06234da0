// docs/semantics.md, "Access times".
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include "client_world.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using rushfs::testing::write_file;
using namespace std::chrono_literals;

namespace {

Timestamp kept(const World& world, const std::string& name) {
  struct stat status {};
  REQUIRE(::stat((world.exported() / name).c_str(), &status) == 0);
  return {status.st_atim.tv_sec, static_cast<std::uint32_t>(status.st_atim.tv_nsec)};
}

void make_old(const World& world, const std::string& name) {
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, (world.exported() / name).c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("a read shows at once, and the server knows it once the file is closed") {
  World world;
  write_file(world.exported() / "clip", "footage");
  make_old(world, "clip");
  const Timestamp before = world.stat("clip")->atime;
  const auto opened = world.open("clip", {.read = true}).value();
  CHECK(world.stat("clip")->atime == before);  // opening is not reading
  CHECK(kept(world, "clip") == before);
  REQUIRE(world.read(opened.handle, 0, 3).value() == "foo");
  const Timestamp shown = world.stat("clip")->atime;
  CHECK(shown > before);
  CHECK(kept(world, "clip") == before);
  const auto changed = world.stat("clip")->ctime;
  REQUIRE(world.close(opened.handle));
  world.run_for(1s);
  CHECK(kept(world, "clip") > before);
  CHECK(world.stat("clip")->atime >= kept(world, "clip"));
  CHECK(world.stat("clip")->ctime == changed);
  CHECK(world.calls["touch"] == 1);
}

TEST_CASE("of a file read since it changed, another read is no news within a day") {
  World world;
  write_file(world.exported() / "clip", "footage");
  REQUIRE(world.read_file("clip"));
  world.run_for(5s);
  const Timestamp first = world.stat("clip")->atime;
  REQUIRE(world.read_file("clip"));
  world.run_for(1s);
  CHECK(world.stat("clip")->atime == first);
  CHECK(world.calls["touch"] == 1);
  world.run_for(24h);
  REQUIRE(world.read_file("clip"));
  CHECK(world.stat("clip")->atime > first);
}

TEST_CASE("the kernel gives up the pages of a file once, to show that they are read") {
  World world;
  REQUIRE(world.write_file("clip", "footage"));
  REQUIRE(world.drain());
  for (const bool kept : {false, true}) {
    const auto opened = world.open("clip", {.read = true}).value();
    CHECK(opened.keep_pages == kept);
    REQUIRE(world.read(opened.handle, 0, 7).value() == "footage");
    REQUIRE(world.close(opened.handle));
    world.run_for(1s);
  }
}

TEST_CASE("what was set by a program stays until the next read") {
  World world;
  write_file(world.exported() / "clip", "footage");
  REQUIRE(world.read_file("clip"));
  const auto clip = world.find("clip").value();
  AttributeChange change;
  change.atime = TimeChange{false, {5, 6}};
  REQUIRE(world.await<Attributes>([&](auto reply) {
    world.volume().set_attributes(clip, change, std::move(reply));
  }));
  CHECK(world.stat("clip")->atime == Timestamp{5, 6});
  REQUIRE(world.read_file("clip"));
  CHECK(world.stat("clip")->atime > Timestamp{5, 6});
}

TEST_CASE("what is set between a read and the close is not overwritten by the read") {
  World world;
  write_file(world.exported() / "clip", "footage");
  const auto opened = world.open("clip", {.read = true}).value();
  REQUIRE(world.read(opened.handle, 0, 7));
  AttributeChange change;
  change.atime = TimeChange{false, {5, 6}};
  const auto clip = world.find("clip").value();
  REQUIRE(world.await<Attributes>([&](auto reply) {
    world.volume().set_attributes(clip, change, std::move(reply));
  }));
  REQUIRE(world.close(opened.handle));
  world.run_for(3s);
  CHECK(world.stat("clip")->atime == Timestamp{5, 6});
}

TEST_CASE("a read of what waits in the queue is told when it has arrived") {
  World world;
  const auto opened = world.create("clip", {.read = true, .write = true})->opened;
  REQUIRE(world.write(opened.handle, 0, "footage"));
  REQUIRE(world.read(opened.handle, 0, 7).value() == "footage");
  REQUIRE(world.close(opened.handle));
  CHECK(world.calls["touch"] == 0);
  REQUIRE(world.drain());
  world.run_for(1s);
  CHECK(world.calls["touch"] == 1);
}

TEST_CASE("O_NOATIME leaves no access time") {
  World world;
  write_file(world.exported() / "clip", "footage");
  make_old(world, "clip");
  const Timestamp before = world.stat("clip")->atime;
  const auto opened = world.open("clip", {.read = true, .untouched = true}).value();
  REQUIRE(world.read(opened.handle, 0, 3).value() == "foo");
  REQUIRE(world.close(opened.handle));
  world.run_for(1s);
  CHECK(world.stat("clip")->atime == before);
  CHECK(kept(world, "clip") == before);
}

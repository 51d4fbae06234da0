// Two versions of a file meet where ours cannot be sent, or not be kept apart for now; and what
// counts as ours.
#include <fcntl.h>

#include "conflict_story.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

namespace {

std::function<std::optional<int>(const std::string&)> refuse(const std::string& what, int error,
                                                             const bool& on) {
  return [what, error, &on](const std::string& operation) -> std::optional<int> {
    if (on && operation == what) return error;
    return std::nullopt;
  };
}

/// Ours is parked when we are cut off; they write; we are back.
void meet_parked(Story& story, bool& refusing) {
  auto& world = story.world;
  refusing = true;
  world.sabotage = refuse("write", EACCES, refusing);
  story.patch(1000, "OURS");
  REQUIRE(world.run_until([&] { return world.volume().queue_status().parked.size() == 1; }));
  story.cut();
  write_file(story.file, "theirs");
}

}  // namespace

TEST_CASE("ours was parked, they wrote while we were cut off: both are kept") {
  Story story;
  bool refusing = false;
  meet_parked(story, refusing);
  refusing = false;
  story.world.silence_link(false);
  story.world.run_for(30s);
  story.world.volume().retry_now();
  story.world.run_for(3s);
  REQUIRE(story.world.drain());
  CHECK(read_file(story.file) == "theirs");
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
  CHECK(story.world.volume().queue_status().parked.empty());
}

TEST_CASE("ours was parked, nobody wrote while we were cut off: it stays parked, with no copy") {
  Story story;
  bool refusing = true;
  story.world.sabotage = refuse("write", EACCES, refusing);
  story.patch(1000, "OURS");
  story.world.run_for(3s);
  story.cut();
  story.world.silence_link(false);
  story.world.run_for(30s);
  REQUIRE(story.world.volume().queue_status().parked.size() == 1);
  refusing = false;
  story.world.volume().retry_now();
  story.world.run_for(3s);
  REQUIRE(story.world.drain());
  CHECK((read_file(story.file) == story.ours()));
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("ours was parked and cannot be kept apart: a person can still give it up") {
  Story story;
  auto& world = story.world;
  bool refusing = false;
  meet_parked(story, refusing);
  world.sabotage = refuse("tmpfile", ENOSPC, refusing);
  world.silence_link(false);
  world.run_for(30s);
  const auto parked = world.volume().queue_status().parked;
  REQUIRE(parked.size() == 1);
  REQUIRE(world.await<void>([&](auto reply) {
    world.volume().discard_parked(parked[0].operation, std::move(reply));
  }));
  refusing = false;
  world.run_for(60s);
  CHECK(world.read_file("reel/clip.mov").value() == "theirs");
  story.patch(0, "THEIRS");
  REQUIRE(world.drain());
  CHECK(read_file(story.file) == "THEIRS");
  CHECK(story.copies(world.exported() / "reel").empty());
}

TEST_CASE("who waits for stable storage is told why ours cannot be kept apart") {
  Story story;
  auto& world = story.world;
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  story.cut();
  REQUIRE(world.write(opened.handle, 1000, "OURS"));
  write_file(story.file, "theirs");
  bool refusing = true;
  world.sabotage = refuse("tmpfile", EROFS, refusing);
  const auto sync = [&] {
    return world.await<void>(
        [&](auto reply) { world.volume().sync(opened.handle, std::move(reply)); });
  };
  world.silence_link(false);
  CHECK(sync().error().value() == EROFS);
  CHECK(sync().error().value() == EROFS);
  refusing = false;
  world.volume().retry_now();
  REQUIRE(world.drain());
  CHECK(sync());
  REQUIRE(world.close(opened.handle));
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("we punched a hole and wrote nothing, they wrote: both are kept") {
  Story story;
  auto& world = story.world;
  const auto punch = [&](HandleNumber handle) {
    return world.await<void>([&](auto reply) {
      world.volume().allocate(handle, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192,
                              std::move(reply));
    });
  };
  const auto other = world.create("other", {.write = true}).value();
  REQUIRE(punch(other.opened.handle));  // the disk can
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  story.cut();
  const auto node = world.find("reel/clip.mov").value();
  AttributeChange rights;
  rights.mode = 0600;
  REQUIRE(world.await<Attributes>([&](auto reply) {
    world.volume().set_attributes(node, rights, std::move(reply));
  }));
  REQUIRE(punch(opened.handle));
  REQUIRE(world.close(opened.handle));
  write_file(story.file, "theirs");
  story.come_back();
  CHECK(read_file(story.file) == "theirs");
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == std::string(story.size, 'o').replace(4096, 8192, 8192, '\0')));
}

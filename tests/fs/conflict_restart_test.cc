// Two versions of a file meet, and one side or the other was restarted meanwhile:
// docs/semantics.md, "Conflicts".
#include "conflict_story.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

TEST_CASE("a power cut undid what the server had of ours, and the link fell silent: no copy") {
  Story story;
  auto& world = story.world;
  const auto before = std::filesystem::last_write_time(story.file);
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  REQUIRE(world.write(opened.handle, 1000, "OURS"));
  REQUIRE(world.run_until([&] { return get(story.file) == story.ours(); }));
  world.run_for(100ms);  // our mount knows it, and the time of it
  world.kill_server();
  put(story.file, std::string(300'000, 'o'));
  std::filesystem::last_write_time(story.file, before);
  world.start_server();
  world.calls.clear();
  REQUIRE(world.run_until([&] { return world.calls["attach"] > 0; }));
  world.run_for(15ms);  // what is sent once more is lost on its way
  world.silence_link(true);
  world.run_for(40s);
  REQUIRE(world.close(opened.handle));
  story.come_back();
  CHECK((get(story.file) == story.ours()));
  CHECK(story.copies(world.exported() / "reel").empty());
}

TEST_CASE("we wrote, cut off, and were killed; they wrote: both are kept") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  story.world.kill_client();
  story.world.start_client_unattached();
  put(story.file, "theirs");
  story.come_back();
  CHECK(get(story.file) == "theirs");
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("we wrote, cut off, and were killed twice; nobody else wrote: no copy") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  for (int i = 0; i < 2; ++i) {
    story.world.kill_client();
    story.world.start_client_unattached();
    story.world.run_for(3s);
  }
  story.come_back();
  CHECK((get(story.file) == story.ours()));
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("what was sent before we were killed is no change of theirs") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  story.world.silence_link(false);
  REQUIRE(story.world.run_until([&] { return get(story.file) == story.ours(); }));
  story.world.kill_client();  // the answer has not come
  story.world.start_client();
  REQUIRE(story.world.drain());
  CHECK((get(story.file) == story.ours()));
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("twice cut off before we hear that a change of ours has arrived: no copy") {
  Story story;
  auto& world = story.world;
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  world.slow_answers["write"] = 1s;
  REQUIRE(world.write(opened.handle, 1000, "OURS"));
  REQUIRE(world.run_until([&] { return get(story.file) == story.ours(); }));
  world.slow_answers.clear();
  for (int i = 0; i < 2; ++i) {
    world.calls.clear();
    world.cut_link();
    REQUIRE(world.run_until([&] { return world.calls["attach"] > 0; }));
    world.run_for(11ms);  // attached, and nothing has come of what is sent then
  }
  REQUIRE(world.close(opened.handle));
  story.come_back();
  CHECK((get(story.file) == story.ours()));
  CHECK(story.copies(world.exported() / "reel").empty());
}

TEST_CASE("we removed it, wrote on, cut off, and were killed: it is gone, no copy") {
  Story story;
  auto& world = story.world;
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  const auto folder = world.find("reel").value();
  REQUIRE(world.await<void>([&](auto reply) {
    world.volume().unlink(folder, "clip.mov", std::move(reply));
  }));
  world.run_for(3s);
  story.cut();
  REQUIRE(world.write(opened.handle, 1000, "OURS"));
  REQUIRE(world.await<void>([&](auto reply) {
    world.volume().flush(opened.handle, std::move(reply));
  }));
  world.kill_client();
  world.start_client_unattached();
  story.come_back();
  CHECK(!std::filesystem::exists(story.file));
  CHECK(story.copies(world.exported() / "reel").empty());
  CHECK(world.volume().queue_status().operations == 0);
}

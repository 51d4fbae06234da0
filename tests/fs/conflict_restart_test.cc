// Two versions of a file meet, and one side or the other was restarted meanwhile:
// docs/semantics.md, "Conflicts".
#include <sys/stat.h>

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
  REQUIRE(world.run_until([&] { return read_file(story.file) == story.ours(); }));
  world.run_for(100ms);  // our mount knows it, and the time of it
  world.kill_server();
  write_file(story.file, std::string(300'000, 'o'));
  std::filesystem::last_write_time(story.file, before);
  world.start_server();
  world.calls.clear();
  REQUIRE(world.run_until([&] { return world.calls["attach"] > 0; }));
  world.run_for(15ms);  // what is sent once more is lost on its way
  world.silence_link(true);
  world.run_for(40s);
  REQUIRE(world.close(opened.handle));
  story.come_back();
  CHECK((read_file(story.file) == story.ours()));
  CHECK(story.copies(world.exported() / "reel").empty());
}

TEST_CASE("we wrote, cut off, and were killed; they wrote: both are kept") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  story.world.kill_client();
  story.world.start_client_unattached();
  write_file(story.file, "theirs");
  story.come_back();
  story.check_both_kept();
}

TEST_CASE("we wrote, cut off, and ended while we asked what they did: both are kept") {
  Story story;
  auto& world = story.world;
  story.cut();
  story.patch(1000, "OURS");
  world.kill_client();
  world.start_client_unattached();
  write_file(story.file, "theirs");
  world.slow_answers["getattr"] = 10s;
  world.calls.clear();
  world.silence_link(false);
  REQUIRE(world.run_until([&] { return world.calls["getattr"] > 0; }));
  world.restart_client();
  world.slow_answers.clear();
  story.come_back();
  story.check_both_kept();
}

TEST_CASE("we wrote, they wrote, and the server cannot say so at first: both are kept") {
  Story story;
  auto& world = story.world;
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.file, "theirs");
  int refused = 0;
  world.sabotage = [&](const std::string& call) -> std::optional<int> {
    if (call != "getattr" || ++refused > 3) return std::nullopt;
    return EIO;
  };
  story.come_back();
  CHECK(refused > 3);
  story.check_both_kept();
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
  CHECK((read_file(story.file) == story.ours()));
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("what was sent before we were killed is no change of theirs") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  story.world.silence_link(false);
  REQUIRE(story.world.run_until([&] { return read_file(story.file) == story.ours(); }));
  story.world.kill_client();  // the answer has not come
  story.world.start_client();
  REQUIRE(story.world.drain());
  CHECK((read_file(story.file) == story.ours()));
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("twice cut off before we hear that a change of ours has arrived: no copy") {
  Story story;
  auto& world = story.world;
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  world.slow_answers["write"] = 1s;
  REQUIRE(world.write(opened.handle, 1000, "OURS"));
  REQUIRE(world.run_until([&] { return read_file(story.file) == story.ours(); }));
  world.slow_answers.clear();
  for (int i = 0; i < 2; ++i) {
    world.calls.clear();
    world.cut_link();
    REQUIRE(world.run_until([&] { return world.calls["attach"] > 0; }));
    world.run_for(11ms);  // attached, and nothing has come of what is sent then
  }
  REQUIRE(world.close(opened.handle));
  story.come_back();
  CHECK((read_file(story.file) == story.ours()));
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

namespace {

/// Written and not committed when the server's power is cut, which loses the name.
struct NewFile {
  Story story;
  World& world = story.world;
  std::string text = std::string(300'000, 'a');
  std::filesystem::path folder = world.exported() / "reel", file = folder / "take.mov";
  HandleNumber handle =
      world.create("reel/take.mov", {.read = true, .write = true}, 0640).value().opened.handle;

  /// So many bytes of it are on the server's disk before.
  explicit NewFile(std::size_t synced = 0) {
    if (synced > 0) {
      REQUIRE(world.write(handle, 0, text.substr(0, synced)));
      REQUIRE(world.drain());
    }
    REQUIRE(world.write(handle, synced, text.substr(synced)));
    REQUIRE(world.run_until([&] { return read_file(file) == text; }));
    world.run_for(100ms);
    world.kill_server();
    std::filesystem::remove(file);
  }
  void start() {
    world.start_server();
    world.run_for(5s);
  }
  void check_nothing_waits() {
    REQUIRE(world.close(handle));
    REQUIRE(world.drain());
    CHECK(world.volume().queue_status().operations == 0);
    CHECK(world.volume().queue_status().parked.empty());
  }
};

}  // namespace

TEST_CASE("a new file whose name the server's disk lost is made again, and written on") {
  NewFile take;
  take.start();
  REQUIRE(take.world.write(take.handle, take.text.size(), "more"));
  take.check_nothing_waits();
  CHECK((read_file(take.file) == take.text + "more"));
  CHECK(take.story.copies(take.folder).empty());
  CHECK(take.world.volume().queue_status().conflicts.empty());
  take.world.run_for(2s);
  CHECK((take.world.read_file("reel/take.mov").value() == take.text + "more"));
}

TEST_CASE("a new file was lost, and somebody has put another in its place: both are kept") {
  NewFile take;
  write_file(take.file, "theirs");
  take.start();
  take.check_nothing_waits();
  CHECK(read_file(take.file) == "theirs");
  const auto copies = take.story.copies(take.folder);
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == take.text));
  CHECK(take.world.volume().queue_status().conflicts.size() == 1);
}

TEST_CASE("a new file was lost with the folder it was in: it is at the top") {
  NewFile take;
  std::filesystem::remove_all(take.folder);
  take.start();
  take.check_nothing_waits();
  CHECK((read_file(take.world.exported() / "take.mov") == take.text));
}

TEST_CASE("a new file was lost while it was empty: what is written afterwards is kept") {
  Story story;
  auto& world = story.world;
  const auto made = world.create("take.mov", {.read = true, .write = true}).value();
  world.run_for(100ms);
  world.kill_server();
  std::filesystem::remove(world.exported() / "take.mov");
  world.start_server();
  world.run_for(5s);
  REQUIRE(world.write(made.opened.handle, 0, "late"));
  REQUIRE(world.close(made.opened.handle));
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "take.mov") == "late");
}

TEST_CASE("a file that was there before is removed while the server is down: ours is beside it") {
  Story story;
  auto& world = story.world;
  const std::string ours(story.size, 'm');
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  REQUIRE(world.write(opened.handle, 0, ours));
  REQUIRE(world.run_until([&] { return read_file(story.file) == ours; }));
  world.run_for(100ms);
  world.kill_server();
  std::filesystem::remove(story.file);
  world.start_server();
  world.run_for(5s);
  REQUIRE(world.close(opened.handle));
  REQUIRE(world.drain());
  CHECK_FALSE(std::filesystem::exists(story.file));
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == ours));
  CHECK(world.volume().queue_status().conflicts.at(0).missing_bytes == 0);
}

TEST_CASE("a new file was lost, and then we were killed: the next mount makes it again") {
  NewFile take;
  auto& world = take.world;
  REQUIRE(world.await<void>([&](auto reply) {
    world.volume().flush(take.handle, std::move(reply));
  }));
  world.kill_client();
  take.world.start_server();
  for (int i = 0; i < 2; ++i) {  // and once more before it comes to it
    world.start_client_unattached();
    world.kill_client();
  }
  world.start_client();
  world.run_for(5s);
  REQUIRE(world.drain());
  CHECK((read_file(take.file) == take.text));
  CHECK((std::filesystem::status(take.file).permissions() & std::filesystem::perms::all) ==
        std::filesystem::perms{0640});
  CHECK(take.story.copies(take.folder).empty());
  CHECK(world.volume().queue_status().parked.empty());
}

TEST_CASE("a new file first written without a link, by one who was killed, is made again") {
  Story story;
  auto& world = story.world;
  const auto file = world.exported() / "take.mov";
  const auto made = world.create("take.mov", {.write = true}).value();
  story.cut();
  REQUIRE(world.write(made.opened.handle, 0, "ours"));
  REQUIRE(world.close(made.opened.handle));
  world.kill_client();
  world.start_client_unattached();
  world.silence_link(false);
  REQUIRE(world.run_until([&] { return read_file(file) == "ours"; }));
  if (GENERATE(false, true)) {
    world.kill_client();
    world.start_client_unattached();
  }
  world.kill_server();
  std::filesystem::remove(file);
  world.start_server();
  story.come_back();
  CHECK(read_file(file) == "ours");
  CHECK(story.copies(world.exported()).empty());
}

TEST_CASE("we were killed, and somebody removed the new file: ours is beside it") {
  Story story;
  auto& world = story.world;
  const auto made = world.create("reel/take.mov", {.write = true}).value();
  world.slow_answers["write"] = 1s;
  REQUIRE(world.write(made.opened.handle, 0, "ours"));
  REQUIRE(world.await<void>([&](auto reply) {
    world.volume().flush(made.opened.handle, std::move(reply));
  }));
  const auto take = world.exported() / "reel" / "take.mov";
  REQUIRE(world.run_until([&] { return read_file(take) == "ours"; }));
  world.kill_client();
  world.run_for(1h);  // the server holds it for nobody any more
  std::filesystem::remove(take);
  world.start_client();
  world.run_for(5s);
  REQUIRE(world.drain());
  CHECK_FALSE(std::filesystem::exists(world.exported() / "reel" / "take.mov"));
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK(copies.begin()->second == "ours");
  CHECK(world.volume().queue_status().parked.empty());
}

TEST_CASE("a new file that somebody removes while we are connected is not made again") {
  Story story;
  auto& world = story.world;
  world.slow_calls["write"] = 1s;
  REQUIRE(world.write_file("reel/take.mov", "ours"));
  std::filesystem::remove(world.exported() / "reel" / "take.mov");
  world.run_for(30s);
  CHECK_FALSE(std::filesystem::exists(world.exported() / "reel" / "take.mov"));
  CHECK(story.copies(world.exported() / "reel").empty());
}

TEST_CASE("a new file of which a part is on the server's disk is not made again from the rest") {
  NewFile take{1};
  auto& world = take.world;
  SECTION("what nobody else has is in our cache") {
    take.start();
    CHECK_FALSE(std::filesystem::exists(take.file));
    take.check_nothing_waits();
    const auto copies = take.story.copies(take.folder);
    REQUIRE(copies.size() == 1);
    CHECK((copies.begin()->second == take.text));
  }
  SECTION("we were killed too") {
    REQUIRE(world.close(take.handle));
    world.kill_client();
    world.start_server();
    world.start_client();
    world.run_for(5s);
    CHECK_FALSE(std::filesystem::exists(take.file));
    CHECK(world.volume().queue_status().parked.size() == 1);
  }
}

TEST_CASE("of a new file that was lost, what was copied on the server is told to be missing") {
  Story story;
  auto& world = story.world;
  const std::filesystem::path folder = world.exported() / "reel", file = folder / "take.mov";
  const auto source = world.open("reel/clip.mov", {.read = true}).value().handle;
  const auto take =
      world.create("reel/take.mov", {.read = true, .write = true}, 0640).value().opened.handle;
  const std::uint64_t copied = world
                                   .await<std::uint64_t>([&](auto reply) {
                                     world.volume().copy_range(source, 0, take, 0, 300'000,
                                                               std::move(reply));
                                   })
                                   .value();
  REQUIRE(copied == 300'000);
  REQUIRE(world.write(take, copied, "ours"));
  REQUIRE(world.run_until([&] { return read_file(file).ends_with("ours"); }));
  world.run_for(100ms);
  world.kill_server();
  std::filesystem::remove(file);
  world.start_server();
  world.run_for(5s);
  REQUIRE(world.close(take));
  REQUIRE(world.drain());
  CHECK_FALSE(std::filesystem::exists(file));
  REQUIRE(world.volume().queue_status().conflicts.size() == 1);
  CHECK(world.volume().queue_status().conflicts[0].missing_bytes == copied);
  const auto copies = story.copies(folder);
  REQUIRE(copies.size() == 1);
  CHECK(copies.begin()->second.ends_with("ours"));
}

TEST_CASE("a new file that is mostly holes is made again as it was") {
  Story story;
  auto& world = story.world;
  const auto file = world.exported() / "sparse";
  const auto made = world.create("sparse", {.write = true}).value();
  REQUIRE(world.write(made.opened.handle, 0, "begin"));
  REQUIRE(world.write(made.opened.handle, 200 << 20, "end"));
  REQUIRE(world.run_until([&] {
    return std::filesystem::exists(file) && std::filesystem::file_size(file) == (200 << 20) + 3;
  }));
  world.run_for(100ms);
  world.kill_server();
  std::filesystem::remove(file);
  world.start_server();
  world.run_for(5s);
  CHECK(world.volume().queue_status().bytes < 100);
  REQUIRE(world.close(made.opened.handle));
  REQUIRE(world.drain());
  struct stat status {};
  REQUIRE(stat(file.c_str(), &status) == 0);
  CHECK(status.st_size == (200 << 20) + 3);
  CHECK(status.st_blocks < 1000);
  CHECK(world.volume().queue_status().conflicts.empty());
}

TEST_CASE("the power is cut again while a lost file is made again: it is there in the end") {
  WorldOptions options;
  options.queue_budget = 3 << 20;
  Story story(options);
  auto& world = story.world;
  const auto file = world.exported() / "take.mov";
  const std::string text(2 << 20, 't');
  const auto made = world.create("take.mov", {.write = true}).value();
  for (const std::uint64_t half : {0, 1 << 20}) {
    REQUIRE(world.write(made.opened.handle, half, text.substr(half, 1 << 20)));
  }
  REQUIRE(world.run_until([&] { return read_file(file) == text; }));
  world.run_for(100ms);
  world.kill_server();
  std::filesystem::remove(file);
  world.start_server();
  world.calls.clear();
  REQUIRE(world.run_until([&] { return world.calls["link"] == 1; }));
  const int more = GENERATE(0, 10, 20, 25);  // later its disk has the name
  world.run_for(std::chrono::milliseconds(more));
  world.kill_server();
  std::filesystem::remove(file);
  world.start_server();
  world.run_for(10s);
  REQUIRE(world.close(made.opened.handle));
  REQUIRE(world.drain());
  CAPTURE(more, read_file(file).size());
  CHECK((read_file(file) == text));
  CHECK(world.volume().queue_status().parked.empty());
}

TEST_CASE("we are killed while our version gets a file of its own: there is one, and it is whole") {
  const int later = GENERATE(range(0, 150, 5));
  CAPTURE(later);
  Story story;
  auto& world = story.world;
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.file, "theirs");
  world.calls.clear();
  world.silence_link(false);
  REQUIRE(world.run_until([&] { return world.calls["attach"] > 0; }));
  world.run_for(std::chrono::milliseconds(later));
  world.kill_client();
  world.start_client_unattached();
  story.come_back();
  CHECK(read_file(story.file) == "theirs");
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
  CHECK(world.volume().queue_status().operations == 0);
}

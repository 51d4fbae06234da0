// Two versions of a file meet: the table of docs/semantics.md, "Conflicts", row by row. What others
// do is done on the server's disk.
#include <sys/stat.h>
#include <unistd.h>

#include "conflict_story.h"
#include "tests/as_root.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;


TEST_CASE("both wrote: theirs keeps the name, ours is complete beside it, and is shown") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.file, "theirs");
  story.come_back();
  CHECK(read_file(story.file) == "theirs");
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK(copies.begin()->first.starts_with("clip (conflict editor 20"));
  CHECK(copies.begin()->first.ends_with(").mov"));
  CHECK((copies.begin()->second == story.ours()));
  const auto status = story.world.volume().queue_status();
  REQUIRE(status.conflicts.size() == 1);
  CHECK(status.conflicts[0].file == "reel/clip.mov");
  CHECK(status.conflicts[0].copy == "reel/" + copies.begin()->first);
  CHECK(status.operations == 0);
  CHECK(story.world.read_file("reel/clip.mov").value() == "theirs");
  CHECK((story.world.read_file(status.conflicts[0].copy).value() == story.ours()));
}

TEST_CASE("both wrote, and the link fell silent before we noticed: the same") {
  Story story;
  story.world.silence_link(true);
  const auto opened = story.world.open("reel/clip.mov", {.read = true, .write = true}).value();
  REQUIRE(story.world.write(opened.handle, 1000, "OURS"));
  REQUIRE(story.world.close(opened.handle));
  story.world.run_for(3s);  // sent, and lost
  write_file(story.file, "theirs");
  story.cut();
  story.come_back();
  story.check_both_kept();
}

TEST_CASE("we truncated and wrote anew, they wrote: both are kept") {
  Story story;
  story.cut();
  const auto opened =
      story.world.open("reel/clip.mov", {.write = true, .truncate = true}).value();
  REQUIRE(story.world.write(opened.handle, 0, "all new"));
  REQUIRE(story.world.close(opened.handle));
  write_file(story.file, "theirs");
  story.come_back();
  CHECK(read_file(story.file) == "theirs");
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK(copies.begin()->second == "all new");
}

TEST_CASE("we wrote, they removed the file: ours is kept") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  std::filesystem::remove(story.file);
  story.come_back();
  CHECK_FALSE(std::filesystem::exists(story.file));
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("we wrote, they replaced the file by another: both are kept") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.world.exported() / "new", "saved by their editor");
  std::filesystem::rename(story.world.exported() / "new", story.file);
  story.come_back();
  CHECK(read_file(story.file) == "saved by their editor");
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("we wrote, they removed the whole folder: ours is at the top") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  std::filesystem::remove_all(story.world.exported() / "reel");
  story.come_back();
  const auto copies = story.copies(story.world.exported());
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("we wrote, they renamed the file: ours arrives under the new name") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  const auto renamed = story.world.exported() / "reel" / "better name.mov";
  std::filesystem::rename(story.file, renamed);
  story.come_back();
  CHECK((read_file(renamed) == story.ours()));
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("we wrote, they changed the rights: both changes hold") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  std::filesystem::permissions(story.file, std::filesystem::perms::owner_read);
  story.come_back();
  CHECK((read_file(story.file) == story.ours()));
  CHECK(std::filesystem::status(story.file).permissions() ==
        std::filesystem::perms::owner_read);
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("we wrote, they changed owner and links: both changes hold") {
  if (!rushfs::testing::as_root()) return;
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  const auto other = story.world.exported() / "other.mov";
  std::filesystem::create_hard_link(story.file, other);
  REQUIRE(chown(story.file.c_str(), 1234, 2345) == 0);
  story.come_back();
  CHECK((read_file(story.file) == story.ours()));
  CHECK((read_file(other) == story.ours()));
  CHECK(std::filesystem::hard_link_count(other) == 2);
  CHECK(story.world.stat("reel/clip.mov")->uid == 1234);
  CHECK(story.world.stat("reel/clip.mov")->links == 2);
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

static void set_attributes(Story& story, const AttributeChange& change) {
  const auto node = story.world.find("reel/clip.mov").value();
  REQUIRE(story.world.await<Attributes>([&](auto reply) {
    story.world.volume().set_attributes(node, change, std::move(reply));
  }));
}

TEST_CASE("we changed owner and times, they wrote: both changes hold") {
  if (!rushfs::testing::as_root()) return;
  Story story;
  story.cut();
  AttributeChange change;
  change.uid = 1234;
  change.gid = 2345;
  change.atime = TimeChange{false, {5, 6}};
  change.mtime = TimeChange{false, {7, 8}};
  set_attributes(story, change);
  write_file(story.file, "theirs");
  story.come_back();
  CHECK(read_file(story.file) == "theirs");
  struct stat status {};
  REQUIRE(stat(story.file.c_str(), &status) == 0);
  CHECK(status.st_uid == 1234);
  CHECK(status.st_gid == 2345);
  CHECK(status.st_mtim.tv_sec == 7);
  CHECK(status.st_mtim.tv_nsec == 8);
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("we changed the rights, they wrote: both changes hold") {
  Story story;
  story.cut();
  AttributeChange change;
  change.mode = 0600;
  set_attributes(story, change);
  write_file(story.file, "theirs");
  story.come_back();
  CHECK(read_file(story.file) == "theirs");
  CHECK((std::filesystem::status(story.file).permissions() & std::filesystem::perms::all) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("only we wrote: it arrives under its name, with no copy") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  story.come_back();
  CHECK((read_file(story.file) == story.ours()));
  CHECK(story.copies(story.world.exported() / "reel").empty());
}

TEST_CASE("only we wrote, and the server was restarted in the middle of it: no copy either") {
  Story story;
  const auto opened = story.world.open("reel/clip.mov", {.read = true, .write = true}).value();
  for (int i = 0; i < 20; ++i) {
    REQUIRE(story.world.write(opened.handle, 1000 + 4 * i, "OURS"));
    if (i == 10) story.world.run_for(25ms);
  }
  story.world.kill_server();
  story.world.run_for(2s);
  story.world.start_server();
  REQUIRE(story.world.close(opened.handle));
  story.come_back();
  CHECK(story.copies(story.world.exported() / "reel").empty());
  CHECK(read_file(story.file).substr(1000, 80).find('o') == std::string::npos);
}

TEST_CASE("only we wrote, to a full disk, and the server was restarted meanwhile: no copy either") {
  Story story;
  bool full = true;
  story.world.sabotage = [&](const std::string& operation) -> std::optional<int> {
    if (operation != "write" || !full) return std::nullopt;
    std::filesystem::last_write_time(story.file, std::filesystem::file_time_type::clock::now());
    return ENOSPC;  // of which ext4 notes the time
  };
  story.patch(1000, "OURS");
  REQUIRE(story.world.run_until(
      [&] { return story.world.volume().queue_status().retry_error == ENOSPC; }));
  story.world.kill_server();
  story.world.run_for(2s);
  full = false;
  story.world.start_server();
  story.come_back();
  CHECK(story.copies(story.world.exported() / "reel").empty());
  CHECK((read_file(story.file) == story.ours()));
}

TEST_CASE("waiting for the queue while two versions meet ends when ours is at the server") {
  Story story;
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.file, "theirs");
  std::optional<Result<void>> waited;
  story.world.volume().wait_all([&](Result<void> result) { waited = result; });
  story.world.silence_link(false);
  REQUIRE(story.world.run_until([&] { return waited.has_value(); }));
  CHECK(waited->has_value());
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("we go on writing while two versions meet: ours has all of it") {
  Story story;
  story.cut();
  const auto opened = story.world.open("reel/clip.mov", {.read = true, .write = true}).value();
  REQUIRE(story.world.write(opened.handle, 1000, "OURS"));
  write_file(story.file, "theirs");
  story.world.silence_link(false);
  auto expected = story.ours();
  for (std::uint64_t i = 0; i < 200; ++i) {
    REQUIRE(story.world.write(opened.handle, 2000 + i, "+"));
    expected[2000 + i] = '+';
    story.world.run_for(50ms);
  }
  REQUIRE(story.world.close(opened.handle));
  story.come_back();
  CHECK(read_file(story.file) == "theirs");
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == expected));
}

TEST_CASE("we remove the name while two versions meet: theirs goes, ours is complete") {
  Story story;
  auto& world = story.world;
  const auto folder = world.find("reel").value();
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.file, "theirs");
  world.slow_answers["link"] = 300ms;
  world.silence_link(false);
  REQUIRE(world.run_until([&] { return world.calls["link"] == 1; }));
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().unlink(folder, "clip.mov", std::move(reply)); }));
  story.come_back();
  CHECK_FALSE(std::filesystem::exists(story.file));
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("names are not made, moved or removed while we are cut off") {
  Story story;
  story.cut();
  auto& world = story.world;
  const auto reel = world.find("reel").value();
  const auto clip = world.find("reel/clip.mov").value();
  const auto error_of = [](const auto& result) { return result ? 0 : result.error().value(); };
  CHECK(error_of(world.create("reel/new", {.write = true})) == ETIMEDOUT);
  CHECK(error_of(world.await<void>([&](auto reply) {
          world.volume().unlink(reel, "clip.mov", std::move(reply));
        })) == ETIMEDOUT);
  for (const auto mode : {RenameMode::replace, RenameMode::no_replace}) {
    CHECK(error_of(world.await<void>([&](auto reply) {
            world.volume().rename(reel, "clip.mov", kRootNode, "moved", mode, std::move(reply));
          })) == ETIMEDOUT);
  }
  CHECK(error_of(world.await<NodeReference>([&](auto reply) {
          world.volume().link(clip, reel, "another", std::move(reply));
        })) == ETIMEDOUT);
  story.come_back();
  CHECK(read_file(story.file) == std::string(story.size, 'o'));
  CHECK(std::distance(std::filesystem::directory_iterator(story.file.parent_path()),
                      std::filesystem::directory_iterator()) == 1);
}

TEST_CASE("a second conflict of a day gets a name of its own") {
  Story story;
  for (int round = 0; round < 2; ++round) {
    story.cut();
    story.patch(1000, "OURS");
    write_file(story.file, std::string(300'000 + round, 't'));
    story.come_back();
    REQUIRE(story.world.read_file("reel/clip.mov"));
  }
  CHECK(story.copies(story.world.exported() / "reel").size() == 2);
}

namespace {

/// We change a file while cut off, and remove it as soon as we are back. The question what became
/// of it meanwhile is overtaken by the removal, whose answer comes last.
struct OwnRemoval : Story {
  OwnRemoval() {
    world.slow_calls["getattr"] = 100ms;
    world.slow_answers["unlink"] = world.slow_answers["rename"] = 300ms;
    REQUIRE(world.write_file("reel/new.mov", "new"));
    REQUIRE(world.drain());
    folder = world.find("reel").value();
    opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
    world.run_for(1s);
    cut();
    REQUIRE(world.write(opened.handle, 1000, "OURS"));
  }
  void unlink() {
    world.silence_link(false);
    REQUIRE(world.await<void>(
        [&](auto reply) { world.volume().unlink(folder, "clip.mov", std::move(reply)); }));
  }
  void rename_over() {
    world.silence_link(false);
    REQUIRE(world.await<void>([&](auto reply) {
      world.volume().rename(folder, "new.mov", folder, "clip.mov", RenameMode::replace,
                            std::move(reply));
    }));
  }
  void check_no_copy() const {
    CHECK(copies(world.exported() / "reel").empty());
    CHECK(copies(world.exported()).empty());
  }

  NodeNumber folder;
  Opened opened;
};

}  // namespace

TEST_CASE("we wrote and removed it ourselves, nobody has it open: what was queued is dropped") {
  OwnRemoval story;
  REQUIRE(story.world.close(story.opened.handle));
  story.unlink();
  story.come_back();
  story.check_no_copy();
  const auto status = story.world.volume().queue_status();
  CHECK(status.conflicts.empty());
  CHECK(status.parked.empty());
}

TEST_CASE("we wrote and removed it ourselves, and have it open: it goes on without a name") {
  OwnRemoval story;
  story.unlink();
  story.come_back();
  story.check_no_copy();
  auto& world = story.world;
  CHECK((world.read(story.opened.handle, 0, 400'000).value() == story.ours()));
  REQUIRE(world.write(story.opened.handle, 0, "still"));
  REQUIRE(world.drain());
  CHECK((world.read(story.opened.handle, 0, 1004).value() ==
         "still" + story.ours().substr(5, 999)));
  CHECK(world.volume().queue_status().parked.empty());
  REQUIRE(world.close(story.opened.handle));
}

TEST_CASE("we wrote, and renamed another over it ourselves: no copy") {
  OwnRemoval story;
  const bool open = GENERATE(true, false);
  if (!open) REQUIRE(story.world.close(story.opened.handle));
  story.rename_over();
  story.come_back();
  story.check_no_copy();
  CHECK(read_file(story.file) == "new");
  if (!open) return;
  CHECK((story.world.read(story.opened.handle, 0, 400'000).value() == story.ours()));
}

TEST_CASE("we removed it before we were cut off, and hear so only afterwards: no copy") {
  OwnRemoval story;
  auto& world = story.world;
  world.silence_link(false);
  bool removed = false;
  REQUIRE(world.run_until([&] { return world.session().attached(); }));
  world.volume().unlink(story.folder, "clip.mov", [&](Result<void> done) {
    removed = done.has_value();
  });
  REQUIRE(world.run_until([&] { return !std::filesystem::exists(story.file); }));
  world.cut_link();
  story.come_back();
  CHECK(removed);
  story.check_no_copy();
  CHECK((world.read(story.opened.handle, 0, 400'000).value() == story.ours()));
}

TEST_CASE("our removal came too late, they had removed it: ours is kept") {
  OwnRemoval story;
  std::filesystem::remove(story.file);
  auto& world = story.world;
  world.silence_link(false);
  CHECK(world.await<void>([&](auto reply) {
               world.volume().unlink(story.folder, "clip.mov", std::move(reply));
             }).error().value() == ENOENT);
  story.come_back();
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

namespace {

/// A file of which nothing is cached.
struct Unread : Story {
  Unread() {
    write_file(world.exported() / "reel" / "unread.mov", std::string(300'000, 'o'));
    REQUIRE(world.find("reel/unread.mov"));
  }
  Opened open() { return world.open("reel/unread.mov", {.write = true}).value(); }
  void overwrite(const Opened& opened) {
    REQUIRE(world.write(opened.handle, 1000, "OURS"));
    REQUIRE(world.close(opened.handle));
    std::filesystem::remove(world.exported() / "reel" / "unread.mov");
    world.run_for(5s);
    come_back();
  }
};

}  // namespace

TEST_CASE("they removed the file, the server holds it for us: ours has all of it") {
  Unread story;
  const auto opened = story.open();
  story.world.run_for(1s);
  story.cut();
  story.world.slow_calls["getattr"] = 100ms;
  story.overwrite(opened);
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
  CHECK(story.world.volume().queue_status().conflicts.at(0).missing_bytes == 0);
}

TEST_CASE("they removed the file, and nobody has its bytes: what is missing is told") {
  Unread story;
  story.world.kill_server();  // it had looked at the file
  story.world.start_server();
  REQUIRE(story.world.run_until([&] { return story.world.session().attached(); }));
  story.cut();
  story.overwrite(story.open());
  const auto copies = story.copies(story.world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  auto expected = std::string(300'000, '\0').replace(1000, 4, "OURS");
  CHECK((copies.begin()->second == expected));
  CHECK(story.world.volume().queue_status().conflicts.at(0).missing_bytes == 300'000 - 4);
}

TEST_CASE("the link is lost for long while two versions meet: one copy, and it is complete") {
  WorldOptions options;
  options.queue_budget = 2 << 20;
  Story story(options, 5 << 20);
  auto& world = story.world;
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.file, "theirs");
  world.silence_link(false);
  REQUIRE(world.run_until([&] { return world.calls["link"] == 1; }));
  world.run_for(15ms);
  world.silence_link(true);  // the queue is full before all of ours is in it
  world.run_for(200s);
  CHECK(world.volume().queue_status().retry_error == ETIMEDOUT);
  story.come_back();
  story.check_both_kept();
}

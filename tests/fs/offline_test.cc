// Without a link: what is known is shown, what is cached is read, what is written waits, and
// everything else ends by its deadline. docs/semantics.md, "Without a link".
#include <sys/xattr.h>

#include "client_world.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using rushfs::testing::write_file;
using namespace std::chrono_literals;

namespace {

/// Names with their sizes, as `ls -l` shows them.
Result<std::map<std::string, std::uint64_t>> list(World& world, NodeNumber folder = kRootNode) {
  const auto handle = world.await<HandleNumber>(
      [&](auto reply) { world.volume().open_directory(folder, std::move(reply)); });
  if (!handle) return handle.error();
  std::map<std::string, std::uint64_t> sizes;
  std::uint64_t cookie = 0;
  for (;;) {
    const auto listed = world.await<Listed>([&](auto reply) {
      world.volume().read_directory(*handle, cookie, std::move(reply));
    });
    if (!listed) return listed.error();
    if (listed->first == listed->page->size()) break;
    for (std::size_t i = listed->first; i < listed->page->size(); ++i) {
      const auto& entry = (*listed->page)[i];
      cookie = entry.cookie;
      const auto found = world.volume().enter(folder, entry, listed->last_known);
      if (found) sizes[entry.name] = found->attributes.size;
    }
  }
  world.volume().release_directory(*handle);
  return sizes;
}

/// The server is away for long enough that everybody knows.
void lose_server(World& world) {
  world.kill_server();
  world.run_for(5s);
}

}  // namespace

TEST_CASE("what was listed before is listed, looked up and stat'ed while the server is away") {
  World world;
  write_file(world.exported() / "clip.mov", std::string(1000, 'c'));
  write_file(world.exported() / "notes.txt", "n");
  const auto before = list(world).value();
  REQUIRE(before.size() == 2);
  world.run_for(10s);
  lose_server(world);
  CHECK(time_of(world, [&] {
          CHECK(list(world).value() == before);
          CHECK(world.stat("clip.mov")->size == 1000);
          CHECK(world.stat("not there").error().value() == ENOENT);
          CHECK(world.stat("").value().inode != 0);
        }) < 1s);
}

TEST_CASE("a folder that the kernel has forgotten is listed as it was while the server is away") {
  World world;
  std::filesystem::create_directory(world.exported() / "reel");
  write_file(world.exported() / "reel" / "clip.mov", std::string(1000, 'c'));
  REQUIRE(list(world));
  const NodeNumber folder = world.find("reel").value();
  const auto before = list(world, folder).value();
  REQUIRE(before.size() == 1);
  world.volume().forget(folder, 2);  // listed, and looked up
  world.run_for(10s);
  lose_server(world);
  CHECK(time_of(world, [&] {
          CHECK(list(world, world.find("reel").value()).value() == before);
          CHECK(world.stat("reel/clip.mov")->size == 1000);
        }) < 1s);
}

TEST_CASE("a link's target and a file's notes are known though the kernel has forgotten them") {
  World world;
  std::filesystem::create_symlink("clip.mov", world.exported() / "link");
  write_file(world.exported() / "clip.mov", "c");
  ::setxattr((world.exported() / "clip.mov").c_str(), "user.note", "n", 1, 0);
  const auto target_of = [&](NodeNumber link) {
    return world.await<std::string>(
        [&](auto reply) { world.volume().read_link(link, std::move(reply)); });
  };
  const auto note_of = [&](NodeNumber clip) {
    return world.await<std::string>(
        [&](auto reply) { world.volume().get_xattr(clip, "user.note", std::move(reply)); });
  };
  const NodeNumber link = world.find("link").value(), clip = world.find("clip.mov").value();
  REQUIRE(target_of(link).value() == "clip.mov");
  REQUIRE(note_of(clip).value() == "n");
  world.volume().forget(link, 1);
  world.volume().forget(clip, 1);
  world.run_for(10s);
  lose_server(world);
  CHECK(time_of(world, [&] {
          CHECK(target_of(world.find("link").value()).value() == "clip.mov");
          CHECK(note_of(world.find("clip.mov").value()).value() == "n");
        }) < 1s);
}

TEST_CASE("what we removed while its folder was being listed is not there without a link") {
  World world;
  write_file(world.exported() / "clip.mov", "c");
  write_file(world.exported() / "notes.txt", "n");
  world.slow_answers["readdir"] = 100ms;
  const auto handle = world.await<HandleNumber>(
      [&](auto reply) { world.volume().open_directory(kRootNode, std::move(reply)); });
  std::optional<Result<Listed>> listed;
  world.volume().read_directory(handle.value(), 0, [&](auto result) { listed = result; });
  REQUIRE(world.run_until([&] { return world.calls["readdir"] > 0; }));
  REQUIRE(world.await<void>([&](auto reply) {
    world.volume().unlink(kRootNode, "clip.mov", std::move(reply));
  }));
  REQUIRE(world.run_until([&] { return listed.has_value(); }));
  world.volume().release_directory(*handle);
  world.run_for(10s);
  lose_server(world);
  CHECK_FALSE(world.stat("clip.mov"));
}

TEST_CASE("a name that was gone when asked for is not in the listing known before") {
  World world;
  write_file(world.exported() / "clip.mov", "c");
  write_file(world.exported() / "notes.txt", "n");
  REQUIRE(list(world)->size() == 2);
  world.run_for(10s);
  std::filesystem::remove(world.exported() / "clip.mov");
  write_file(world.exported() / "new.mov", "new");
  REQUIRE(world.stat("clip.mov").error().value() == ENOENT);
  REQUIRE(world.stat("new.mov"));
  lose_server(world);
  const auto known = list(world).value();
  CHECK(known.size() == 2);
  CHECK(known.contains("new.mov"));
}

TEST_CASE("what we wrote is shown under every name the file was listed with") {
  World world;
  write_file(world.exported() / "old name", "1");
  REQUIRE(list(world));
  std::filesystem::rename(world.exported() / "old name", world.exported() / "new name");
  world.run_for(3s);
  REQUIRE(world.write_file("new name", "22"));
  REQUIRE(world.drain());
  world.run_for(10s);  // nobody needs it any more
  lose_server(world);
  CHECK(world.stat("new name")->size == 2);
  CHECK(world.stat("old name")->size == 2);
}

TEST_CASE("what was read before is opened and read while the server is away") {
  World world;
  write_file(world.exported() / "clip.mov", std::string(700'000, 'c'));
  REQUIRE(world.read_file("clip.mov"));
  world.run_for(10s);
  lose_server(world);
  CHECK(time_of(world, [&] {
          CHECK(world.read_file("clip.mov").value() == std::string(700'000, 'c'));
        }) < 1s);
}

TEST_CASE("a known file is written while the server is away, and arrives") {
  World world;
  write_file(world.exported() / "notes.txt", "old notes");
  REQUIRE(world.read_file("notes.txt"));
  world.run_for(10s);
  lose_server(world);
  const auto opened = world.open("notes.txt", {.read = true, .write = true}).value();
  REQUIRE(world.write(opened.handle, 0, "new"));
  REQUIRE(world.close(opened.handle));
  CHECK(world.read_file("notes.txt").value() == "new notes");
  world.start_server();
  REQUIRE(world.drain());
  world.run_for(2s);
  CHECK(world.read_file("notes.txt").value() == "new notes");
}

TEST_CASE("news are seen again once the server is back") {
  World world;
  write_file(world.exported() / "a", "1");
  REQUIRE(list(world));
  lose_server(world);
  write_file(world.exported() / "b", "22");
  CHECK(list(world)->size() == 1);
  world.start_server();
  world.run_for(10s);
  CHECK(list(world)->size() == 2);
  CHECK(world.stat("b")->size == 2);
}

TEST_CASE("news of a short cut are seen through a change of ours made after it") {
  WorldOptions options;
  options.notices = true;
  World world(options);
  write_file(world.exported() / "a", std::string(1000, 'a'));
  const auto opened = world.open("a", {.read = true, .write = true}).value();
  world.run_for(3s);
  world.cut_link();
  write_file(world.exported() / "a", "theirs");  // before anybody could tell us
  world.calls.clear();
  REQUIRE(world.run_until([&] { return world.calls["attach"] > 0; }));
  world.run_for(3s);
  REQUIRE(world.write(opened.handle, 0, "o"));
  CHECK(world.stat("a")->size == 6);
  CHECK(world.read(opened.handle, 0, 100).value() == "oheirs");
}

TEST_CASE("who has a file open and asks for nothing reads what others wrote since a short cut") {
  World world({.clients = 2, .notices = true});
  write_file(world.exported() / "a", std::string(1000, 'a'));
  const auto opened = world.open("a", {.read = true}).value();
  REQUIRE(world.read(opened.handle, 0, 1000).value() == std::string(1000, 'a'));
  world.run_for(3s);
  world.cut_link();
  world.calls.clear();
  REQUIRE(world.run_until([&] { return world.calls["attach"] > 0; }));
  world.run_for(3s);
  world.choose(1);
  REQUIRE(world.write_file("a", std::string(1000, 'b')));
  REQUIRE(world.drain());
  world.run_for(1s);
  world.choose(0);
  CHECK(world.read(opened.handle, 0, 1000).value() == std::string(1000, 'b'));
}

TEST_CASE("a silent link delays what is known by five seconds, the rest by the timeout") {
  World world;
  write_file(world.exported() / "known", "k");
  REQUIRE(list(world));
  world.run_for(2s);
  world.silence_link(true);
  CHECK(time_of(world, [&] { CHECK(list(world)->size() == 1); }) <= 6s);
  CHECK(time_of(world, [&] { CHECK(world.stat("known")->size == 1); }) <= 11s);
  CHECK(time_of(world, [&] {
          CHECK(world.create("new", {.write = true}).error().value() == ETIMEDOUT);
        }) <= 61s);
}

TEST_CASE("fsync ends by the timeout on a silent link, and what it was to bring waits") {
  World world;
  const auto created = world.create("project", {.write = true}).value();
  world.silence_link(true);
  REQUIRE(world.write(created.opened.handle, 0, "precious"));
  CHECK(time_of(world, [&] {
          const auto synced = world.await<void>(
              [&](auto reply) { world.volume().sync(created.opened.handle, std::move(reply)); });
          CHECK(synced.error().value() == ETIMEDOUT);
        }) <= 62s);
  CHECK(world.volume().queue_status().operations > 0);
  world.silence_link(false);
  world.cut_link();
  REQUIRE(world.close(created.opened.handle));
  REQUIRE(world.drain());
  CHECK(std::filesystem::file_size(world.exported() / "project") == 8);
}

TEST_CASE("fsync does not end while the server shows signs of life, however slow it is") {
  World world;
  world.sabotage = [&](const std::string& operation) -> std::optional<int> {
    if (operation == "write" && world.now() < rushfs::transport::TimePoint{} + 1h + 3min) {
      return EAGAIN;
    }
    return std::nullopt;
  };
  const auto created = world.create("project", {.write = true}).value();
  REQUIRE(world.write(created.opened.handle, 0, "precious"));
  const auto synced = world.await<void>(
      [&](auto reply) { world.volume().sync(created.opened.handle, std::move(reply)); });
  CHECK(synced.error().value() != ETIMEDOUT);
}

TEST_CASE("what came of a call that a live server answered too late is seen by who looks next") {
  WorldOptions options;
  options.notices = true;
  World world(options);
  write_file(world.exported() / "clip", "footage");
  REQUIRE(world.read_file("clip"));
  const bool given_up_first = GENERATE(false, true);  // and carried out after that
  world.slow_answers["unlink"] = given_up_first ? 0s : 100s;
  world.workers_rest = given_up_first;
  std::optional<Result<void>> removed;
  world.volume().unlink(kRootNode, "clip",
                        Reply<void>([&](Result<void> result) { removed = result; }));
  for (int i = 0; i < 70 && !removed; ++i) {
    world.run_for(1s);
    world.session().heard();
  }
  REQUIRE(removed);
  REQUIRE(removed->error() == errno_code(ETIMEDOUT));
  world.workers_rest = false;
  world.run_for(1s);
  CHECK(world.stat("clip").error() == errno_code(ENOENT));
}

TEST_CASE("a writer that waits for room in the queue ends by the timeout on a dead link") {
  WorldOptions options;
  options.queue_budget = 1 << 20;
  World world(options);
  const auto created = world.create("clip.mov", {.write = true}).value();
  world.silence_link(true);
  boost::system::error_code error;
  CHECK(time_of(world, [&] {
          for (std::uint64_t at = 0; !error && at < (4u << 20); at += 128 << 10) {
            const auto done = world.write(created.opened.handle, at, std::string(128 << 10, 'x'));
            if (!done) error = done.error();
          }
        }) <= 63s);
  CHECK(error.value() == ETIMEDOUT);
}

// ---- Round trips ------------------------------------------------------------------------------

TEST_CASE("asking for what was just listed costs no round trip") {
  World world;
  write_file(world.exported() / "clip.mov", "c");
  REQUIRE(list(world));
  const auto before = world.session().waits();
  CHECK(world.stat("clip.mov")->size == 1);
  CHECK(world.stat("not there").error().value() == ENOENT);
  const auto opened = world.open("clip.mov", {.read = true});
  REQUIRE(opened);
  CHECK(world.session().waits() == before);
  CHECK(world.read(opened->handle, 0, 100).value() == "c");
  CHECK(world.session().waits() == before + 1);
}

TEST_CASE("opening and first reading of something not looked at for a while costs one round trip") {
  World world;
  write_file(world.exported() / "clip.mov", std::string(100'000, 'c'));
  REQUIRE(list(world));
  const auto node = world.find("clip.mov").value();
  world.run_for(2s);
  const auto before = world.session().waits();
  const auto opened = world.await<Opened>(
      [&](auto reply) { world.volume().open(node, {.read = true}, std::move(reply)); });
  REQUIRE(opened);
  CHECK(world.read(opened->handle, 0, 4096).value() == std::string(4096, 'c'));
  CHECK(world.session().waits() == before + 1);
}

TEST_CASE("copying a folder of n files costs a round trip for each and one for the folder") {
  World world;
  const auto before = world.session().waits();
  REQUIRE(world.await<NodeReference>([&](auto reply) {
    world.volume().make_directory(kRootNode, "card", Caller{0, 0, 022}, 0755, std::move(reply));
  }));
  const auto folder = world.find("card").value();
  for (int i = 0; i < 100; ++i) {
    // As the kernel does for cp: a lookup that finds nothing, then the creation.
    const auto name = "clip" + std::to_string(i);
    REQUIRE(world.await<NodeReference>([&](auto reply) {
                   world.volume().lookup(folder, name, std::move(reply));
                 })->number.value == 0);
    const auto created = world.await<Created>([&](auto reply) {
      world.volume().create(folder, name, Caller{0, 0, 022}, 0644, {.write = true},
                            std::move(reply));
    });
    REQUIRE(created);
    REQUIRE(world.write(created->opened.handle, 0, "footage"));
    REQUIRE(world.close(created->opened.handle));
  }
  CHECK(world.session().waits() - before <= 103);
  REQUIRE(world.drain());
  CHECK(list(world, folder)->size() == 100);
}

TEST_CASE("making, renaming and removing a name cost one round trip each") {
  World world;
  write_file(world.exported() / "a", "1");
  REQUIRE(list(world));
  auto waits = [&](auto action) {
    const auto before = world.session().waits();
    action();
    return world.session().waits() - before;
  };
  CHECK(waits([&] {
          REQUIRE(world.stat("day").error().value() == ENOENT);
          REQUIRE(world.await<NodeReference>([&](auto reply) {
            world.volume().make_directory(kRootNode, "day", Caller{0, 0, 022}, 0755,
                                          std::move(reply));
          }));
        }) == 1);
  CHECK(waits([&] {
          REQUIRE(world.stat("b").error().value() == ENOENT);
          REQUIRE(world.await<void>([&](auto reply) {
            world.volume().rename(kRootNode, "a", kRootNode, "b", RenameMode::replace,
                                  std::move(reply));
          }));
        }) == 1);
  CHECK(waits([&] {
          REQUIRE(world.stat("b"));
          REQUIRE(world.await<void>(
              [&](auto reply) { world.volume().unlink(kRootNode, "b", std::move(reply)); }));
        }) == 1);
  CHECK(world.stat("b").error().value() == ENOENT);
}

TEST_CASE("what another client adds to a listed folder is found within a second") {
  World world;
  REQUIRE(list(world));
  CHECK(world.stat("new").error().value() == ENOENT);
  write_file(world.exported() / "new", "n");
  world.run_for(1100ms);
  CHECK(world.stat("new")->size == 1);
}

TEST_CASE("several writes that find the queue full wait together") {
  WorldOptions options;
  options.queue_budget = 1 << 20;
  World world(options);
  const auto made = world.create("clip", {.write = true}).value();
  world.slow_calls["write"] = 1s;
  int answered = 0;
  for (std::uint64_t i = 0; i < 8; ++i) {
    world.volume().write(made.opened.handle, i << 19, Buffer(1 << 19, 'x'),
                         [&](Result<std::uint64_t> done) { answered += done ? 1 : 0; });
  }
  world.run_for(500ms);
  CHECK(answered == 2);
  REQUIRE(world.run_until([&] { return answered == 8; }));
  REQUIRE(world.close(made.opened.handle));
  REQUIRE(world.drain());
  CHECK(std::filesystem::file_size(world.exported() / "clip") == 4 << 20);
}

TEST_CASE("who asks for the space on a server that says nothing is soon told so") {
  World world;
  world.silence_link(true);
  CHECK(time_of(world, [&] {
          const auto space = world.await<StatFsReply>([&](auto reply) {
            world.volume().stat_fs(kRootNode, std::move(reply));
          });
          CHECK(space.error().value() == ETIMEDOUT);
        }) < 6s);
}

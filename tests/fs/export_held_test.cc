// docs/semantics.md, "A file without a name": what a client holds open stays, whoever removes its
// name.
#include <sys/stat.h>

#include "fs/server/held_files.h"
#include "tests/fs/server_harness.h"

using namespace rushfs::testing;
namespace files = std::filesystem;

namespace {

struct Studio {
  TemporaryFolder exported, state;
  std::unique_ptr<ServerHarness> server;
  TestClient anna{1}, ben{2};
  NodeId clip;

  Studio() {
    start();
    write_file(exported / "clip", "frames");
    clip = anna.lookup("clip");
  }
  void start() {
    server = std::make_unique<ServerHarness>(exported.path(), state.path());
    anna.connect_and_attach(*server);
    ben.connect_and_attach(*server);
  }
  void kill_and_restart() {
    server.reset();
    start();
  }
  void unlink(TestClient& by, bool hold) {
    const auto removed = by.call(Unlink{by.number(), by.root, "clip", hold});
    REQUIRE(removed.has_value());
    if (hold) {
      REQUIRE(removed->removed.has_value());
      CHECK(removed->removed->attributes.links == 0);
    }
  }
  bool orphans_on_disk() const { return files::exists(exported / kOrphanFolder); }
};

std::size_t descriptors() {
  return static_cast<std::size_t>(
      std::distance(files::directory_iterator("/proc/self/fd"), files::directory_iterator()));
}

}  // namespace

TEST_CASE("a file unlinked by its holder can be read and written until it is released") {
  Studio studio;
  studio.unlink(studio.anna, true);
  CHECK(!files::exists(studio.exported / "clip"));
  CHECK(!studio.anna.call(Lookup{studio.anna.root, "clip"})->entry);
  CHECK(studio.anna.call(studio.anna.write(studio.clip, 1, 0, 6, " more")).has_value());
  CHECK(studio.anna.read(studio.clip) == "frames more");
  CHECK(studio.anna.call(GetAttributes{studio.clip})->attributes.links == 0);
  CHECK(studio.anna.call(Commit{studio.clip, 1, false}).has_value());
  REQUIRE(studio.anna.call(Release{studio.clip}).has_value());
  studio.server->settle();
  CHECK(error_of(studio.anna.call(GetAttributes{studio.clip})) == ESTALE);
  CHECK(!studio.orphans_on_disk());
}

TEST_CASE("who holds as many files as he may gets no further one made") {
  TemporaryFolder exported(TemporaryFolder::Place::memory), state;
  ServerHarness server(exported.path(), state.path(), {.keep_state = false});
  TestClient anna(1);
  anna.connect_and_attach(server);
  const auto make = [&](const std::string& name, bool hold) {
    Create create = anna.create(name);
    create.call.lowest_unanswered = create.call.number;
    create.hold = hold;
    return error_of(anna.call(create));
  };
  int errors = 0;
  for (std::size_t i = 0; i < HeldFiles::kMaxPerKey; ++i) {
    errors += make("part " + std::to_string(i), true) != 0 ? 1 : 0;
  }
  REQUIRE(errors == 0);
  CHECK(make("one more", true) == ENFILE);
  CHECK(!files::exists(exported / "one more"));
  CHECK(make("not held", false) == 0);
}

TEST_CASE("an export keeps to the descriptors that it was given") {
  constexpr std::size_t kGiven = 400;
  Studio studio;
  studio.server.reset();
  const std::size_t before = descriptors();
  studio.server = std::make_unique<ServerHarness>(studio.exported.path(), studio.state.path(),
                                                  HarnessOptions{.descriptors = kGiven});
  studio.anna.connect_and_attach(*studio.server);
  std::vector<NodeId> parts;
  for (std::size_t i = 0; i < 2 * kGiven; ++i) {
    const auto made = studio.anna.call(studio.anna.create("part " + std::to_string(i)));
    REQUIRE(made.has_value());
    parts.push_back(made->entry.node);
    REQUIRE(studio.anna.call(Open{parts.back(), true, 0, 0}).has_value());
    REQUIRE(studio.anna.call(studio.anna.write(parts.back(), i + 1, 0, 0, "frames")).has_value());
  }
  CHECK(descriptors() - before < kGiven + 50);  // and the server's own
  for (const NodeId& part : parts) CHECK(studio.anna.read(part) == "frames");
}

TEST_CASE("files are held without taking all descriptors of the server") {
  Studio studio;
  const std::size_t before = descriptors();
  constexpr std::size_t kMany = 12'000;
  for (std::size_t i = 0; i < kMany; ++i) {
    const std::string name = "part " + std::to_string(i);
    write_file(studio.exported / name, name);
    const NodeId part = studio.anna.lookup(name);
    REQUIRE(studio.anna.call(Open{part, true, 0, 0}).has_value());
    if (i + 1 == kMany) studio.clip = part;
  }
  // Nodes held and nodes used last, files open for reading.
  CHECK(descriptors() - before < 4096 + 4096 + 1024 + 100);
  REQUIRE(studio.ben.call(Unlink{studio.ben.number(), studio.ben.root, "part 11999", false})
              .has_value());
  for (std::size_t i = 0; i < 5000; ++i) studio.ben.lookup("part " + std::to_string(i));
  CHECK(studio.anna.read(studio.clip) == "part 11999");
}

TEST_CASE("a file held by one client survives its removal by another") {
  Studio studio;
  REQUIRE(studio.anna.call(Open{studio.clip, true, 0, 0}).has_value());
  SECTION("by unlink") {
    studio.unlink(studio.ben, false);
  }
  SECTION("by a rename over it") {
    write_file(studio.exported / "new", "new");
    const Rename rename{studio.ben.number(),
                        studio.ben.root,
                        "new",
                        studio.ben.root,
                        "clip",
                        RenameMode::replace,
                        false};
    REQUIRE(studio.ben.call(rename).has_value());
    CHECK(read_file(studio.exported / "clip") == "new");
  }
  SECTION("on the server itself") {
    files::remove(studio.exported / "clip");
  }
  CHECK(studio.anna.read(studio.clip) == "frames");
  studio.anna.call(Release{studio.clip});
  studio.server->advance(std::chrono::seconds(10));
  CHECK(error_of(studio.anna.call(GetAttributes{studio.clip})) == ESTALE);
}

TEST_CASE("a held file that is moved out of the tree is gone for everybody until it is back") {
  Studio studio;
  REQUIRE(studio.anna.call(Open{studio.clip, true, 0, 0}).has_value());
  CHECK(studio.anna.read(studio.clip) == "frames");
  const auto outside = studio.state / "clip";
  files::rename(studio.exported / "clip", outside);
  for (TestClient* client : {&studio.anna, &studio.ben}) {
    int error = 0;
    CHECK(client->read(studio.clip, &error).empty());
    CHECK(error == ESTALE);
    CHECK(error_of(client->call(client->write(studio.clip, 1, 0, 0, "x"))) == ESTALE);
  }
  CHECK(read_file(outside) == "frames");
  files::rename(outside, studio.exported / "clip");
  CHECK(studio.anna.read(studio.clip) == "frames");
}

TEST_CASE("nobody holds it: it is gone, and its space is free") {
  Studio studio;
  CHECK(studio.anna.read(studio.clip) == "frames");  // the server has it open now
  SECTION("removed by a client") {
    studio.unlink(studio.ben, false);
  }
  SECTION("removed beside us") {
    files::remove(studio.exported / "clip");
    studio.server->advance(std::chrono::seconds(10));
  }
  CHECK(error_of(studio.anna.call(GetAttributes{studio.clip})) == ESTALE);
  CHECK(error_of(studio.anna.call(studio.anna.write(studio.clip, 1, 0, 0, "x"))) == ESTALE);
}

TEST_CASE("a held file without a name survives a kill of the server") {
  Studio studio;
  studio.unlink(studio.anna, true);
  studio.kill_and_restart();
  CHECK(studio.anna.call(GetAttributes{studio.clip})->attributes.links == 0);
  REQUIRE(studio.anna.call(Open{studio.clip, true, 0, 0}).has_value());
  studio.server->advance(kHoldLease * 2);
  CHECK(studio.anna.read(studio.clip) == "frames");
  studio.anna.call(Release{studio.clip});
  studio.server->settle();
  CHECK(!studio.orphans_on_disk());
}

TEST_CASE("after a kill, what nobody holds again within the lease is dropped") {
  Studio studio;
  studio.unlink(studio.anna, true);
  studio.kill_and_restart();
  studio.server->advance(kHoldLease - std::chrono::seconds(1));
  CHECK(studio.orphans_on_disk());
  studio.server->advance(std::chrono::seconds(2));
  CHECK(!studio.orphans_on_disk());
  CHECK(error_of(studio.anna.call(GetAttributes{studio.clip})) == ESTALE);
}

TEST_CASE("a client that is cut off keeps what it holds for the lease, and not longer") {
  Studio studio;
  studio.unlink(studio.anna, true);
  studio.anna.disconnect();
  studio.server->advance(kHoldLease - std::chrono::seconds(1));
  CHECK(studio.ben.read(studio.clip) == "frames");
  SECTION("it returns in time") {
    studio.anna.connect_and_attach(*studio.server);
    studio.server->advance(kHoldLease * 2);
    CHECK(studio.anna.read(studio.clip) == "frames");
  }
  SECTION("it does not") {
    studio.server->advance(std::chrono::seconds(2));
    int error = 0;
    studio.ben.read(studio.clip, &error);
    CHECK(error == ESTALE);
    CHECK(!studio.orphans_on_disk());
  }
}

TEST_CASE("a client that says goodbye lets go at once") {
  Studio studio;
  studio.unlink(studio.anna, true);
  REQUIRE(studio.anna.call(Detach{}).has_value());
  studio.server->settle();
  CHECK(!studio.orphans_on_disk());
}

TEST_CASE("a file with another name needs no hidden one") {
  Studio studio;
  files::create_hard_link(studio.exported / "clip", studio.exported / "second");
  const auto removed =
      studio.anna.call(Unlink{studio.anna.number(), studio.anna.root, "clip", true});
  CHECK(removed->removed->attributes.links == 1);
  CHECK(!studio.orphans_on_disk());
}

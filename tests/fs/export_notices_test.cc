// docs/semantics.md, "What others change": the server tells each client of what others changed.
#include <poll.h>
#include <sys/wait.h>

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
    server = std::make_unique<ServerHarness>(exported.path(), state.path());
    anna.features = ben.features = kNotices | kDiskNotices;
    write_file(exported / "clip", "frames");
    anna.connect_and_attach(*server);
    ben.connect_and_attach(*server);
    clip = anna.lookup("clip");
  }
  bool told(TestClient& who, const NodeId& node, const std::string& name = "") {
    return std::ranges::any_of(who.noticed(), [&](const NoticedChange& change) {
      return change.node == tag_of(node) && change.name == name;
    });
  }
};

}  // namespace

TEST_CASE("a write is told to the others who know the file, not to its writer") {
  Studio studio;
  studio.ben.lookup("clip");
  REQUIRE(studio.anna.call(studio.anna.write(studio.clip, 1, 0, 0, "FRAMES")).has_value());
  CHECK(studio.told(studio.ben, studio.clip));
  CHECK(studio.anna.noticed().empty());
}

TEST_CASE("of a write its parts and what it made of the file are told, of a truncation no parts") {
  Studio studio;
  studio.ben.lookup("clip");
  REQUIRE(studio.anna.call(studio.anna.write(studio.clip, 1, 0, 2, "AMES and more")).has_value());
  const auto noticed = studio.ben.noticed();
  REQUIRE(noticed.size() == 1);
  REQUIRE(noticed[0].content);
  CHECK(noticed[0].content->parts == Spans(2, 15));
  CHECK(noticed[0].content->after == studio.ben.call(GetAttributes{studio.clip})->attributes);
  SetAttributes truncate;
  truncate.order = QueuePosition{2, 1, 0};
  truncate.node = studio.clip;
  truncate.size = 3;
  REQUIRE(studio.anna.call(truncate).has_value());
  CHECK(studio.ben.noticed() == std::vector<NoticedChange>{{tag_of(studio.clip), ""}});
}

TEST_CASE("a new mode or name of a file is told as a change of none of its content") {
  Studio studio;
  studio.ben.lookup("clip");
  const auto told_untouched = [&] {
    const auto now = studio.anna.call(GetAttributes{studio.clip})->attributes;
    return std::ranges::any_of(studio.ben.noticed(), [&](const NoticedChange& change) {
      return change.node == tag_of(studio.clip) && change.content &&
             change.content->parts.empty() && change.content->after == now;
    });
  };
  SetAttributes readable;
  readable.order = studio.anna.number();
  readable.node = studio.clip;
  readable.mode = 0444;
  REQUIRE(studio.anna.call(readable).has_value());
  CHECK(told_untouched());
  const auto root = studio.anna.root;
  REQUIRE(studio.anna.call(Rename{studio.anna.number(), root, "clip", root, "take",
                                  RenameMode::replace, false})
              .has_value());
  CHECK(told_untouched());
  REQUIRE(studio.anna.call(Link{studio.anna.number(), studio.clip, root, "copy"}).has_value());
  CHECK(told_untouched());
  REQUIRE(studio.anna.call(Unlink{studio.anna.number(), root, "take", false}).has_value());
  CHECK(told_untouched());
}

TEST_CASE("a reader hears which parts others have changed that he may not have been told of") {
  Studio studio;
  const Read all{studio.clip, 0, 100};
  CHECK_FALSE(studio.ben.call(all)->untold);
  studio.server->answers_notices = false;
  REQUIRE(studio.anna.call(studio.anna.write(studio.clip, 1, 0, 0, "FR")).has_value());
  CHECK(studio.ben.call(all)->untold->parts == Spans(0, 2));
  REQUIRE(studio.anna.call(studio.anna.write(studio.clip, 2, 1, 4, "ES")).has_value());
  auto both = Spans(0, 2);
  both.add(4, 6);
  CHECK(studio.ben.call(all)->untold->parts == both);
  CHECK(studio.ben.call(Open{studio.clip, false, 100, 0})->untold->parts == both);
}

TEST_CASE("a new name, a rename and a removal are told with the folder and the name") {
  Studio studio;
  REQUIRE(studio.anna.call(studio.anna.create("take")).has_value());
  CHECK(studio.told(studio.ben, studio.ben.root, "take"));
  REQUIRE(studio.anna.call(Rename{studio.anna.number(), studio.anna.root, "take",
                                  studio.anna.root, "cut", RenameMode::replace, false})
              .has_value());
  const auto noticed = studio.ben.noticed();
  for (const char* name : {"take", "cut"}) {
    CHECK(std::count(noticed.begin(), noticed.end(),
                     NoticedChange{tag_of(studio.ben.root), name}) == 1);
  }
  REQUIRE(studio.anna.call(Unlink{studio.anna.number(), studio.anna.root, "cut", false})
              .has_value());
  CHECK(studio.told(studio.ben, studio.ben.root, "cut"));
}

TEST_CASE("a call that fails is told to nobody") {
  Studio studio;
  REQUIRE(!studio.anna.call(studio.anna.create("clip")).has_value());
  CHECK(studio.ben.noticed().empty());
}

TEST_CASE("who gave up a call is told what came of it, as others are") {
  Studio studio;
  auto& anna = studio.anna;
  const auto id = anna.send(Unlink{anna.number(), anna.root, "clip", false});
  studio.server->sessions().on_cancelled(anna.connection(), id);
  CHECK(studio.told(anna, anna.root, "clip"));
}

TEST_CASE("who did not ask for notices gets none") {
  Studio studio;
  studio.ben.features = 0;
  studio.ben.connect_and_attach(*studio.server);
  studio.ben.lookup("clip");
  REQUIRE(studio.anna.call(studio.anna.write(studio.clip, 1, 0, 0, "FRAMES")).has_value());
  CHECK(studio.ben.noticed().empty());
}

TEST_CASE("what a program on the server's machine changes is told, what the server does is not") {
  Studio studio;
  const auto descriptor = studio.server->exported().disk_descriptor();
  if (!descriptor) return;  // not privileged to see it
  studio.ben.lookup("clip");
  studio.server->exported().look_at_disk();
  studio.ben.noticed();
  const auto path = studio.exported / "clip", other = studio.exported / "other";
  const pid_t child = fork();
  if (child == 0) {
    std::ofstream(path, std::ios::app) << "more";
    std::ofstream(other) << "new";
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  pollfd readable{*descriptor, POLLIN, 0};
  CHECK(poll(&readable, 1, 5000) == 1);
  studio.server->exported().look_at_disk();
  const auto noticed = studio.ben.noticed();
  CHECK(std::count(noticed.begin(), noticed.end(), NoticedChange{tag_of(studio.clip), ""}) == 1);
  CHECK(std::count(noticed.begin(), noticed.end(),
                   NoticedChange{tag_of(studio.ben.root), "other"}) == 1);
  REQUIRE(studio.anna.call(studio.anna.write(studio.clip, 1, 0, 0, "FRAMES")).has_value());
  studio.ben.noticed();
  studio.server->exported().look_at_disk();
  CHECK(studio.ben.noticed().empty());
}

TEST_CASE("an answer that shows what a program on the server's machine did comes after the news") {
  Studio studio;
  if (!studio.server->exported().disk_descriptor()) return;  // not privileged to see it
  const pid_t child = fork();
  if (child == 0) {
    std::filesystem::rename(studio.exported / "clip", studio.exported / "cut");
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  studio.ben.lookup("cut");
  CHECK(studio.told(studio.ben, studio.ben.root, "clip"));
}

TEST_CASE("an answer given again comes with news of what it tells of") {
  Studio studio;
  const auto create = studio.anna.create("take");
  const auto made = studio.anna.call(create);
  REQUIRE(made.has_value());
  studio.anna.disconnect();
  studio.anna.connect_and_attach(*studio.server);
  REQUIRE(studio.anna.call(create).has_value());
  CHECK(studio.told(studio.anna, made->entry.node));
  REQUIRE(studio.ben.call(studio.ben.write(made->entry.node, 1, 0, 0, "frames")).has_value());
  CHECK(studio.told(studio.anna, made->entry.node));
}

TEST_CASE("a wait for a lock that began after a restart ends with its connection") {
  Studio studio;
  studio.server.reset();
  studio.server = std::make_unique<ServerHarness>(studio.exported.path(), studio.state.path());
  studio.anna.connect_and_attach(*studio.server);
  studio.ben.connect_and_attach(*studio.server);
  Lock lock;
  lock.node = studio.clip;
  lock.owner = 1;
  lock.span.type = LockType::exclusive;
  lock.wait = true;
  studio.anna.send(lock);
  studio.anna.disconnect();
  studio.anna.begin_anew();
  studio.anna.connect_and_attach(*studio.server);
  studio.server->advance(std::chrono::seconds(20));
  lock.wait = false;
  CHECK(studio.ben.call(lock).has_value());
}

TEST_CASE("a wait for a lock that began after a restart can be given up") {
  Studio studio;
  studio.server.reset();
  studio.server = std::make_unique<ServerHarness>(studio.exported.path(), studio.state.path());
  studio.anna.connect_and_attach(*studio.server);
  Lock lock;
  lock.node = studio.clip;
  lock.owner = 1;
  lock.span.type = LockType::exclusive;
  lock.wait = true;
  lock.ticket = 5;
  const auto waits = studio.anna.send(lock);
  REQUIRE(studio.anna.call(CancelLock{5}).has_value());
  const auto answer = studio.anna.answer<Lock>(waits);
  REQUIRE(answer.has_value());
  CHECK(error_of(*answer) == EINTR);
}

TEST_CASE("who connects anew while the first Attach waits for a slow disk keeps the locks") {
  TemporaryFolder exported, state;
  ServerHarness server(exported.path(), state.path());
  TestClient first(1), again(1), other(2);
  Attach hello;
  hello.export_name = "footage";
  hello.client.bytes.fill(1);
  hello.incarnation = 1;
  first.connect(server);
  first.send(hello);
  server.settle_home();  // the disk has not answered
  again.connect_and_attach(server);
  other.connect_and_attach(server);
  Lock lock;
  lock.node = again.call(again.create("clip"))->entry.node;
  lock.owner = 7;
  lock.span.type = LockType::exclusive;
  REQUIRE(again.call(lock).has_value());
  first.disconnect();  // at last it is missed
  for (int i = 0; i < 15; ++i) {
    server.advance(std::chrono::seconds(5));
    REQUIRE(again.call(GetAttributes{lock.node}).has_value());  // connected, and busy
  }
  CHECK_FALSE(other.call(lock).has_value());
}

TEST_CASE("who leaves while Attach waits for a slow disk is told nothing any more") {
  Studio studio;
  TestClient passer_by(3);
  Attach hello;
  hello.export_name = "footage";
  hello.features = kNotices;
  passer_by.connect(*studio.server);
  passer_by.send(hello);
  studio.server->settle_home();  // the disk has not answered
  passer_by.disconnect();
  studio.server->settle();
  std::size_t told = 0;
  studio.server->exported().on_notice([&](const ClientTag&, const Buffer&) { ++told; },
                                      [](rushfs::transport::Duration, const Loop::Job&) {});
  REQUIRE(studio.anna.call(studio.anna.create("take")).has_value());
  CHECK(told == 1);  // ben
}

// An export and the disk beneath it: what vanishes and comes back, and as whom it is changed.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "tests/as_root.h"
#include "tests/fs/export_studio.h"

using namespace rushfs::testing;
namespace files = std::filesystem;

TEST_CASE("an export that vanishes is answered EIO, and goes on when it returns") {
  Studio studio;
  const auto away = studio.state / "away";
  const NodeId clip = studio.make("clip", "content");
  const auto instance = studio.ben.call(Commit{clip, 0, false})->instance;
  files::rename(studio.exported.path(), away);
  studio.server.advance(std::chrono::seconds(2));
  CHECK(error_of(studio.anna.call(GetAttributes{clip})) == EIO);
  studio.server.advance(std::chrono::seconds(2));
  CHECK(error_of(studio.anna.call(studio.anna.create("new"))) == EIO);
  files::rename(away, studio.exported.path());
  studio.server.advance(std::chrono::seconds(2));
  studio.anna.call(GetAttributes{clip});  // makes the server look
  studio.server.settle();
  CHECK(studio.server.closed.contains(studio.anna.connection().value));  // to attach anew
  studio.anna.connect_and_attach(studio.server);
  CHECK(studio.anna.read(clip) == "content");
  CHECK(studio.anna.call(Commit{clip, 0, false})->instance != instance);
}

TEST_CASE("a Commit that a program waits for does not wait behind write-back") {
  Studio studio;
  const NodeId clip = studio.make("clip"), other = studio.make("other");
  std::vector<NodeId> written;
  for (int i = 0; i < 20; ++i) written.push_back(studio.make("written" + std::to_string(i)));
  for (std::size_t i = 0; i < written.size(); ++i) {
    studio.anna.send(studio.anna.write(written[i], i + 1, 0, 0, "frames"));
  }
  const std::size_t writes = studio.server.with_workers();
  REQUIRE(writes < 20);
  const auto behind = studio.ben.send(Commit{other, 0, false}, Priority::behind);
  CHECK(studio.server.with_workers() == writes);
  const auto awaited = studio.ben.send(Commit{clip, 0, false}, Priority::demand);
  REQUIRE(studio.server.with_workers() == writes + 1);
  std::vector<Loop::Job> held;
  while (held.size() < writes) held.push_back(studio.server.take_from_workers());
  std::move(studio.server.take_from_workers())();
  studio.server.settle_home();
  CHECK(studio.ben.answer<Commit>(awaited)->has_value());
  CHECK(!studio.ben.answer<Commit>(behind));
  for (Loop::Job& write : held) std::move(write)();
  studio.server.settle();
  CHECK(studio.ben.answer<Commit>(behind)->has_value());
}

TEST_CASE("a file that is moved while it is synced has its new name synced by the next Commit") {
  Studio studio;
  files::create_directory(studio.exported / "reel");
  const NodeId clip = studio.make("clip", "frames");
  const auto first = studio.anna.send(Commit{clip, 0, false});
  auto sync = studio.server.take_from_workers();
  const NodeId reel = studio.anna.lookup("reel");
  REQUIRE(studio.anna
              .call(Rename{studio.anna.number(), studio.anna.root, "clip", reel, "clip",
                           RenameMode::replace, false})
              .has_value());
  std::move(sync)();
  studio.server.settle();
  CHECK(studio.anna.answer<Commit>(first)->has_value());
  REQUIRE(studio.anna.call(Open{clip, true, 0, 0}).has_value());  // the server has it open
  const auto second = studio.anna.send(Commit{clip, 0, false});
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const struct rlimit none {0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);  // so that the folder cannot be opened
  studio.server.settle();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(error_of(*studio.anna.answer<Commit>(second)) == EMFILE);
  CHECK(studio.anna.call(Commit{clip, 0, false}).has_value());
}

TEST_CASE("all who wait for a folder are answered when its disk vanishes") {
  Studio studio;
  const auto away = studio.state / "away";
  std::vector<TestClient> clients;
  for (std::uint8_t who = 10; who < 18; ++who) clients.emplace_back(who);
  for (TestClient& client : clients) client.connect_and_attach(studio.server);
  std::vector<std::pair<TestClient*, rushfs::transport::RequestId>> asked;
  studio.server.now += std::chrono::seconds(2);  // so that the server looks
  for (TestClient& client : clients) {
    for (int i = 0; i < 8192; ++i) {
      asked.emplace_back(&client, client.send(client.create(std::to_string(i))));
    }
  }
  files::rename(studio.exported.path(), away);
  studio.server.settle();
  for (const auto& [client, id] : asked) {
    const auto answer = client->answer<Create>(id);
    REQUIRE(answer.has_value());
    REQUIRE(error_of(*answer) == EIO);
  }
  files::rename(away, studio.exported.path());
}

TEST_CASE("what a slow worker did to the old disk does not count on the new one") {
  Studio studio;
  const auto away = studio.state / "away";
  const NodeId clip = studio.make("clip", "......");
  studio.anna.send(studio.anna.write(clip, 1, 0, 0, "frames"));
  auto slow = studio.server.take_from_workers();
  files::rename(studio.exported.path(), away);
  studio.server.advance(std::chrono::seconds(2));
  CHECK(error_of(studio.ben.call(GetAttributes{clip})) == EIO);
  files::create_directory(studio.exported.path());
  files::rename(away / "clip", studio.exported / "clip");  // the same file, on what is exported now
  studio.server.advance(std::chrono::seconds(2));
  static_cast<void>(studio.ben.send(GetAttributes{clip}));  // makes the server look
  studio.server.settle();
  studio.anna.connect_and_attach(studio.server);
  write_file(studio.exported / "clip", "......");
  const auto written = studio.anna.send(studio.anna.write(clip, 1, 0, 0, "frames"));
  const auto commit = studio.anna.send(Commit{clip, 1, false});
  std::move(slow)();
  studio.server.settle_home();
  write_file(studio.exported / "clip", "......");  // as if that had been another disk
  auto write_anew = studio.server.take_from_workers();
  studio.server.settle();
  CHECK(!studio.anna.answer<Commit>(commit));
  std::move(write_anew)();
  studio.server.settle();
  CHECK(studio.anna.answer<Write>(written)->has_value());
  CHECK(studio.anna.answer<Commit>(commit)->has_value());
  CHECK(read_file(studio.exported / "clip") == "frames");
}

TEST_CASE("squashed, everything belongs to the server's user") {
  HarnessOptions options;
  options.preserve_identity = false;
  Studio studio(options);
  auto create = studio.anna.create("clip");
  create.caller = {1234, 1234, 0};
  const auto made = studio.anna.call(create);
  CHECK(made->entry.attributes.uid == geteuid());
  CHECK(made->entry.attributes.gid == getegid());
}

TEST_CASE("squashed, a client makes nothing that is more than the server user's files") {
  HarnessOptions options;
  options.preserve_identity = false;
  Studio studio(options);
  auto& anna = studio.anna;
  const auto refused = [&](auto request) {
    if constexpr (requires { request.order; }) request.order = anna.number();
    if constexpr (requires { request.call; }) request.call = anna.number();
    const auto answer = anna.call(request);
    return !answer && answer.error() == errno_code(EPERM);
  };
  const NodeId clip = anna.call(anna.create("clip"))->entry.node;
  SetAttributes change;
  change.node = clip;
  change.mode = 0640;
  CHECK_FALSE(refused(change));
  change.uid = geteuid();
  CHECK_FALSE(refused(change));
  change.mode = 04755;
  CHECK(refused(change));
  change.mode.reset();
  change.gid = getegid() + 1;
  CHECK(refused(change));
  auto create = anna.create("program");
  create.mode = 02755;
  CHECK(refused(create));
  MakeNode device;
  device.directory = anna.root;
  device.name = "disk";
  device.mode = S_IFBLK | 0666;
  device.device_major = 8;
  CHECK(refused(device));
  device.mode = S_IFIFO | 0666;
  device.device_major = 0;
  CHECK_FALSE(refused(device));
  SetXattr attribute;
  attribute.node = clip;
  attribute.name = "security.capability";
  attribute.value = std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  CHECK(refused(attribute));
}

TEST_CASE("an ordinary user's server knows its clients' files again after a restart") {
  if (!as_root()) return;
  TemporaryFolder exported, state;
  for (const auto& folder : {exported.path(), state.path()}) {
    REQUIRE(chown(folder.c_str(), 4321, 4321) == 0);
  }
  const auto story = [&] {
    HarnessOptions options;
    options.preserve_identity = false;
    TestClient anna(1);
    NodeId clip, gone;
    {
      ServerHarness server(exported.path(), state.path(), options);
      anna.connect_and_attach(server);
      files::create_directories(exported / "day1/cam");
      write_file(exported / "day1/cam/clip", "frames");
      write_file(exported / "day1/gone", "");
      const NodeId top = anna.root;
      anna.root = anna.lookup("day1");
      gone = anna.lookup("gone");
      anna.root = anna.lookup("cam");
      clip = anna.lookup("clip");
      anna.root = top;
    }
    files::rename(exported / "day1", exported / "day one");
    files::remove(exported / "day one/gone");
    ServerHarness server(exported.path(), state.path(), options);
    anna.connect_and_attach(server);
    if (!anna.call(Commit{clip, 0, false})) return 6;
    if (anna.read(clip) != "frames") return 1;
    if (!anna.call(anna.write(clip, 1, 0, 6, " more"))) return 2;
    if (read_file(exported / "day one/cam/clip") != "frames more") return 3;
    if (error_of(anna.call(GetAttributes{gone})) != ESTALE) return 4;
    files::rename(exported / "day one/cam", exported / "cam");  // under the running server
    server.advance(std::chrono::seconds(100));
    if (anna.read(clip) != "frames more") return 5;
    return 0;
  };
  const pid_t child = fork();
  if (child == 0) {
    const bool dropped = setgid(4321) == 0 && setuid(4321) == 0;
    _exit(dropped ? story() : 100);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == 0);
}

// docs/file-protocol.md, "Calls that happen once": a call that is repeated after a reconnection or
// after the server was killed takes effect once and gets its first answer.
#include <sys/stat.h>

#include <fstream>
#include <set>

#include "fs/server/reply_log.h"
#include "tests/cache/small_disk.h"
#include "tests/fs/server_harness.h"

using namespace rushfs::testing;
namespace files = std::filesystem;

namespace {

struct Studio {
  TemporaryFolder exported, state;
  std::unique_ptr<ServerHarness> server;
  TestClient anna{1};

  Studio() { start(); }
  void start() {
    server = std::make_unique<ServerHarness>(exported.path(), state.path());
    anna.connect_and_attach(*server);
  }
  void kill_and_restart() {
    server.reset();
    start();
  }
  std::filesystem::path log() const { return state / "footage.replies"; }

  /// Kills the server as if it had died after the call took effect and before the answer was
  /// written down: the answer is cut off the file.
  void kill_before_answer(std::uintmax_t answered_size) {
    server.reset();
    files::resize_file(log(), answered_size);
    start();
  }
};

/// Size of the reply file once the call is intended, before its answer.
template <class R>
std::uintmax_t call_and_find_intent(Studio& studio, const R& request, Buffer* reply = nullptr) {
  const std::uintmax_t before = files::file_size(studio.log());
  REQUIRE(studio.anna.call(request).has_value());
  static_cast<void>(reply);
  const std::string all = read_file(studio.log());
  std::uint32_t length = 0;
  std::memcpy(&length, all.data() + before, sizeof(length));
  return before + 12 + length;
}

}  // namespace

TEST_CASE("a repeated exclusive create succeeds as the first did") {
  Studio studio;
  const auto create = studio.anna.create("clip");
  const auto first = studio.anna.call(create);
  SECTION("after a reconnection") {
    studio.anna.disconnect();
    studio.anna.connect_and_attach(*studio.server);
  }
  SECTION("after the server was killed") {
    studio.kill_and_restart();
  }
  const auto again = studio.anna.call(create);
  REQUIRE(again.has_value());
  CHECK(again->entry == first->entry);
  CHECK(again->directory == first->directory);
}

namespace {

/// So many clients of anna's key come and go.
void pass_by(Studio& studio, int count) {
  studio.server->now += std::chrono::seconds(1);
  TestClient other{1};
  for (int i = 0; i < count; ++i) {
    other.become(static_cast<std::uint16_t>(1000 + i));
    other.connect_and_attach(*studio.server);
    other.disconnect();
  }
}

}  // namespace

TEST_CASE("who was forgotten among too many clients is told so when he comes back") {
  Studio studio;
  const NodeId clip = studio.anna.call(studio.anna.create("clip"))->entry.node;
  REQUIRE(studio.anna.call(studio.anna.write(clip, 1, 0, 0, "frame")).has_value());
  const auto before = studio.anna.call(Commit{clip, 0, false})->instance;
  bool forgotten = true;
  SECTION("while he was gone for longer than all others") {
    studio.anna.disconnect();
    pass_by(studio, 4096);
  }
  SECTION("but not while he was attached") {
    pass_by(studio, 5000);
    forgotten = false;
  }
  SECTION("nor for his own coming back") {
    studio.anna.disconnect();
    pass_by(studio, 4095);
    forgotten = false;
  }
  studio.anna.disconnect();
  studio.anna.connect(*studio.server);
  const auto attached = studio.anna.attach();
  REQUIRE(attached.has_value());
  CHECK((attached->instance != before) == forgotten);
  CHECK(attached->applied_through == (forgotten ? 0 : 1));
  if (forgotten) REQUIRE(studio.anna.call(studio.anna.write(clip, 1, 0, 0, "frame")).has_value());
  const auto committed = studio.anna.call(Commit{clip, 1, false});
  REQUIRE(committed.has_value());
  CHECK(committed->instance == attached->instance);
}

TEST_CASE("the locks of who is forgotten are free") {
  Studio studio;
  const NodeId clip = studio.anna.call(studio.anna.create("clip"))->entry.node;
  Lock lock;
  lock.node = clip;
  lock.owner = 1;
  lock.span = {LockKind::whole, LockType::exclusive};
  REQUIRE(studio.anna.call(lock).has_value());
  studio.anna.disconnect();
  TestClient ben{2};
  ben.connect_and_attach(*studio.server);
  CHECK(error_of(ben.call(lock)) == EAGAIN);
  pass_by(studio, 4095);
  CHECK(ben.call(lock).has_value());
}

TEST_CASE("a repeated unlink does not remove what took the name since") {
  Studio studio;
  write_file(studio.exported / "clip", "old");
  const Unlink unlink{studio.anna.number(), studio.anna.root, "clip", false};
  REQUIRE(studio.anna.call(unlink).has_value());
  write_file(studio.exported / "clip", "new");
  SECTION("at once") {}
  SECTION("after the server was killed") {
    studio.kill_and_restart();
  }
  CHECK(studio.anna.call(unlink).has_value());
  CHECK(read_file(studio.exported / "clip") == "new");
}

TEST_CASE("a failed call fails the same way when repeated, whatever changed since") {
  Studio studio;
  const Unlink unlink{studio.anna.number(), studio.anna.root, "clip", false};
  CHECK(error_of(studio.anna.call(unlink)) == ENOENT);
  write_file(studio.exported / "clip", "new");
  studio.kill_and_restart();
  const Unlink other{studio.anna.number(), studio.anna.root, "another", false};
  CHECK(error_of(studio.anna.call(other)) == ENOENT);
}

TEST_CASE("a call repeated while it is carried out is answered once it is, and happens once") {
  Studio studio;
  const auto create = studio.anna.create("clip");
  const auto first = studio.anna.send(create);
  const auto second = studio.anna.send(create);
  studio.server->settle();
  CHECK((*studio.anna.answer<Create>(first))->entry ==
        (*studio.anna.answer<Create>(second))->entry);
}

TEST_CASE("killed between the effect and the answer, the server finds its own work") {
  Studio studio;
  TestClient& anna = studio.anna;
  write_file(studio.exported / "old", "x");
  SECTION("create") {
    const auto create = anna.create("clip");
    studio.kill_before_answer(call_and_find_intent(studio, create));
    CHECK(anna.call(create).has_value());
  }
  SECTION("mkdir") {
    const MakeDirectory make{anna.number(), anna.root, "d", {}, 0755};
    studio.kill_before_answer(call_and_find_intent(studio, make));
    CHECK(anna.call(make).has_value());
  }
  SECTION("symlink") {
    const Symlink make{anna.number(), anna.root, "l", {}, "target"};
    studio.kill_before_answer(call_and_find_intent(studio, make));
    CHECK(anna.call(make).has_value());
  }
  SECTION("link") {
    const Link link{anna.number(), anna.lookup("old"), anna.root, "second"};
    studio.kill_before_answer(call_and_find_intent(studio, link));
    const auto again = anna.call(link);
    REQUIRE(again.has_value());
    CHECK(again->entry.attributes.links == 2);
  }
  SECTION("unlink") {
    const Unlink unlink{anna.number(), anna.root, "old", false};
    studio.kill_before_answer(call_and_find_intent(studio, unlink));
    write_file(studio.exported / "old", "of somebody else");
    CHECK(anna.call(unlink).has_value());
    CHECK(read_file(studio.exported / "old") == "of somebody else");
  }
  SECTION("rmdir") {
    files::create_directory(studio.exported / "d");
    const RemoveDirectory remove{anna.number(), anna.root, "d"};
    studio.kill_before_answer(call_and_find_intent(studio, remove));
    CHECK(anna.call(remove).has_value());
  }
  SECTION("rename") {
    write_file(studio.exported / "target", "replaced");
    const Rename rename{anna.number(), anna.root,           "old", anna.root,
                        "target",      RenameMode::replace, false};
    studio.kill_before_answer(call_and_find_intent(studio, rename));
    const auto again = anna.call(rename);
    REQUIRE(again.has_value());
    CHECK(again->moved.node == anna.lookup("target"));
    CHECK(read_file(studio.exported / "target") == "x");
  }
  SECTION("exchange") {
    write_file(studio.exported / "other", "y");
    const Rename rename{anna.number(),        anna.root, "old", anna.root, "other",
                        RenameMode::exchange, false};
    studio.kill_before_answer(call_and_find_intent(studio, rename));
    CHECK(anna.call(rename).has_value());
    CHECK(read_file(studio.exported / "other") == "x");  // not exchanged back
  }
}

TEST_CASE("killed before the effect, the call is carried out when it is repeated") {
  Studio studio;
  TestClient& anna = studio.anna;
  const auto create = anna.create("clip");
  const auto size = call_and_find_intent(studio, create);
  studio.server.reset();
  files::remove(studio.exported / "clip");
  files::resize_file(studio.log(), size);
  studio.start();
  CHECK(anna.call(create).has_value());
  CHECK(files::exists(studio.exported / "clip"));
}

namespace {

/// Makes something, which a power cut takes with its name, and asks for it again.
template <class R>
auto make_lose_repeat(Studio& studio, const R& make, const std::string& name) {
  REQUIRE(studio.anna.call(make).has_value());
  studio.server.reset();
  if (!name.empty()) REQUIRE(files::remove(studio.exported / name));
  files::remove_all(studio.exported / ".rushfs-orphans");
  write_file(studio.exported / "other", "takes the number that has become free");
  studio.start();
  const auto again = studio.anna.call(make);
  REQUIRE(again.has_value());
  CHECK_FALSE(again->existed);
  CHECK(studio.anna.call(GetAttributes{again->entry.node}).has_value());
  return again->entry.node;
}

}  // namespace

TEST_CASE("what a power cut took is made again by the repeated call, whatever was answered") {
  Studio studio;
  TestClient& anna = studio.anna;
  SECTION("create") {
    const NodeId node = make_lose_repeat(studio, anna.create("clip"), "clip");
    CHECK(anna.lookup("clip") == node);
  }
  SECTION("mkdir") {
    const MakeDirectory make{anna.number(), anna.root, "d", {}, 0755};
    make_lose_repeat(studio, make, "d");
    CHECK(files::is_directory(studio.exported / "d"));
  }
  SECTION("symlink") {
    const Symlink make{anna.number(), anna.root, "l", {}, "target"};
    make_lose_repeat(studio, make, "l");
    CHECK(files::is_symlink(studio.exported / "l"));
  }
  SECTION("without a name") {
    make_lose_repeat(studio, CreateUnnamed{anna.number(), anna.root, {}, 0600}, "");
  }
}

TEST_CASE("what others put where a power cut took a new file is not taken for it") {
  Studio studio;
  const auto create = studio.anna.create("clip");
  REQUIRE(studio.anna.call(create).has_value());
  studio.server.reset();
  files::remove(studio.exported / "clip");
  write_file(studio.exported / "clip", "theirs");
  studio.start();
  CHECK(error_of(studio.anna.call(create)) == EEXIST);
}

TEST_CASE("a file that was there before makes an interrupted exclusive create fail") {
  Studio studio;
  write_file(studio.exported / "clip", "x");
  const auto create = studio.anna.create("clip");
  CHECK(error_of(studio.anna.call(create)) == EEXIST);
  studio.kill_and_restart();
  CHECK(error_of(studio.anna.call(create)) == EEXIST);
}

TEST_CASE("a new start of a client begins its numbers anew") {
  Studio studio;
  const auto create = studio.anna.create("clip");
  REQUIRE(studio.anna.call(create).has_value());
  studio.anna.begin_anew();
  studio.anna.connect_and_attach(*studio.server);
  CHECK(error_of(studio.anna.call(create)) == EEXIST);
}

TEST_CASE("answers a client has are forgotten, and the file is cut to what is needed") {
  Studio studio;
  TestClient& anna = studio.anna;
  for (int i = 0; i < 3000; ++i) {
    auto create = anna.create("clip");
    create.exclusive = false;
    create.call.lowest_unanswered = create.call.number;
    REQUIRE(anna.call(create).has_value());
  }
  studio.kill_and_restart();
  auto last = anna.create("clip");
  last.exclusive = false;
  last.call.lowest_unanswered = last.call.number;
  REQUIRE(anna.call(last).has_value());
  CHECK(error_of(anna.call(Unlink{{1, 1}, anna.root, "clip", false})) == EINVAL);  // long past
  studio.kill_and_restart();
  CHECK(files::file_size(studio.log()) < 4 << 20);
}

TEST_CASE("what is remembered behind a record that a full disk has torn is found") {
  Studio studio;
  const auto first = studio.anna.create("clip");
  REQUIRE(studio.anna.call(first).has_value());
  const std::string all = read_file(studio.log());
  std::ofstream(studio.log(), std::ios::app) << all.substr(0, 30);
  const auto second = studio.anna.create("take");
  REQUIRE(studio.anna.call(second).has_value());
  studio.kill_and_restart();
  CHECK(studio.anna.call(first).has_value());
  CHECK(studio.anna.call(second).has_value());
}

TEST_CASE("a client with many unanswered calls does not have the reply file written with each") {
  TemporaryFolder folder;
  const auto path = folder / "footage.replies";
  ReplyLog log(path);
  const ClientTag client;
  log.attach(client, 1);
  const Buffer reply(2000);
  std::set<ino_t> files_seen;
  for (std::uint64_t number = 1; number <= ReplyLog::kMaxCalls; ++number) {
    Responder respond = [](Buffer) {};
    REQUIRE(log.begin(client, {number, 1}, respond).state == ReplyLog::State::fresh);
    log.file()->answer(log.name(client, number), reply);
    log.finish(client, number, reply);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    files_seen.insert(status.st_ino);
  }
  CHECK(files::file_size(path) > 15 << 20);
  CHECK(files_seen.size() <= 3);
}

namespace {

/// Answers so many calls of the client with 2,000 bytes each.
void answer_calls(ReplyLog& log, const ClientTag& client, std::uint64_t count) {
  const Buffer reply(2000);
  log.attach(client, 1);
  for (std::uint64_t number = 1; number <= count; ++number) {
    Responder respond = [](Buffer) {};
    REQUIRE(log.begin(client, {number, 1}, respond).state == ReplyLog::State::fresh);
    log.file()->answer(log.name(client, number), reply);
    log.finish(client, number, reply);
  }
}

std::uint64_t remembered(const files::path& path, const ClientTag& client) {
  ReplyLog log(path);
  for (std::uint64_t number = 1;; ++number) {
    Responder respond = [](Buffer) {};
    if (log.begin(client, {number, 1}, respond).state != ReplyLog::State::former) return number - 1;
  }
}

}  // namespace

TEST_CASE("a reply file that cannot be written anew on a full disk is kept") {
  const rushfs::cache::SmallDisk disk(12);
  if (!disk.mounted()) return;
  const files::path path = disk.path() / "footage.replies";
  const ClientTag client;
  SECTION("at the start") {
    {
      ReplyLog log(path);
      answer_calls(log, client, 100);
    }
    std::ofstream(disk.path() / "filler") << std::string(16 << 20, 'x');
    CHECK(remembered(path, client) == 100);
    files::remove(disk.path() / "filler");
    CHECK(remembered(path, client) == 100);
  }
  SECTION("when it has grown") {
    {
      ReplyLog log(path);
      answer_calls(log, client, 4500);
    }
    CHECK(files::file_size(path) > 8 << 20);
    CHECK(remembered(path, client) == 4500);
  }
  CHECK(!files::exists(disk.path() / "footage.replies.new"));
}

TEST_CASE("a torn or damaged reply file is read up to the damage") {
  Studio studio;
  const auto create = studio.anna.create("clip");
  REQUIRE(studio.anna.call(create).has_value());
  studio.server.reset();
  std::string all = read_file(studio.log());
  SECTION("garbage at the end") {
    write_file(studio.log(), all + "garbage that is no record");
  }
  SECTION("a torn record at the end") {
    write_file(studio.log(), all + all.substr(0, 30));
  }
  studio.start();
  CHECK(studio.anna.call(create).has_value());
}

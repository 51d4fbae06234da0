// An export and its clients: docs/file-protocol.md.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "tests/fs/export_studio.h"

using namespace rushfs::testing;
namespace files = std::filesystem;

TEST_CASE("who is not attached gets nothing") {
  Studio studio;
  TestClient stranger(9);
  stranger.connect(studio.server);
  CHECK(error_of(stranger.call(GetAttributes{studio.anna.root})) == EACCES);
  CHECK(error_of(stranger.attach("", "no such export")) == ENOENT);
  CHECK(stranger.call(Measure{100, {}})->data.size() == 100);
}

TEST_CASE("what is only measured is answered by turns, and of each client not too much") {
  Studio studio;
  const Measure request{1000, {}};
  std::vector<rushfs::transport::RequestId> asked;
  while (asked.size() < 1025) asked.push_back(studio.anna.send(request));
  const auto bens = studio.ben.send(request);
  CHECK(!studio.anna.answer<Measure>(asked[0]));
  CHECK(error_of(*studio.anna.answer<Measure>(asked.back())) == EAGAIN);
  REQUIRE(studio.server.run_one_at_home());
  CHECK(studio.anna.answer<Measure>(asked[0])->value().data.size() == 1000);
  CHECK(!studio.ben.answer<Measure>(bens));
  REQUIRE(studio.server.run_one_at_home());
  CHECK(studio.ben.answer<Measure>(bens)->has_value());
  CHECK(!studio.anna.answer<Measure>(asked[1]));
  SECTION("all") {
    while (studio.server.run_one_at_home()) {
    }
    CHECK(studio.anna.answer<Measure>(asked[1023])->has_value());
  }
  SECTION("but for who is gone") {
    studio.anna.disconnect();
    studio.server.settle();
    CHECK(!studio.anna.answer<Measure>(asked[1]));
    CHECK(studio.ben.call(request).has_value());
  }
}

TEST_CASE("a client of another protocol version is told so") {
  Studio studio;
  TestClient stranger(9);
  stranger.connect(studio.server);
  Attach request;
  request.version = kFileProtocolVersion + 1;
  request.export_name = "footage";
  CHECK(error_of(stranger.call(request)) == EPROTONOSUPPORT);
}

TEST_CASE("a malformed message closes the connection with a reason, others go on") {
  Studio studio;
  studio.anna.send(Buffer{10, 0xff, 0xff});
  REQUIRE(studio.server.closed.contains(studio.anna.connection().value));
  const auto reason = studio.server.closed[studio.anna.connection().value];
  CHECK(reason.code == rushfs::transport::CloseCode::protocol_violation);
  CHECK(reason.text == "malformed request: read");
  CHECK(studio.ben.call(GetAttributes{studio.ben.root}).has_value());
}

TEST_CASE("an operation that does not exist yet is answered ENOSYS") {
  Studio studio;
  const auto id = studio.anna.send(Buffer{120, 1, 2});
  CHECK(error_of(*studio.anna.answer<GetAttributes>(id)) == ENOSYS);
}

TEST_CASE("a client attached to a folder has no way above it") {
  Studio studio;
  files::create_directories(studio.exported / "day1/cam");
  write_file(studio.exported / "private", "x");
  TestClient guest(5);
  guest.connect(studio.server);
  REQUIRE(guest.attach("day1/cam").has_value());
  auto up = guest.call(Lookup{guest.root, ".."});
  CHECK(up->entry->node == guest.root);
  guest.connect(studio.server);
  CHECK(error_of(guest.attach("day1/../..")) == ENOENT);
  files::create_symlink("/", studio.exported / "rootlink");
  guest.connect(studio.server);
  CHECK(error_of(guest.attach("rootlink")) == ELOOP);
}

TEST_CASE("names that are no names are refused in every call") {
  Studio studio;
  using namespace std::string_literals;
  for (const std::string& name : {""s, "."s, ".."s, "a/b"s, "a\0b"s, "/"s}) {
    auto create = studio.anna.create(name);
    CHECK(error_of(studio.anna.call(create)) != 0);
    CHECK(error_of(studio.anna.call(Unlink{studio.anna.number(), studio.anna.root, name, false})) !=
          0);
    Rename rename;
    rename.call = studio.anna.number();
    rename.from_directory = rename.to_directory = studio.anna.root;
    rename.from_name = "x";
    rename.to_name = name;
    CHECK(error_of(studio.anna.call(rename)) != 0);
  }
}

TEST_CASE("looking for what is not there is an answer, not an error") {
  Studio studio;
  const auto reply = studio.anna.call(Lookup{studio.anna.root, "nothing"});
  REQUIRE(reply.has_value());
  CHECK(!reply->entry);
  CHECK((reply->directory.mode & S_IFMT) == S_IFDIR);
}

TEST_CASE("a file is created, written, committed and read") {
  Studio studio;
  const auto made = studio.anna.call(studio.anna.create("clip"));
  REQUIRE(made.has_value());
  CHECK(!made->existed);
  CHECK(made->directory.before.value != made->directory.after.version.value);
  const NodeId clip = made->entry.node;
  const auto written = studio.anna.call(studio.anna.write(clip, 1, 0, 0, "frames"));
  REQUIRE(written.has_value());
  CHECK(written->change.before.value == made->entry.attributes.version.value);
  CHECK(written->change.after.size == 6);
  const auto committed = studio.anna.call(Commit{clip, 1, false});
  REQUIRE(committed.has_value());
  CHECK(committed->through == 1);
  CHECK(committed->attributes.version.value == written->change.after.version.value);
  CHECK(studio.ben.read(clip) == "frames");
  CHECK(read_file(studio.exported / "clip") == "frames");
}

TEST_CASE("a read says where the file ends") {
  Studio studio;
  const NodeId clip = studio.make("clip", "0123456789");
  CHECK(!studio.anna.call(Read{clip, 0, 5})->end);
  CHECK(studio.anna.call(Read{clip, 0, 10})->end);
  CHECK(studio.anna.call(Read{clip, 5, 100})->data.size() == 5);
  CHECK(studio.anna.call(Read{clip, 100, 100})->data.empty());
  CHECK(error_of(studio.anna.call(Read{studio.anna.root, 0, 10})) == EISDIR);
  CHECK(error_of(studio.anna.call(Read{clip, ~0ULL, 10})) == EINVAL);
}

TEST_CASE("opening brings head and tail in one answer") {
  Studio studio;
  std::string content(3000, 'a');
  content.replace(2990, 10, "tail-bytes");
  const NodeId clip = studio.make("clip", content);
  auto opened = studio.anna.call(Open{clip, false, 100, 10});
  REQUIRE(opened.has_value());
  CHECK(opened->head.size() == 100);
  CHECK(opened->tail_offset == 2990);
  CHECK(std::string(opened->tail.begin(), opened->tail.end()) == "tail-bytes");
  opened = studio.anna.call(Open{clip, false, 2995, 10});  // they meet
  CHECK(opened->tail_offset == 2995);
  CHECK(opened->tail.size() == 5);
  opened = studio.anna.call(Open{clip, false, 5000, 10});
  CHECK(opened->head.size() == 3000);
  CHECK(opened->tail.empty());
}

TEST_CASE("queued operations that arrive in any order leave the file as it was written") {
  Studio studio;
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    const NodeId clip = studio.make("clip" + std::to_string(round));
    std::string expected;
    std::vector<Buffer> messages;
    for (std::uint64_t sequence = 1; sequence <= 40; ++sequence) {
      if (sequence % 10 == 0) {  // a truncation in between
        const std::size_t size = random() % 50;
        SetAttributes cut;
        cut.order = QueuePosition{sequence, sequence - 1, 0};
        cut.node = clip;
        cut.size = size;
        messages.push_back(encode(cut));
        expected.resize(size, '\0');
      } else {
        const std::size_t offset = random() % 60;
        const std::string data(1 + random() % 20, static_cast<char>('a' + sequence % 26));
        messages.push_back(encode(studio.anna.write(clip, sequence, sequence - 1, offset, data)));
        if (expected.size() < offset + data.size()) expected.resize(offset + data.size(), '\0');
        expected.replace(offset, data.size(), data);
      }
    }
    std::shuffle(messages.begin(), messages.end(), random);
    std::vector<rushfs::transport::RequestId> ids;
    for (auto& message : messages) {
      ids.push_back(studio.anna.send(std::move(message)));
      if (random() % 3 == 0) studio.server.settle();
    }
    studio.server.settle();
    for (const auto id : ids) CHECK(studio.anna.answer<Write>(id)->has_value());
    CHECK(studio.anna.read(clip) == expected);
  }
}

TEST_CASE("an operation that is repeated is not applied over a later one") {
  Studio studio;
  const NodeId clip = studio.make("clip");
  const auto first = studio.anna.write(clip, 1, 0, 0, "first");
  REQUIRE(studio.anna.call(first).has_value());
  REQUIRE(studio.anna.call(studio.anna.write(clip, 2, 1, 0, "later")).has_value());
  studio.anna.disconnect();
  studio.anna.connect_and_attach(studio.server);
  CHECK(studio.anna.call(first).has_value());
  CHECK(studio.ben.read(clip) == "later");
}

TEST_CASE("a commit that overtakes its writes waits for them") {
  Studio studio;
  const NodeId clip = studio.make("clip");
  const auto commit = studio.anna.send(Commit{clip, 2, false});
  studio.server.settle();
  CHECK(!studio.anna.answer<Commit>(commit));
  studio.anna.send(studio.anna.write(clip, 2, 1, 1, "b"));
  studio.server.settle();
  CHECK(!studio.anna.answer<Commit>(commit));
  studio.anna.send(studio.anna.write(clip, 1, 0, 0, "a"));
  studio.server.settle();
  REQUIRE(studio.anna.answer<Commit>(commit));
  CHECK((*studio.anna.answer<Commit>(commit))->attributes.size == 2);
}

TEST_CASE("what follows a failed operation is not applied until the client decides") {
  Studio studio;
  const NodeId clip = studio.make("clip", "old");
  SetAttributes huge;
  huge.order = QueuePosition{1, 0, 0};
  huge.node = clip;
  huge.size = ~0ULL >> 1;  // larger than any file system takes
  const auto failed = studio.anna.send(huge);
  const auto behind = studio.anna.send(studio.anna.write(clip, 2, 1, 0, "new"));
  const auto commit = studio.anna.send(Commit{clip, 2, false});
  studio.server.settle();
  CHECK(error_of(*studio.anna.answer<SetAttributes>(failed)) == EFBIG);
  CHECK(error_of(*studio.anna.answer<Write>(behind)) == ECANCELED);
  CHECK(error_of(*studio.anna.answer<Commit>(commit)) == ECANCELED);
  CHECK(studio.ben.read(clip) == "old");
  CHECK(studio.anna.call(studio.anna.write(clip, 2, 0, 0, "new")).has_value());  // gives 1 up
  CHECK(studio.ben.read(clip) == "new");
}

TEST_CASE("two clients' changes of one file each show the version they started from") {
  Studio studio;
  const NodeId clip = studio.make("clip");
  std::vector<rushfs::transport::RequestId> of_anna, of_ben;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    of_anna.push_back(studio.anna.send(studio.anna.write(clip, i, i - 1, i, "a")));
    of_ben.push_back(studio.ben.send(studio.ben.write(clip, i, i - 1, i, "b")));
  }
  studio.server.settle();
  std::vector<Change> changes;
  for (std::size_t i = 0; i < of_anna.size(); ++i) {
    changes.push_back((*studio.anna.answer<Write>(of_anna[i]))->change);
    changes.push_back((*studio.ben.answer<Write>(of_ben[i]))->change);
  }
  // Each version but the last is the one exactly one other change started from.
  int chained = 0;
  for (const Change& change : changes) {
    chained += static_cast<int>(std::count_if(changes.begin(), changes.end(), [&](const Change& c) {
      return c.before == change.after.version;
    }));
  }
  CHECK(chained == static_cast<int>(changes.size()) - 1);
}

TEST_CASE("a read-only export changes nothing and says so") {
  HarnessOptions options;
  options.read_only = true;
  Studio studio(options);
  const NodeId clip = studio.make("clip", "x");
  CHECK(error_of(studio.anna.call(studio.anna.create("new"))) == EROFS);
  CHECK(error_of(studio.anna.call(studio.anna.write(clip, 1, 0, 0, "y"))) == EROFS);
  CHECK(error_of(studio.anna.call(Unlink{studio.anna.number(), studio.anna.root, "clip", false})) ==
        EROFS);
  CHECK(error_of(studio.anna.call(Commit{clip, 0, false})) == EROFS);
  CHECK(studio.anna.read(clip) == "x");
  CHECK(studio.server.sessions().attached()[0].read_only);
}

TEST_CASE("names are linked, moved, exchanged and removed with the attributes a client needs") {
  Studio studio;
  const NodeId clip = studio.make("clip", "1");
  const NodeId other = studio.make("other", "2");
  TestClient& anna = studio.anna;
  auto linked = anna.call(Link{anna.number(), clip, anna.root, "second"});
  REQUIRE(linked.has_value());
  CHECK(linked->entry.node == clip);
  CHECK(linked->entry.attributes.links == 2);

  Rename rename{anna.number(),          anna.root, "clip", anna.root, "other",
                RenameMode::no_replace, false};
  CHECK(error_of(anna.call(rename)) == EEXIST);
  rename.call = anna.number();
  rename.mode = RenameMode::exchange;
  auto exchanged = anna.call(rename);
  REQUIRE(exchanged.has_value());
  CHECK(exchanged->moved.node == clip);
  CHECK(exchanged->replaced->node == other);
  CHECK(anna.lookup("other") == clip);
  rename.call = anna.number();
  rename.mode = RenameMode::replace;
  auto replaced = anna.call(rename);  // "clip", now the other file, over "other", now the clip
  REQUIRE(replaced.has_value());
  CHECK(replaced->moved.node == other);
  CHECK(replaced->replaced->node == clip);  // has its second name still
  CHECK(replaced->replaced->attributes.links == 1);
  auto removed = anna.call(Unlink{anna.number(), anna.root, "second", false});
  REQUIRE(removed.has_value());
  CHECK(!removed->removed);
  CHECK(error_of(anna.call(GetAttributes{clip})) == ESTALE);
}

TEST_CASE("directories are made, refused removal while full, and removed") {
  Studio studio;
  TestClient& anna = studio.anna;
  MakeDirectory make{anna.number(), anna.root, "day1", {0, 0, 022}, 0755};
  const auto made = anna.call(make);
  REQUIRE(made.has_value());
  write_file(studio.exported / "day1/f", "");
  CHECK(error_of(anna.call(RemoveDirectory{anna.number(), anna.root, "day1"})) == ENOTEMPTY);
  files::remove(studio.exported / "day1/f");
  CHECK(anna.call(RemoveDirectory{anna.number(), anna.root, "day1"}).has_value());
  CHECK(error_of(anna.call(RemoveDirectory{anna.number(), anna.root, "day1"})) == ENOENT);
}

TEST_CASE("creating without exclusive opens what is there, and truncates it if asked") {
  Studio studio;
  studio.make("clip", "content");
  auto create = studio.anna.create("clip");
  CHECK(error_of(studio.anna.call(create)) == EEXIST);
  create.call = studio.anna.number();
  create.exclusive = false;
  auto opened = studio.anna.call(create);
  CHECK(opened->existed);
  CHECK(opened->entry.attributes.size == 7);
  create.call = studio.anna.number();
  create.truncate = true;
  CHECK(studio.anna.call(create)->entry.attributes.size == 0);
}

TEST_CASE("a read the client no longer wants is not made") {
  Studio studio;
  const NodeId clip = studio.make("clip", "content");
  const auto id = studio.anna.send(Read{clip, 0, 100});
  studio.server.sessions().on_cancelled(studio.anna.connection(), id);
  studio.server.settle();
  CHECK(error_of(*studio.anna.answer<Read>(id)) == ECANCELED);
}

TEST_CASE("who asks and cancels without end is shown the door") {
  Studio studio;
  const NodeId clip = studio.make("clip", "content");
  for (int i = 0; i < 65'536; ++i) {
    const auto id = studio.anna.send(Read{clip, 0, 100});
    studio.server.sessions().on_cancelled(studio.anna.connection(), id);
  }
  CHECK(studio.server.closed.empty());
  studio.anna.send(Read{clip, 0, 100});
  const auto closed = studio.server.closed.find(studio.anna.connection().value);
  REQUIRE(closed != studio.server.closed.end());
  CHECK(closed->second.code == rushfs::transport::CloseCode::server_busy);
}

TEST_CASE("a mount that connects anew takes the place of its old connection") {
  Studio studio;
  const auto old = studio.anna.connection();
  studio.anna.connect_and_attach(studio.server);
  CHECK(studio.server.closed.contains(old.value));
  CHECK(studio.anna.call(GetAttributes{studio.anna.root}).has_value());
  CHECK(studio.server.sessions().attached().size() == 2);
}

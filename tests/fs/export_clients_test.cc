// docs/file-protocol.md, "Attach", "Detach": whom the server remembers, and until when.
#include <sys/stat.h>

#include "tests/fs/server_harness.h"

using namespace rushfs::testing;
namespace files = std::filesystem;

namespace {

struct Studio {
  TemporaryFolder exported, state;
  ServerHarness server{exported.path(), state.path()};
  TestClient anna{1}, ben{2};
  NodeId clip;

  Studio() {
    files::create_directory(exported / "reel");
    write_file(exported / "reel" / "clip", "frames");
    anna.connect(server);
    REQUIRE(anna.attach("reel").has_value());
    ben.connect_and_attach(server);
    clip = anna.lookup("clip");
  }
  Lock lock() const {
    Lock request;
    request.node = clip;
    request.owner = 1;
    request.span.type = LockType::exclusive;
    return request;
  }
  /// As it is asked for by who waits, while Ben has it.
  Lock lock_of_ben() {
    REQUIRE(ben.call(lock()).has_value());
    Lock request = lock();
    request.wait = true;
    request.ticket = 5;
    return request;
  }
  void ben_unlocks() {
    Lock none = lock();
    none.span.type = LockType::none;
    REQUIRE(ben.call(none).has_value());
  }
  bool gone() {
    files::remove(exported / "reel" / "clip");
    server.advance(std::chrono::seconds(5));
    return error_of(ben.call(GetAttributes{clip})) == ESTALE;
  }
};

}  // namespace

TEST_CASE("a client whose folder is gone when it comes back keeps its locks for the lease only") {
  Studio studio;
  REQUIRE(studio.anna.call(studio.lock()).has_value());
  REQUIRE(studio.anna.call(Open{studio.clip, true, 0, 0}).has_value());
  studio.anna.disconnect();
  files::rename(studio.exported / "reel", studio.exported / "archive");
  studio.anna.connect(studio.server);
  CHECK(error_of(studio.anna.attach("reel")) == ENOENT);
  studio.anna.disconnect();
  studio.server.advance(std::chrono::seconds(59));
  CHECK(error_of(studio.ben.call(studio.lock())) == EAGAIN);
  studio.server.advance(std::chrono::seconds(2));
  CHECK(studio.ben.call(studio.lock()).has_value());
  studio.server.advance(kHoldLease);
  files::remove(studio.exported / "archive" / "clip");
  studio.server.advance(std::chrono::seconds(5));
  CHECK(error_of(studio.ben.call(GetAttributes{studio.clip})) == ESTALE);
}

TEST_CASE("who makes up clients takes the places of his own") {
  Studio studio;
  REQUIRE(studio.ben.call(studio.lock()).has_value());
  REQUIRE(studio.ben.call(studio.ben.write(studio.clip, 1, 0, 0, "FRAMES")).has_value());
  studio.ben.disconnect();
  TestClient many{7};
  const std::string subpath = GENERATE("", "no such folder");
  for (std::uint16_t i = 0; i < 5000; ++i) {
    many.become(i);
    many.connect(studio.server);
    CHECK(many.attach(subpath).has_value() == subpath.empty());
    many.disconnect();
  }
  CHECK(error_of(studio.anna.call(studio.lock())) == EAGAIN);
  studio.ben.connect(studio.server);
  CHECK(studio.ben.attach()->applied_through == 1);
}

TEST_CASE("after Detach a connection gets nothing more") {
  Studio studio;
  REQUIRE(studio.anna.call(Detach{}).has_value());
  CHECK(error_of(studio.anna.call(studio.lock())) == EACCES);
  CHECK(error_of(studio.anna.call(Open{studio.clip, true, 0, 0})) == EACCES);
  CHECK(error_of(studio.anna.call(studio.anna.create("new"))) == EACCES);
  CHECK(error_of(studio.anna.call(studio.anna.write(studio.clip, 1, 0, 0, "x"))) == EACCES);
  CHECK(studio.ben.call(studio.lock()).has_value());
}

TEST_CASE("an Open that is answered after its client has left holds nothing") {
  Studio studio;
  studio.anna.send(Open{studio.clip, true, 0, 0});
  studio.server.settle_home();  // the disk has not answered
  SECTION("by Detach") {
    studio.anna.send(Detach{});
  }
  SECTION("and begun anew") {
    studio.anna.begin_anew();
    studio.anna.connect(studio.server);
    REQUIRE(studio.anna.attach("reel").has_value());
  }
  studio.server.settle();
  CHECK(studio.gone());
}

TEST_CASE("a file without a name that is made after its client has left is gone") {
  Studio studio;
  CreateUnnamed make;
  make.call = studio.anna.number();
  make.directory = studio.anna.root;
  make.mode = 0600;
  studio.anna.send(make);
  studio.server.settle_home();
  studio.anna.send(Detach{});
  studio.server.settle();
  CHECK(!files::exists(studio.exported / kOrphanFolder));
}

TEST_CASE("a wait for a lock ends with its connection, also where the next one takes its place") {
  Studio studio;
  const Lock lock = studio.lock_of_ben();
  studio.anna.send(lock);
  studio.anna.connect(studio.server);  // nobody has missed the one before
  REQUIRE(studio.anna.attach("reel").has_value());
  const auto waits = studio.anna.send(lock);
  REQUIRE(studio.anna.call(CancelLock{5}).has_value());
  CHECK(error_of(*studio.anna.answer<Lock>(waits)) == EINTR);
  studio.ben_unlocks();
  CHECK(studio.ben.call(studio.lock()).has_value());
}

TEST_CASE("a ticket that waits is given to no other lock") {
  Studio studio;
  const Lock lock = studio.lock_of_ben();
  const auto first = studio.anna.send(lock);
  CHECK(error_of(studio.anna.call(lock)) == EINVAL);
  studio.ben_unlocks();
  CHECK(studio.anna.answer<Lock>(first)->has_value());
}

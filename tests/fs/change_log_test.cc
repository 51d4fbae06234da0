// When a write is answered. docs/semantics.md, "Write, close, fsync".
#include "fs/client/change_log.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>

#include <csignal>

#include "client_world.h"
#include "writeback_story.h"

using namespace rushfs;
using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

namespace {

/// A log before a real queue whose disk can be slow.
struct LogStory : WritebackStory {
  void write(std::uint64_t offset, std::size_t length, int& answer) {
    log.write(file, offset, Buffer(length, 'x'), note(answer));
  }
  std::uint64_t queued() const { return queue->pending(file->node.bytes).data_bytes; }

  Inodes inodes{time};
  ChangeLog log{{remote, disk, blocks, disk, *queue, time}, inodes, *writeback, 60s};
  InodeRef file = inodes.get(NodeId{"clip"});
};

/// Of this process no file can be written beyond so many bytes.
class FullFiles {
 public:
  explicit FullFiles(rlim_t bytes) : before_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit small{bytes, limit_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullFiles() {
    setrlimit(RLIMIT_FSIZE, &limit_);
    std::signal(SIGXFSZ, before_);
  }
  FullFiles(const FullFiles&) = delete;
  FullFiles& operator=(const FullFiles&) = delete;

 private:
  void (*before_)(int);
  rlimit limit_{};
};

}  // namespace

TEST_CASE("a write is answered before the queue has it, where that has space for certain") {
  LogStory story;
  int first = kWaiting, second = kWaiting, flushed = kWaiting;
  story.loop.rest();
  story.write(0, 1000, first);
  CHECK(first == kWaiting);  // nothing is known of the queue's disk
  story.loop.go_on();
  CHECK(first == 0);
  story.loop.rest();
  story.write(1000, 1000, second);
  CHECK(second == 0);
  CHECK(story.file->local.size.apply(0) == 2000);
  story.log.flush(note(flushed));
  CHECK(flushed == kWaiting);  // closing waits for the disk
  CHECK(story.queued() == 1000);
  story.loop.go_on();
  CHECK(flushed == 0);
  CHECK(story.queued() == 2000);
}

TEST_CASE("a writer is no further ahead of the queue than that has taken space for") {
  LogStory story;
  int answer = kWaiting;
  story.write(0, 1, answer);
  REQUIRE(answer == 0);
  story.loop.rest();
  std::uint64_t written = 0;
  for (answer = 0; answer == 0; written += 100'000) {
    answer = kWaiting;
    story.write(written, 100'000, answer);
    REQUIRE(written < 9 << 20);
  }
  CHECK(written > 4 << 20);
  story.loop.go_on();
  CHECK(answer == 0);
  CHECK(story.queued() == written + 1);
}

TEST_CASE("what this machine's disk loses after it was answered is told to who relies on it") {
  World world;
  const auto created = world.create("project", {.write = true}).value();
  const auto handle = created.opened.handle;
  const std::string first(100'000, 'a');
  REQUIRE(world.write(handle, 0, first));
  const auto sync = [&] {
    return world.await<void>([&](auto reply) { world.volume().sync(handle, std::move(reply)); });
  };
  REQUIRE(sync());
  {
    const FullFiles limit(100'000);
    REQUIRE(world.write(handle, 100'000, std::string(100'000, 'b')));
    world.run_for(1ms);
  }
  CHECK(world.stat("project")->size == 100'000);
  const auto told = [](const Result<void>& result) { return result.error().value() == EIO; };
  SECTION("close, and fsync once more") {
    CHECK(told(world.await<void>(
        [&](auto reply) { world.volume().flush(handle, std::move(reply)); })));
    CHECK(told(sync()));
  }
  SECTION("fsync") { CHECK(told(sync())); }
  SECTION("rushfs wait") { CHECK(told(world.drain())); }
  SECTION("renaming it over another") {
    REQUIRE(world.write_file("version", "the last one"));
    const auto rename = [&](auto reply) {
      world.volume().rename(kRootNode, "project", kRootNode, "version", RenameMode::replace,
                            std::move(reply));
    };
    CHECK(told(world.await<void>(rename)));
    CHECK(rushfs::testing::read_file(world.exported() / "project") == first);
    return;
  }
  REQUIRE(world.write(handle, 100'000, "again"));
  CHECK(world.close(handle));
  REQUIRE(world.drain());
  CHECK(rushfs::testing::read_file(world.exported() / "project") == first + "again");
}

TEST_CASE("without a link nobody is answered before the queue has what he wrote") {
  LogStory story;
  int answer = kWaiting;
  story.write(0, 1, answer);
  REQUIRE(answer == 0);
  story.remote.is_attached = false;
  story.loop.rest();
  answer = kWaiting;
  story.write(1, 1, answer);
  CHECK(answer == kWaiting);
  story.loop.go_on();
  CHECK(answer == 0);
}

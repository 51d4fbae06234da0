// The file system without FUSE, against a real export: docs/semantics.md, "Order of changes to one
// file", "Close-to-open", "Versions", "A file without a name".
#include <catch2/catch.hpp>

#include <sys/stat.h>

#include <filesystem>

#include "client_world.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using rushfs::testing::read_file;
using rushfs::testing::write_file;
using namespace std::chrono_literals;

namespace {

std::string footage(std::size_t length, char seed = 'a') {
  std::string text(length, ' ');
  std::uint32_t state = static_cast<std::uint32_t>(seed) * 2654435761u;
  for (auto& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

}  // namespace

TEST_CASE("what is saved by renaming over the old version is never without its bytes") {
  World world;
  REQUIRE(world.write_file("document", "the old version"));
  REQUIRE(world.drain());
  const auto text = footage(3 << 20);
  REQUIRE(world.write_file("document~", text));
  std::optional<Result<void>> answer;
  world.volume().rename(kRootNode, "document~", kRootNode, "document", RenameMode::replace,
                        [&](Result<void> result) { answer = result; });
  std::set<std::string> seen;
  REQUIRE(world.run_until([&] {
    seen.insert(read_file(world.exported() / "document"));
    return answer.has_value();
  }));
  REQUIRE(*answer);
  seen.insert(read_file(world.exported() / "document"));
  CHECK((seen == std::set<std::string>{"the old version", text}));
}

TEST_CASE("a file renamed over another name of itself keeps both") {
  World world;
  REQUIRE(world.write_file("clip", "x"));
  const auto clip = world.find("clip");
  REQUIRE(clip);
  REQUIRE(world.await<NodeReference>(
      [&](auto reply) { world.volume().link(*clip, kRootNode, "other", std::move(reply)); }));
  REQUIRE(world.await<void>([&](auto reply) {
    world.volume().rename(kRootNode, "clip", kRootNode, "other", RenameMode::replace,
                          std::move(reply));
  }));
  CHECK(world.find("clip"));
  CHECK(world.find("other"));
}

TEST_CASE("what is on the server is read through the volume") {
  World world;
  write_file(world.exported() / "clip.mov", footage(1'000'000));
  CHECK(world.read_file("clip.mov").value() == footage(1'000'000));
  CHECK(world.stat("clip.mov")->size == 1'000'000);
  CHECK(world.find("nothing").error().value() == ENOENT);
}

TEST_CASE("what is written and closed arrives on the server, with the time it was written") {
  World world;
  const auto text = footage(3'000'000);
  REQUIRE(world.write_file("clip.mov", text));
  const auto seen = world.stat("clip.mov").value();
  CHECK(seen.size == text.size());
  world.run_for(20s);
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "clip.mov") == text);
  CHECK(world.volume().queue_status().operations == 0);
  struct stat there {};
  REQUIRE(::stat((world.exported() / "clip.mov").c_str(), &there) == 0);
  CHECK(there.st_mtim.tv_sec == seen.mtime.seconds);
  CHECK(static_cast<std::uint32_t>(there.st_mtim.tv_nsec) == seen.mtime.nanoseconds);
}

TEST_CASE("a program reads its own writes before they are on the server") {
  World world;
  write_file(world.exported() / "clip.mov", footage(600'000));
  auto expected = footage(600'000);
  const auto opened = world.open("clip.mov", {.read = true, .write = true}).value();
  world.silence_link(true);
  REQUIRE(world.write(opened.handle, 100'000, "patched header"));
  expected.replace(100'000, 14, "patched header");
  world.silence_link(false);
  CHECK(world.read(opened.handle, 0, 600'000).value() == expected);
  REQUIRE(world.close(opened.handle));
  REQUIRE(world.drain());
  CHECK(world.read_file("clip.mov").value() == expected);
  CHECK(read_file(world.exported() / "clip.mov") == expected);
}

TEST_CASE("a truncation between two writes keeps its place") {
  World world;
  const auto created = world.create("log", {.read = true, .write = true}).value();
  REQUIRE(world.write(created.opened.handle, 0, "first line\n"));
  AttributeChange change;
  change.size = 5;
  const auto cut = world.await<Attributes>([&](auto reply) {
    world.volume().set_attributes(created.found.number, change, std::move(reply));
  });
  CHECK(cut->size == 5);
  REQUIRE(world.write(created.opened.handle, 8, "end"));
  const std::string expected("first\0\0\0end", 11);
  CHECK(world.read(created.opened.handle, 0, 100).value() == expected);
  REQUIRE(world.close(created.opened.handle));
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "log") == expected);
}

TEST_CASE("a folder of a thousand files is listed with attributes in at most three round trips") {
  World world;
  for (int i = 0; i < 1000; ++i) {
    write_file(world.exported() / ("clip " + std::to_string(i)), std::string(i, 'x'));
  }
  world.calls.clear();
  const auto handle = world.await<HandleNumber>([&](auto reply) {
    world.volume().open_directory(kRootNode, std::move(reply));
  });
  std::uint64_t cookie = 0;
  std::map<std::string, std::uint64_t> sizes;
  for (;;) {
    const auto listed = world.await<Listed>([&](auto reply) {
      world.volume().read_directory(*handle, cookie, std::move(reply));
    });
    REQUIRE(listed);
    if (listed->first == listed->page->size()) break;
    for (std::size_t i = listed->first; i < listed->page->size(); ++i) {
      const auto& entry = (*listed->page)[i];
      cookie = entry.cookie;
      const auto found = world.volume().enter(kRootNode, entry, listed->last_known);
      if (found) {
        sizes[entry.name] = found->attributes.size;
        CHECK(world.await<Attributes>([&](auto reply) {
                     world.volume().get_attributes(found->number, std::move(reply));
                   })->size == found->attributes.size);
      }
    }
  }
  CHECK(sizes.size() == 1000);
  CHECK(sizes["clip 617"] == 617);
  int calls = 0;
  for (const auto& [operation, count] : world.calls) calls += count;
  CHECK(calls <= 3);
}

TEST_CASE("who jumps back and forth in a folder finds the same entries, without asking again") {
  World world;
  for (int i = 0; i < 1000; ++i) write_file(world.exported() / ("clip " + std::to_string(i)), "");
  const auto handle = world.await<HandleNumber>(
      [&](auto reply) { world.volume().open_directory(kRootNode, std::move(reply)); });
  const auto after = [&](std::uint64_t cookie) {
    const auto listed = world.await<Listed>(
        [&](auto reply) { world.volume().read_directory(*handle, cookie, std::move(reply)); });
    REQUIRE(listed);
    return std::vector<DirectoryEntry>(
        listed->page->begin() + static_cast<std::ptrdiff_t>(listed->first), listed->page->end());
  };
  std::vector<std::pair<std::uint64_t, std::string>> seen;  // cookie before, name
  std::uint64_t cookie = 0;
  for (auto rest = after(cookie); !rest.empty(); rest = after(cookie)) {
    for (const auto& entry : rest) {
      seen.emplace_back(cookie, entry.name);
      cookie = entry.cookie;
    }
  }
  CHECK(seen.size() == 1002);
  world.calls.clear();
  for (int i = 0; i < 300; ++i) {
    const auto& [before, name] = seen[1 + world.random()() % (seen.size() - 1)];
    CHECK(after(before).front().name == name);
  }
  CHECK(world.calls.empty());
}

TEST_CASE("who has a handle of a file finds it when nobody remembers its name") {
  World world;
  write_file(world.exported() / "clip", "bytes");
  const auto number = world.find("clip");
  REQUIRE(number);
  const auto by_handle = [&world, &number] {
    world.volume().forget(*number, 1);
    world.run_for(5s);
    return world.await<NodeReference>(
        [&](auto reply) { world.volume().lookup(*number, ".", std::move(reply)); });
  };
  const auto found = by_handle();
  REQUIRE(found);
  CHECK(found->number == *number);
  CHECK(found->attributes.size == 5);
  std::filesystem::remove(world.exported() / "clip");
  CHECK(by_handle().error().value() == ESTALE);
}

TEST_CASE("creating, writing and closing a file takes one round trip") {
  World world;
  world.calls.clear();
  const auto before = world.now();
  REQUIRE(world.write_file("small", "text"));
  CHECK(world.now() - before <= 21ms);
}

TEST_CASE("a file that lost its name stays usable while it is open") {
  World world;
  write_file(world.exported() / "scratch", "old contents");
  const auto opened = world.open("scratch", {.read = true, .write = true}).value();
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().unlink(kRootNode, "scratch", std::move(reply)); }));
  CHECK_FALSE(std::filesystem::exists(world.exported() / "scratch"));
  REQUIRE(world.write(opened.handle, 4, "CONTENTS"));
  CHECK(world.read(opened.handle, 0, 100).value() == "old CONTENTS");
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().sync(opened.handle, std::move(reply)); }));
  CHECK(world.read(opened.handle, 0, 100).value() == "old CONTENTS");
  REQUIRE(world.close(opened.handle));
  world.run_for(10s);
  CHECK(world.volume().queue_status().operations == 0);
  CHECK(world.volume().queue_status().parked.empty());
}

TEST_CASE("a file without a name stays usable over a restart of the server") {
  World world;
  write_file(world.exported() / "scratch", "old contents");
  const auto opened = world.open("scratch", {.read = true, .write = true}).value();
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().unlink(kRootNode, "scratch", std::move(reply)); }));
  REQUIRE(world.write(opened.handle, 4, "CONTENTS"));
  world.kill_server();
  world.start_server();
  CHECK(world.read(opened.handle, 0, 100).value() == "old CONTENTS");
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().sync(opened.handle, std::move(reply)); }));
  REQUIRE(world.close(opened.handle));
  world.run_for(10s);
  CHECK(world.volume().queue_status().operations == 0);
}

TEST_CASE("a file without a name keeps what waits for who opens it as its last user closes it") {
  World world;
  const auto made = world.create("scratch", {.write = true}).value();
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().unlink(kRootNode, "scratch", std::move(reply)); }));
  REQUIRE(world.write(made.opened.handle, 0, "content"));
  const auto reopen = [&] {  // as by /proc/self/fd
    return world.await<Opened>([&](auto reply) {
      world.volume().open(made.found.number, {.read = true}, std::move(reply));
    });
  };
  std::optional<HandleNumber> again;
  SECTION("before") {
    world.volume().open(made.found.number, {.read = true},
                        [&](Result<Opened> opened) { again = opened.value().handle; });
    world.volume().release(made.opened.handle);
    world.run_for(10s);
  }
  SECTION("a moment after") {
    world.volume().release(made.opened.handle);
    again = reopen().value().handle;
  }
  CHECK(world.read(again.value(), 0, 100).value() == "content");
  world.volume().release(*again);
  world.volume().forget(made.found.number, 1);
  CHECK(world.volume().queue_status().bytes == 0);
}

TEST_CASE("a kernel that is gone without a word has closed all files") {
  World world;
  const auto named = world.create("named", {.write = true}).value().opened.handle;
  const auto scratch = world.create("scratch", {.write = true}).value().opened.handle;
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().unlink(kRootNode, "scratch", std::move(reply)); }));
  world.cut_link();
  REQUIRE(world.write(named, 0, "kept"));
  REQUIRE(world.write(scratch, 0, "of no use to anybody"));
  REQUIRE(world.await<void>([&](auto reply) { world.volume().close_all(std::move(reply)); }));
  CHECK(world.volume().open_files() == 0);
  CHECK(world.volume().queue_status().bytes == 4);
}

TEST_CASE("what is written to a file that we removed is kept where others gave it a name again") {
  WorldOptions options;
  options.clients = 2;
  options.notices = true;
  World world(options);
  REQUIRE(world.write_file("take", "frames"));
  REQUIRE(world.drain());
  world.choose(1);
  REQUIRE(world.open("take", {.read = true}));
  const auto node = world.find("take").value();
  world.choose(0);
  const auto mine = world.open("take", {.write = true}).value().handle;
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().unlink(kRootNode, "take", std::move(reply)); }));
  world.choose(1);
  REQUIRE(world.await<NodeReference>(
      [&](auto reply) { world.volume().link(node, kRootNode, "again", std::move(reply)); }));
  world.choose(0);
  world.run_for(1s);
  REQUIRE(world.write(mine, 0, "FRAMES"));
  REQUIRE(world.close(mine));
  REQUIRE(world.drain());
  CHECK(rushfs::testing::read_file(world.exported() / "again") == "FRAMES");
}

TEST_CASE("what was sent of a file that we removed since is not sent again after kill -9") {
  World world;
  SECTION("removed when nobody had it open") {
    REQUIRE(world.write_file("take", "frames"));
    REQUIRE(world.drain());
  }
  SECTION("removed while it was open") {
    const auto created = world.create("take", {.write = true});
    REQUIRE(world.write(created->opened.handle, 0, "frames"));
    REQUIRE(world.drain());
    REQUIRE(world.close(created->opened.handle));
    REQUIRE(world.drain());
  }
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().unlink(kRootNode, "take", std::move(reply)); }));
  world.run_for(50ms);
  world.kill_client();
  world.start_client();
  REQUIRE(world.drain());
  CHECK(world.volume().queue_status().parked.empty());
}

TEST_CASE("opening an empty file to truncate it is a change, as on a local disk") {
  World world;
  std::ofstream(world.exported() / "stamp") << "";
  const auto before = world.stat("stamp").value().mtime;
  world.run_for(100ms);
  const auto opened = world.open("stamp", {.write = true, .truncate = true}).value();
  CHECK(world.stat("stamp")->mtime != before);
  REQUIRE(world.close(opened.handle));
  REQUIRE(world.drain());
  world.run_for(2s);
  CHECK(world.stat("stamp")->mtime != before);
}

TEST_CASE("a file that somebody else has made meanwhile is opened by its rights, not created") {
  World world;
  REQUIRE(world.find("private").error().value() == ENOENT);
  std::ofstream(world.exported() / "private") << "secret";
  const auto created = world.await<Created>([&](auto reply) {
    world.volume().create(kRootNode, "private", Caller{1000, 1000, 022}, 0644,
                          {.read = true, .write = true, .truncate = true}, std::move(reply));
  });
  CHECK(created.error().value() == ESTALE);  // the kernel looks it up
  CHECK(world.find("private").has_value());
  world.run_for(5s);
  CHECK(read_file(world.exported() / "private") == "secret");
}

TEST_CASE("who opens a file while its only name goes has it whole, or not at all") {
  World world;
  std::ofstream(world.exported() / "clip") << std::string(300'000, 'c');
  const auto clip = world.find("clip").value();
  world.slow_calls["open"] = 50ms;  // overtaken by the removal
  Result<void> removed = errno_code(EINPROGRESS);
  world.volume().unlink(kRootNode, "clip", [&](Result<void> result) { removed = result; });
  const auto opened = world.await<Opened>(
      [&](auto reply) { world.volume().open(clip, {.read = true}, std::move(reply)); });
  if (opened) {
    CHECK(world.read(opened->handle, 0, 10).value() == "cccccccccc");
  } else {
    CHECK(opened.error().value() == ESTALE);  // the kernel looks the name up again
  }
  REQUIRE(removed);
}

TEST_CASE("open finds out that somebody else changed the file") {
  World world;
  write_file(world.exported() / "bin.avb", footage(500'000, 'a'));
  CHECK(world.read_file("bin.avb").value() == footage(500'000, 'a'));
  write_file(world.exported() / "bin.avb", footage(400'000, 'b'));
  world.run_for(2s);
  CHECK(world.read_file("bin.avb").value() == footage(400'000, 'b'));
}

TEST_CASE("what was read once is not fetched again, not even after a restart") {
  World world;
  write_file(world.exported() / "clip.mov", footage(2'000'000));
  REQUIRE(world.read_file("clip.mov"));
  world.run_for(3s);
  world.restart_client();
  world.calls.clear();
  CHECK(world.read_file("clip.mov").value() == footage(2'000'000));
  CHECK(world.calls["read"] == 0);
}

TEST_CASE("what was just written is read back without crossing the link, also after a restart") {
  World world;
  const auto text = footage(2'345'678);
  REQUIRE(world.write_file("clip.mov", text));
  REQUIRE(world.drain());
  world.run_for(3s);
  CHECK(world.read_file("clip.mov").value() == text);
  CHECK(world.calls["read"] == 0);
  world.restart_client();
  CHECK(world.read_file("clip.mov").value() == text);
  CHECK(world.calls["read"] == 0);
}

TEST_CASE("what was written is not kept when somebody else changed the file in between") {
  World world;
  const auto created = world.create("bin.avb", {.write = true}).value();
  REQUIRE(world.write(created.opened.handle, 0, footage(600'000, 'a')));
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().sync(created.opened.handle, std::move(reply)); }));
  write_file(world.exported() / "bin.avb", footage(500'000, 'b'));
  REQUIRE(world.write(created.opened.handle, 300'000, footage(300'000, 'c')));
  REQUIRE(world.close(created.opened.handle));
  REQUIRE(world.drain());
  world.run_for(2s);
  CHECK(world.read_file("bin.avb").value() == read_file(world.exported() / "bin.avb"));
}

TEST_CASE("fsync is answered when the server has the bytes on its disk") {
  World world;
  const auto created = world.create("project", {.write = true}).value();
  REQUIRE(world.write(created.opened.handle, 0, "precious"));
  REQUIRE(world.await<void>(
      [&](auto reply) { world.volume().sync(created.opened.handle, std::move(reply)); }));
  CHECK(read_file(world.exported() / "project") == "precious");
  CHECK(world.calls["commit"] >= 1);
}

TEST_CASE("a full disk at the server is retried, and told to who calls fsync") {
  World world;
  bool full = true;
  world.sabotage = [&](const std::string& operation) -> std::optional<int> {
    if (full && operation == "write") return ENOSPC;
    return std::nullopt;
  };
  const auto created = world.create("clip", {.write = true}).value();
  for (int i = 0; i < 20; ++i) {
    REQUIRE(world.write(created.opened.handle, i * 10'000, std::string(10'000, 'a' + i)));
  }
  const auto synced = world.await<void>(
      [&](auto reply) { world.volume().sync(created.opened.handle, std::move(reply)); });
  CHECK(synced.error().value() == ENOSPC);
  CHECK(world.volume().queue_status().retry_error == ENOSPC);
  REQUIRE(world.close(created.opened.handle));
  full = false;
  REQUIRE(world.drain());
  CHECK(std::filesystem::file_size(world.exported() / "clip") == 200'000);
}

TEST_CASE("what the server refuses for good is kept and shown until a person decides") {
  World world;
  bool refuse = true;
  world.sabotage = [&](const std::string& operation) -> std::optional<int> {
    if (refuse && operation == "write") return EACCES;
    return std::nullopt;
  };
  REQUIRE(world.write_file("clip", "some footage"));
  REQUIRE(world.write_file("other", ""));
  CHECK_FALSE(world.drain());
  REQUIRE(world.volume().queue_status().parked.size() == 1);
  CHECK(world.volume().queue_status().parked[0].error == EACCES);
  CHECK(world.read_file("clip").value() == "some footage");
  refuse = false;
  world.volume().retry_now();
  world.run_for(3s);
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "clip") == "some footage");
  CHECK(world.volume().queue_status().parked.empty());
}

TEST_CASE("a writer waits while the queue is full, and then goes on") {
  WorldOptions options;
  options.queue_budget = 1 << 20;
  World world(options);
  const auto text = footage(10 << 20);
  REQUIRE(world.write_file("clip.mov", text));
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "clip.mov") == text);
}

TEST_CASE("an operation on a silent link ends with ETIMEDOUT") {
  World world;
  world.run_for(2s);
  world.silence_link(true);
  const auto before = world.now();
  CHECK(world.stat("anything").error().value() == ETIMEDOUT);
  CHECK(world.now() - before <= 62s);
}

// docs/semantics.md, "Extended attributes and ACLs", "Space and holes", "Copies", "Appending",
// "Files without a name".
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <filesystem>

#include "client_world.h"
#include "fs/posix_acl.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using rushfs::testing::read_file;
using rushfs::testing::write_file;
using namespace std::chrono_literals;

namespace {

Result<std::string> get(World& world, NodeNumber node, const std::string& name) {
  return world.await<std::string>(
      [&](auto reply) { world.volume().get_xattr(node, name, std::move(reply)); });
}
int set(World& world, NodeNumber node, const std::string& name, std::optional<std::string> value,
        XattrMode mode = XattrMode::any) {
  const auto done = world.await<void>([&](auto reply) {
    world.volume().set_xattr(node, name, value, mode, std::move(reply));
  });
  return done ? 0 : done.error().value();
}
std::vector<std::string> list(World& world, NodeNumber node) {
  return world
      .await<std::vector<std::string>>(
          [&](auto reply) { world.volume().list_xattrs(node, std::move(reply)); })
      .value();
}
int allocate(World& world, HandleNumber file, std::uint32_t mode, std::uint64_t offset,
             std::uint64_t length) {
  const auto done = world.await<void>([&](auto reply) {
    world.volume().allocate(file, mode, offset, length, std::move(reply));
  });
  return done ? 0 : done.error().value();
}
Result<std::uint64_t> seek(World& world, HandleNumber file, std::uint64_t offset,
                           Seek what) {
  return world.await<std::uint64_t>(
      [&](auto reply) { world.volume().seek(file, offset, what, std::move(reply)); });
}
Result<std::uint64_t> copy(World& world, HandleNumber from, HandleNumber to, std::uint64_t length) {
  return world.await<std::uint64_t>([&](auto reply) {
    world.volume().copy_range(from, 0, to, 0, length, std::move(reply));
  });
}
std::string on_disk(const std::filesystem::path& path, const char* name) {
  std::string value(100, '\0');
  const auto size = ::getxattr(path.c_str(), name, value.data(), value.size());
  return size < 0 ? "none" : value.substr(0, static_cast<std::size_t>(size));
}

constexpr OpenFlags kBoth{.read = true, .write = true};
constexpr std::uint32_t kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

}  // namespace

TEST_CASE("that a file has no extended attributes costs no question") {
  World world;
  write_file(world.exported() / "clip", "x");
  const NodeNumber clip = world.find("clip").value();
  world.calls.clear();
  CHECK(get(world, clip, "user.reel").error().value() == ENODATA);
  CHECK(get(world, clip, "security.capability").error().value() == ENODATA);
  CHECK(get(world, clip, std::string(kAccessAcl)).error().value() == ENODATA);
  CHECK(list(world, clip).empty());
  CHECK(world.calls.empty());
}

TEST_CASE("without a link, what is known of extended attributes is told at once") {
  World world;
  write_file(world.exported() / "clip", "x");
  const NodeNumber clip = world.find("clip").value();
  world.kill_server();
  world.run_for(30s);
  const auto before = world.now();
  CHECK(get(world, clip, std::string(kAccessAcl)).error().value() == ENODATA);
  CHECK(list(world, clip).empty());
  CHECK(world.now() - before < 1s);
}

TEST_CASE("the extended attributes of a file are fetched in one round trip") {
  World world;
  const auto path = world.exported() / "clip";
  write_file(path, "x");
  for (const char* name : {"user.reel", "user.take"}) {
    REQUIRE(::setxattr(path.c_str(), name, name, 9, 0) == 0);
  }
  const NodeNumber clip = world.find("clip").value();
  world.calls.clear();
  CHECK(list(world, clip) == std::vector<std::string>{"user.reel", "user.take"});
  CHECK(get(world, clip, "user.reel").value() == "user.reel");
  CHECK(get(world, clip, "user.take").value() == "user.take");
  CHECK(world.calls == std::map<std::string, int>{{"listxattrs", 1}});
}

TEST_CASE("an extended attribute set behind queued data needs no link, survives a kill, arrives") {
  World world;
  const auto opened = world.create("clip", kBoth).value();
  const NodeNumber clip = opened.found.number;
  REQUIRE(set(world, clip, "user.first", "1") == 0);  // the disk is known to have them now
  REQUIRE(world.write(opened.opened.handle, 0, "data"));
  REQUIRE(set(world, clip, "user.reel", "A001") == 0);
  world.silence_link(true);
  CHECK(set(world, clip, "user.take", "3") == 0);
  CHECK(set(world, clip, "user.take", "4", XattrMode::create) == EEXIST);
  CHECK(set(world, clip, "user.none", "4", XattrMode::replace) == ENODATA);
  CHECK(set(world, clip, "user.first", std::nullopt) == 0);
  CHECK(get(world, clip, "user.take").value() == "3");
  CHECK(list(world, clip) == std::vector<std::string>{"user.reel", "user.take"});
  REQUIRE(world.close(opened.opened.handle));
  world.kill_client();
  world.silence_link(false);
  world.start_client();
  REQUIRE(world.drain());
  CHECK(on_disk(world.exported() / "clip", "user.reel") == "A001");
  CHECK(on_disk(world.exported() / "clip", "user.take") == "3");
  CHECK(on_disk(world.exported() / "clip", "user.first") == "none");
}

TEST_CASE("an extended attribute removed behind queued data is removed once, over a restart") {
  World world;
  const auto opened = world.create("clip", kBoth).value();
  const NodeNumber clip = opened.found.number;
  REQUIRE(set(world, clip, "user.first", "1") == 0);
  REQUIRE(world.write(opened.opened.handle, 0, "data"));
  REQUIRE(set(world, clip, "user.first", std::nullopt) == 0);
  REQUIRE(world.write(opened.opened.handle, 4, " behind"));
  const auto there = [&] { return on_disk(world.exported() / "clip", "user.first"); };
  REQUIRE(world.run_until([&] { return there() == "none"; }));
  world.kill_server();  // it had not been asked to commit it
  world.start_server();
  REQUIRE(world.drain());
  CHECK(world.volume().queue_status().parked.empty());
  CHECK(there() == "none");
}

TEST_CASE("space that is asked for makes a file longer, also when it was cut and written before") {
  World world;
  rushfs::testing::write_file(world.exported() / "clip", std::string(9000, 'o'));
  const auto opened = world.open("clip", {.read = true, .write = true, .truncate = true});
  REQUIRE(opened);
  REQUIRE(world.write(opened->handle, 0, std::string(1000, 'n')));
  world.run_for(1s);  // by now all that is queued is on this disk, and not yet on the server's
  const int error = allocate(world, opened->handle, FALLOC_FL_ZERO_RANGE, 2000, 1000);
  if (error == EOPNOTSUPP) return;  // not on this disk
  REQUIRE(error == 0);
  CHECK(world.stat("clip")->size == 3000);
  CHECK(world.read(opened->handle, 0, 5000).value() ==
        std::string(1000, 'n') + std::string(2000, '\0'));
}

TEST_CASE("an append whose answer is lost with the link is there once, also when more follows") {
  World world;
  const auto log = world.create("log", {.write = true, .append = true});
  REQUIRE(log);
  REQUIRE(world.write(log->opened.handle, 0, "first "));
  REQUIRE(world.run_until([&] { return world.calls["append"] == 1; }));
  REQUIRE(world.run_until(
      [&] { return rushfs::testing::read_file(world.exported() / "log") == "first "; }));
  world.cut_link();
  REQUIRE(world.write(log->opened.handle, 6, "second "));
  REQUIRE(world.write(log->opened.handle, 13, "third"));
  REQUIRE(world.close(log->opened.handle));
  REQUIRE(world.drain());
  CHECK(rushfs::testing::read_file(world.exported() / "log") == "first second third");
}

TEST_CASE("an access ACL and the permission bits say the same") {
  // user::rw- user:7:r-- group::--- mask::r-- other::---
  const std::string acl("\2\0\0\0\1\0\6\0\xff\xff\xff\xff\2\0\4\0\7\0\0\0\4\0\0\0\xff\xff\xff\xff"
                        "\x10\0\4\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff", 44);
  CHECK(mode_of_acl(acl) == 0640u);
  CHECK(!acl_is_minimal(acl));
  CHECK(mode_of_acl(acl_with_mode(acl, 0461)) == 0461u);
  CHECK(mode_of_acl("nonsense") == std::nullopt);
  CHECK(acl_with_mode("nonsense", 0644) == "nonsense");
  const std::string minimal("\2\0\0\0\1\0\6\0\xff\xff\xff\xff\4\0\4\0\xff\xff\xff\xff"
                            "\x20\0\0\0\xff\xff\xff\xff", 28);
  CHECK(acl_is_minimal(minimal));
  CHECK(mode_of_acl(minimal) == 0640u);
}

TEST_CASE("a hole punched behind queued data is a hole in every view, and on the server") {
  World world;
  const auto opened = world.create("clip", kBoth).value();
  const HandleNumber file = opened.opened.handle;
  REQUIRE(allocate(world, file, kPunch, 0, 4096) == 0);  // the disk can
  REQUIRE(world.write(file, 0, std::string(1 << 20, 'x')));
  world.silence_link(true);
  REQUIRE(allocate(world, file, kPunch, 65536, 65536) == 0);
  CHECK(world.read(file, 65530, 12).value() == std::string("xxxxxx\0\0\0\0\0\0", 12));
  CHECK(seek(world, file, 0, Seek::hole).value() == 65536);
  CHECK(seek(world, file, 65536, Seek::data).value() == 131072);
  CHECK(seek(world, file, 131072, Seek::hole).value() == 1 << 20);
  world.silence_link(false);
  REQUIRE(world.close(file));
  REQUIRE(world.drain());
  const std::string there = read_file(world.exported() / "clip");
  CHECK(there.size() == 1 << 20);
  CHECK(there.substr(65536, 65536) == std::string(65536, '\0'));
  CHECK(there[65535] == 'x');
  CHECK(there[131072] == 'x');
}

TEST_CASE("what we made a file longer by is known without asking, but for what was put there") {
  World world;
  const auto opened = world.create("database", kBoth).value();
  const HandleNumber file = opened.opened.handle;
  REQUIRE(world.write(file, 0, "header"));
  AttributeChange longer;
  longer.size = 1 << 20;
  REQUIRE(world.await<Attributes>([&](auto reply) {
    world.volume().set_attributes(opened.found.number, longer, std::move(reply));
  }));
  REQUIRE(world.drain());
  REQUIRE(world.write(file, 100'000, "record"));
  REQUIRE(world.write(file, 2 << 20, "beyond"));
  REQUIRE(world.drain());
  world.calls.clear();
  const auto text = world.read(file, 0, (2 << 20) + 6).value();
  CHECK(world.calls["read"] == 0);
  REQUIRE(text.size() == (2 << 20) + 6);
  CHECK(text.substr(0, 7) == std::string("header\0", 7));
  CHECK(text.substr(99'999, 8) == std::string("\0record\0", 8));
  CHECK(text.substr((2 << 20) - 1) == std::string("\0beyond", 7));
  CHECK(text == read_file(world.exported() / "database"));
}

TEST_CASE("where a file has data is asked once") {
  World world;
  const auto path = world.exported() / "clip";
  write_file(path, "head");
  std::filesystem::resize_file(path, 1 << 20);
  {
    std::fstream tail(path, std::ios::in | std::ios::out);
    tail.seekp(512 << 10);
    tail << "middle";
  }
  const auto file = world.open("clip", {.read = true}).value().handle;
  world.calls.clear();
  const std::uint64_t hole = seek(world, file, 0, Seek::hole).value();
  CHECK(hole == 4096);
  CHECK(seek(world, file, hole, Seek::data).value() == 512 << 10);
  CHECK(seek(world, file, 600 << 10, Seek::data).error().value() == ENXIO);
  CHECK(seek(world, file, 1 << 20, Seek::hole).error().value() == ENXIO);
  CHECK(world.calls["dataranges"] == 1);
}

TEST_CASE("data that others added is found behind what was the end of the file") {
  World world;
  const auto path = world.exported() / "clip";
  write_file(path, "short");
  const auto file = world.open("clip", {.read = true}).value().handle;
  write_file(path, std::string(10'000, 'x'));
  world.run_for(2s);
  CHECK(seek(world, file, 6000, Seek::data).value() == 6000);
}

TEST_CASE("a copy within the export moves no data over the link, and sees what is queued") {
  World world;
  const std::string content(3 << 20, 'c');
  REQUIRE(world.write_file("from", content));
  const auto from = world.open("from", {.read = true}).value().handle;
  const auto to = world.create("to", kBoth).value().opened.handle;
  REQUIRE(world.drain());
  world.calls.clear();
  CHECK(copy(world, from, to, content.size()).value() == content.size());
  CHECK(world.calls == std::map<std::string, int>{{"copyrange", 1}});
  REQUIRE(world.close(to));
  CHECK(world.calls["commit"] == 1);  // closed means safe
  CHECK(read_file(world.exported() / "to") == content);
  CHECK(world.stat("to")->size == content.size());
}

TEST_CASE("appended records arrive whole and once, over a restart of the server") {
  World world;
  write_file(world.exported() / "log", "");
  OpenFlags flags = kBoth;
  flags.append = true;
  const auto file = world.open("log", flags).value().handle;
  std::string expected;
  for (int record = 0; record < 30; ++record) {
    const std::string line = "record " + std::to_string(record) + "\n";
    REQUIRE(world.write(file, 0, line));
    expected += line;
    if (record == 10) world.kill_server();
    if (record == 20) world.start_server();
  }
  REQUIRE(world.close(file));
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "log") == expected);
}

TEST_CASE("what somebody else appended meanwhile is kept, and seen") {
  World world;
  write_file(world.exported() / "log", "start\n");
  OpenFlags flags = kBoth;
  flags.append = true;
  const auto file = world.open("log", flags).value().handle;
  write_file(world.exported() / "log", "start\nother\n");
  REQUIRE(world.write(file, 0, "mine\n"));
  REQUIRE(world.close(file));
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "log") == "start\nother\nmine\n");
  CHECK(world.read_file("log").value() == "start\nother\nmine\n");
}

TEST_CASE("a file without a name is written, and linked under one") {
  World world;
  const auto made = world.await<Created>([&](auto reply) {
    world.volume().create_unnamed(kRootNode, {}, 0600, kBoth, std::move(reply));
  });
  if (!made && made.error().value() == EOPNOTSUPP) return;
  REQUIRE(made);
  CHECK(made->found.attributes.links == 0);
  REQUIRE(world.write(made->opened.handle, 0, "content"));
  const auto linked = world.await<NodeReference>([&](auto reply) {
    world.volume().link(made->found.number, kRootNode, "named", std::move(reply));
  });
  REQUIRE(linked);
  CHECK(linked->attributes.links == 1);
  REQUIRE(world.close(made->opened.handle));
  REQUIRE(world.drain());
  CHECK(read_file(world.exported() / "named") == "content");
  CHECK(world.stat("named")->links == 1);
}

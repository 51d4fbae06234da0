// docs/file-protocol.md, operations 32 to 40: what goes beyond names, bytes and classic attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <fstream>

#include "tests/as_root.h"
#include "tests/fs/server_harness.h"

using namespace rushfs::testing;
namespace files = std::filesystem;

namespace {

struct Studio {
  TemporaryFolder exported, state;
  std::optional<ServerHarness> server;
  TestClient anna{1}, ben{2};

  Studio() { start(); }
  void start() {
    server.reset();
    server.emplace(exported.path(), state.path());
    anna.connect_and_attach(*server);
    ben.connect_and_attach(*server);
  }
  NodeId make(const std::string& name, const std::string& content = "") {
    write_file(exported / name, content);
    return anna.lookup(name);
  }
  std::string content(const std::string& name) { return read_file(exported / name); }
  std::uint32_t traits(const NodeId& node) {
    return anna.call(GetAttributes{node})->attributes.traits;
  }
};

Append append(const NodeId& node, std::uint64_t sequence, std::uint64_t after,
              std::uint64_t expected, std::string_view data) {
  return {node, {sequence, after, 0}, expected, false,
          {reinterpret_cast<const std::uint8_t*>(data.data()), data.size()}};
}

}  // namespace

TEST_CASE("extended attributes are set, listed with their values, and removed") {
  Studio studio;
  const NodeId clip = studio.make("clip");
  CHECK(studio.traits(clip) == 0);
  const std::string value("take\0 3", 7);
  auto set = studio.anna.call(
      SetXattr{studio.anna.number(), clip, "user.take", value, XattrMode::create});
  REQUIRE(set.has_value());
  CHECK(set->change.after.traits == kHasXattrs);
  CHECK(set->change.after.version != set->change.before);
  CHECK(error_of(studio.anna.call(SetXattr{studio.anna.number(), clip, "user.take", value,
                                           XattrMode::create})) == EEXIST);
  auto listed = studio.ben.call(ListXattrs{clip});
  REQUIRE(listed->xattrs.size() == 1);
  CHECK(listed->xattrs[0].name == "user.take");
  CHECK(listed->xattrs[0].value == value);
  CHECK(studio.ben.call(GetXattr{clip, "user.take"})->value == value);
  CHECK(error_of(studio.ben.call(GetXattr{clip, "user.none"})) == ENODATA);
  const SetXattr remove{studio.anna.number(), clip, "user.take", std::nullopt, XattrMode::any};
  CHECK(studio.anna.call(remove).has_value());
  CHECK(studio.anna.call(remove).has_value());  // the same call again: its first answer
  CHECK(studio.traits(clip) == 0);
}

TEST_CASE("a queued extended attribute waits for the write before it") {
  if (!as_root()) return;
  Studio studio;
  const NodeId tool = studio.make("tool");
  // Writing takes a capability away, so the order shows. CAP_NET_RAW, as setcap(8) stores it.
  const std::string capability("\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  const auto second = studio.anna.send(SetXattr{QueuePosition{2, 1, 0}, tool,
                                                "security.capability", capability, XattrMode::any});
  studio.server->settle();
  CHECK(!studio.anna.answer<SetXattr>(second));
  CHECK(studio.anna.call(studio.anna.write(tool, 1, 0, 0, "code")).has_value());
  REQUIRE(studio.anna.answer<SetXattr>(second).has_value());
  CHECK(studio.traits(tool) == (kHasXattrs | kHasCapability));
}

TEST_CASE("holes are punched, told of, and stay holes") {
  Studio studio;
  const NodeId clip = studio.make("clip", std::string(1 << 20, 'x'));
  const std::uint32_t punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  auto punched = studio.anna.call(Allocate{QueuePosition{1, 0, 0}, clip, punch, 4096, 512 << 10});
  if (error_of(punched) == EOPNOTSUPP) return;
  REQUIRE(punched.has_value());
  CHECK(punched->change.after.size == 1 << 20);
  auto ranges = studio.anna.call(DataRanges{clip, 0, 10});
  CHECK(ranges->known_to == 1 << 20);
  CHECK(ranges->ranges ==
        std::vector<Span>{{0, 4096}, {4096 + (512 << 10), 1 << 20}});
  auto first = studio.anna.call(DataRanges{clip, 0, 1});
  CHECK(first->known_to == 4096);
  CHECK(studio.content("clip").substr(4095, 3) == std::string("x\0\0", 3));
  // What cannot be repeated does not go through the queue.
  CHECK(error_of(studio.anna.call(Allocate{QueuePosition{2, 1, 0}, clip, FALLOC_FL_COLLAPSE_RANGE,
                                           0, 4096})) == EINVAL);
}

TEST_CASE("space can be allocated past the end, with and without growing the file") {
  Studio studio;
  const NodeId clip = studio.make("clip", "head");
  auto kept = studio.anna.call(
      Allocate{studio.anna.number(), clip, FALLOC_FL_KEEP_SIZE, 0, 1 << 20});
  if (error_of(kept) == EOPNOTSUPP) return;
  CHECK(kept->change.after.size == 4);
  CHECK(kept->change.after.blocks >= 2048);
  CHECK(studio.anna.call(Allocate{studio.anna.number(), clip, 0, 0, 1 << 20})->change.after.size ==
        1 << 20);
}

TEST_CASE("a range is copied on the server, as far as the source reaches") {
  Studio studio;
  const NodeId from = studio.make("from", "0123456789"), to = studio.make("to", "abc");
  auto copied = studio.anna.call(CopyRange{studio.anna.number(), from, 4, to, 2, 100});
  REQUIRE(copied.has_value());
  CHECK(copied->copied == 6);
  CHECK(copied->change.after.size == 8);
  CHECK(studio.content("to") == "ab456789");
  CHECK(studio.anna.call(CopyRange{studio.anna.number(), from, 10, to, 0, 1})->copied == 0);
}

TEST_CASE("two clients append at once: no record is lost or torn") {
  Studio studio;
  const NodeId log = studio.make("log", "start\n");
  // Both believe that the file ends at 6.
  CHECK(studio.anna.call(append(log, 1, 0, 6, "anna 1\n"))->offset == 6u);
  CHECK(studio.ben.call(append(log, 1, 0, 6, "ben 1\n"))->offset == 13u);
  const auto second = studio.anna.call(append(log, 2, 1, 13, "anna 2\n"));
  CHECK(second->offset == 19u);
  CHECK(second->change.after.size == 26);
  CHECK(studio.content("log") == "start\nanna 1\nben 1\nanna 2\n");
  // The same operation again, to the same server: nothing happens.
  const auto again = studio.anna.call(append(log, 2, 1, 13, "anna 2\n"));
  CHECK(again->offset == std::nullopt);
  CHECK(again->change.before == again->change.after.version);
  CHECK(studio.content("log") == "start\nanna 1\nben 1\nanna 2\n");
}

TEST_CASE("an append repeated to a restarted server is recognised where it was expected") {
  Studio studio;
  const NodeId log = studio.make("log", "start\n");
  CHECK(studio.anna.call(append(log, 1, 0, 6, "anna 1\n")).has_value());
  studio.start();
  Append again = append(log, 1, 0, 6, "anna 1\n");
  again.repeated = true;
  CHECK(studio.anna.call(again)->offset == 6u);
  CHECK(studio.content("log") == "start\nanna 1\n");
}

TEST_CASE("a file without a name can be written, given a name, and is gone if it is not") {
  Studio studio;
  const auto make = [&] {
    CreateUnnamed request;
    request.call = studio.anna.number();
    request.directory = studio.anna.root;
    request.mode = 0600;
    return studio.anna.call(request);
  };
  auto made = make();
  if (error_of(made) == EOPNOTSUPP) return;
  REQUIRE(made.has_value());
  const NodeId node = made->entry.node;
  CHECK(made->entry.attributes.links == 0);
  CHECK(studio.anna.call(studio.anna.write(node, 1, 0, 0, "take")).has_value());
  studio.start();  // it outlives the server
  CHECK(studio.anna.read(node) == "take");
  auto linked = studio.anna.call(Link{studio.anna.number(), node, studio.anna.root, "named"});
  REQUIRE(linked.has_value());
  CHECK(linked->entry.attributes.links == 1);
  CHECK(studio.content("named") == "take");

  const NodeId lost = make()->entry.node;
  CHECK(studio.anna.call(Release{lost}).has_value());
  CHECK(error_of(studio.anna.call(GetAttributes{lost})) == ESTALE);
}

TEST_CASE("file flags are told, where the disk has them") {
  Studio studio;
  const NodeId clip = studio.make("clip");
  FileFlags question;
  question.node = clip;
  auto flags = studio.anna.call(question);
  if (error_of(flags) == ENOTTY || error_of(flags) == EOPNOTSUPP) return;
  REQUIRE(flags.has_value());
  constexpr std::uint32_t kNoDump = 0x40;  // FS_NODUMP_FL
  FileFlags change{studio.anna.number(), clip, flags->flags | kNoDump};
  CHECK((studio.anna.call(change)->flags & kNoDump) != 0);
  CHECK((studio.ben.call(question)->flags & kNoDump) != 0);
}

TEST_CASE("a hole is told in a few bytes, and up to where it ends") {
  Studio studio;
  constexpr std::uint64_t kMiB = 1 << 20, kSize = 10'240 * kMiB;
  const NodeId image = studio.make("image");
  files::resize_file(studio.exported / "image", kSize);
  const auto asked = [&](std::uint64_t offset, std::uint32_t length) {
    const auto id = studio.anna.send(Read{image, offset, length});
    studio.server->settle();
    return std::pair(*studio.anna.answer<Read>(id), studio.anna.reply_bytes(id));
  };
  const auto [whole, bytes] = asked(5 * kMiB, kMiB);
  CHECK(whole->data.empty());
  CHECK(whole->zeros_after == kSize - 5 * kMiB);
  CHECK(bytes < 128);

  std::fstream(studio.exported / "image", std::ios::in | std::ios::out).seekp(9 * kMiB) << "data";
  const auto before = asked(5 * kMiB, kMiB).first;
  CHECK(before->zeros_after == 4 * kMiB);
  const auto around = asked(9 * kMiB - 8192, 65536).first;
  CHECK(around->zeros_before == 8192);
  CHECK(std::string(around->data.begin(), around->data.end()) == "data");
  CHECK(around->zeros_after == kSize - 9 * kMiB - 4);
  CHECK(!around->end);
  const auto last = asked(kSize - 65536, 65536).first;
  CHECK(last->end);
  CHECK(last->zeros_after == 65536);

  const auto opened = studio.anna.call(Open{image, false, 256 << 10, 256 << 10});
  CHECK(opened->head.empty());
  CHECK(opened->head_zeros == 9 * kMiB);
  CHECK(opened->tail.empty());
}

// What may be believed of files, for how long, and which answers wait for notices.
#include "fs/client/known.h"

#include <dirent.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "fs/client/folders.h"
#include "fs/client/notice_order.h"
#include "parts_by_hand.h"

using namespace rushfs;
using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

namespace {

struct Kernel : KernelCache {
  void invalidate(NodeNumber, const Spans&) override { ++invalidated; }
  void invalidate_name(NodeNumber, const std::string&) override {}
  void settle(absl::AnyInvocable<void() &&> then) override { std::move(then)(); }
  bool tells_events() const override { return false; }
  void happened(RemoteEvent) override {}
  int invalidated = 0;
};

struct Story : PartsByHand {
  Story() {
    time.now = transport::TimePoint{} + 1h;
    side.set(&kernel);
  }
  ~Story() { reader.forget(*file); }

  void hear(std::uint64_t version, std::uint64_t sent_epoch) {
    Attributes attributes;
    attributes.mode = S_IFREG | 0644;
    attributes.links = 1;
    attributes.version = {version};
    known.learn(*file, attributes, sent_epoch);
  }
  void hear(std::uint64_t version) { hear(version, known.epoch()); }
  void notice() { known.noticed(Notice{1, false, {{tag_of(file->node), ""}}}); }
  bool fresh() const { return known.fresh(*file); }

  Kernel kernel;
  KernelSide side;
  Reader reader{parts, [this](Inode& read, const ReadReply& reply, std::uint64_t asked_epoch) {
                  return known.learn(read, reply, asked_epoch);
                }};
  Known known{parts, side, reader};
  NoticeOrder order{known};
  InodeRef file = known.inodes().get(NodeId{"clip"});
};

}  // namespace

TEST_CASE("what was heard is believed for a second, and longer where the server tells of changes") {
  Story story;
  CHECK_FALSE(story.fresh());
  story.hear(1);
  CHECK(story.fresh());
  story.time.now += 1s;
  CHECK_FALSE(story.fresh());
  story.known.promise(true);
  CHECK_FALSE(story.fresh());  // it was heard before
  story.hear(1);
  story.time.now += 59min;
  CHECK(story.fresh());
  story.known.link_lost();
  CHECK_FALSE(story.fresh());
}

TEST_CASE("an answer to a question asked before a notice is not believed") {
  Story story;
  story.known.promise(true);
  story.hear(1);
  story.file->kernel_has_pages = true;
  const auto epoch = story.known.epoch();
  story.notice();
  CHECK(story.kernel.invalidated == 1);
  CHECK_FALSE(story.fresh());
  story.hear(2, epoch);
  CHECK_FALSE(story.fresh());
  story.hear(2);
  CHECK(story.fresh());
  CHECK(story.file->server.version == Version{2});
}

namespace {

/// A file of 1 MiB of which all was read a while ago, while another mount writes to it.
struct Recording : Story {
  static constexpr std::uint64_t kSize = 1 << 20;

  Recording() {
    known.promise(true);
    hear(1);
    file->server.size = kSize;
    file->content.disk_known = true;
    const auto bytes = std::make_shared<const Buffer>(kSize, std::uint8_t{1});
    reader.seed(file, 0, bytes, *bytes);
  }
  Attributes attributes(std::uint64_t version, std::uint64_t size) const {
    Attributes out = file->server;
    out.version = {version};
    out.size = size;
    out.ctime.nanoseconds += static_cast<std::uint32_t>(version);
    return out;
  }
  void notice_of(const Spans& written, std::uint64_t version, std::uint64_t size) {
    const ContentChange content{written, attributes(version, size), {version}};
    known.noticed(Notice{1, false, {{tag_of(file->node), "", content}}});
  }
  /// How much of the file is fetched by who reads all of it.
  std::uint64_t fetched() {
    reader.read(file, nullptr, 0, file->size(), [](Result<Slices>) {});
    std::uint64_t bytes = 0;
    for (const auto& read : remote.waiting<Read>()) bytes += read.length;
    return bytes;
  }
};

}  // namespace

TEST_CASE("of a file that somebody writes to, what he left alone stays") {
  Recording story;
  story.notice_of({1000, 2000}, 2, Recording::kSize + 500);
  CHECK(story.fresh());
  CHECK(story.file->server.version == Version{2});
  CHECK(story.file->size() == Recording::kSize + 500);
  CHECK(story.kernel.invalidated == 1);
  CHECK(story.fetched() == 1500);
}

TEST_CASE("nothing stays of a file whose change nobody can tell in parts") {
  Recording story;
  story.notice();
  CHECK_FALSE(story.fresh());
  CHECK(story.fetched() == Recording::kSize);
}

TEST_CASE("nothing stays of what was heard before the server told of changes") {
  Recording story;
  story.time.now += 1s;
  story.known.promise(true);
  story.notice_of({1000, 2000}, 2, Recording::kSize);
  CHECK_FALSE(story.fresh());
  CHECK(story.fetched() == Recording::kSize);
}

TEST_CASE("a change of ours that is under way leaves nothing certain") {
  Recording story;
  story.file->changes_in_flight = 1;
  story.notice_of({1000, 2000}, 2, Recording::kSize);
  CHECK(story.fetched() == Recording::kSize);
  story.file->changes_in_flight = 0;
}

TEST_CASE("a reply that overtakes the notice tells which parts are not what they were") {
  Recording story;
  ReadReply reply;
  reply.attributes = story.attributes(2, Recording::kSize);
  SECTION("then the others stay") {
    reply.untold = Untold{{2}, {1000, 2000}};
    CHECK(story.known.learn(*story.file, reply, story.known.epoch()) == Heard::same);
    CHECK(story.file->server.version == Version{2});
    CHECK(story.fetched() == 1000);
  }
  SECTION("not even those in which only attributes have changed") {
    reply.untold = Untold{{2}, {}};
    CHECK(story.known.learn(*story.file, reply, story.known.epoch()) == Heard::same);
    CHECK(story.fetched() == 0);
  }
  SECTION("as does a reply to Open") {
    OpenReply opened;
    opened.attributes = reply.attributes;
    opened.untold = Untold{{2}, {1000, 2000}};
    story.known.learn(*story.file, opened, story.known.epoch());
    CHECK(story.file->server.version == Version{2});
    CHECK(story.fetched() == 1000);
  }
  SECTION("or cannot, and then nothing stays") {
    CHECK(story.known.learn(*story.file, reply, story.known.epoch()) == Heard::changed);
    CHECK(story.fetched() == Recording::kSize);
  }
}

TEST_CASE("a notice that a reply has overtaken drops its parts, and nothing else") {
  Recording story;
  ReadReply reply;
  reply.attributes = story.attributes(3, Recording::kSize);
  reply.untold = Untold{{3}, {5000, 6000}};
  CHECK(story.known.learn(*story.file, reply, story.known.epoch()) == Heard::same);
  story.notice_of({1000, 2000}, 2, Recording::kSize - 10);
  CHECK(story.fresh());
  CHECK(story.file->server.version == Version{3});
  CHECK(story.fetched() == 2000);
  story.notice_of({5000, 6000}, 4, Recording::kSize);
  CHECK(story.file->server.version == Version{4});
}

TEST_CASE("an answer to a change of ours does not hide what others did after it") {
  Recording story;
  story.file->changes_in_flight = 1;
  story.file->suspect = true;
  story.known.learn(*story.file, story.attributes(3, Recording::kSize + 500), story.known.epoch());
  CHECK(story.file->size() == Recording::kSize + 500);
  story.file->changes_in_flight = 0;
  AppliedOperation write;
  write.length = 1;
  write.change = {{1}, story.attributes(2, Recording::kSize)};
  write.change.after.ctime.nanoseconds = 2;
  story.known.changed(story.file, write);
  CHECK(story.file->size() == Recording::kSize + 500);
  CHECK(story.file->server.version == Version{2});
  CHECK_FALSE(story.fresh());
}

TEST_CASE("attributes are taken by their moment also when the server's clock was set back") {
  Recording story;
  story.notice_of({0, 10}, 9, Recording::kSize);
  auto after = story.attributes(10, Recording::kSize + 7);
  after.ctime = {};
  story.known.noticed(Notice{1, false, {{tag_of(story.file->node), "", {{{}, after, {10}}}}}});
  CHECK(story.file->size() == Recording::kSize + 7);
}

TEST_CASE("a reply from before the notice brings back neither the size nor the version of then") {
  Recording story;
  const auto asked = story.known.epoch();
  ReadReply reply;
  reply.attributes = story.attributes(2, Recording::kSize + 1);
  reply.untold = Untold{{2}, {}};
  story.notice_of({1000, 2000}, 3, Recording::kSize + 2);
  CHECK(story.known.learn(*story.file, reply, asked) == Heard::same);
  CHECK(story.file->server.version == Version{3});
  CHECK(story.file->size() == Recording::kSize + 2);
}

TEST_CASE("a notice counts that came before the file was known") {
  Story story;
  story.known.promise(true);
  const auto epoch = story.known.epoch();
  story.known.noticed(Notice{1, false, {{tag_of(NodeId{"stranger"}), ""}}});
  story.file = story.known.inodes().get(NodeId{"stranger"});
  story.hear(1, epoch);
  CHECK_FALSE(story.fresh());
}

TEST_CASE("an answer waits for the notices that were sent before it") {
  Story story;
  bool given = false;
  story.order.after(2, [&] { given = true; });
  story.order.heard();
  CHECK_FALSE(given);
  story.order.heard();
  CHECK(given);
  given = false;
  story.order.after(2, [&] { given = true; });
  CHECK(given);
}

TEST_CASE("a listing that gets nowhere is an error, and nothing more is asked") {
  Story story;
  AccessTimes access_times(story.remote, story.time, {});
  Folders folders(story.remote, story.known, access_times);
  Attributes root;
  root.mode = S_IFDIR | 0755;
  root.version = {1};
  story.known.inodes().set_root(NodeId{"root"}, root);
  HandleNumber handle;
  folders.open(kRootNode, Reply<HandleNumber>([&](Result<HandleNumber> it) { handle = *it; }));
  std::vector<Result<Listed>> got;
  const auto read = [&](std::uint64_t cookie) {
    folders.read(handle, cookie,
                 Reply<Listed>([&](Result<Listed> it) { got.push_back(std::move(it)); }));
  };
  const ReadDirectoryReply page{root, false, {{7, 2, DT_REG, "clip", {}}}};
  read(0);
  story.remote.answer<ReadDirectory>(page);
  REQUIRE(got.size() == 1);
  CHECK(got[0].has_value());
  read(7);
  for (int times_asked = 0; times_asked < 3; ++times_asked) {
    if (!story.remote.waiting<ReadDirectory>().empty()) story.remote.answer<ReadDirectory>(page);
  }
  REQUIRE(got.size() == 2);
  CHECK((got[1].has_error() && got[1].error().value() == EIO));
  CHECK(story.remote.waiting<ReadDirectory>().empty());
}

namespace {

/// More files than are remembered when nobody needs them.
void remember_others(Inodes& inodes) {
  for (std::size_t i = 0; i < Inodes::kRemembered; ++i) inodes.get(NodeId{std::to_string(i)});
}

}  // namespace

TEST_CASE("what is known of a file is known when the kernel has let go of it") {
  Story story;
  Inodes& inodes = story.known.inodes();
  inodes.get(NodeId{"link"})->target = "clip.mov";
  story.known.sweep();
  CHECK(inodes.get(NodeId{"link"})->target == "clip.mov");
  remember_others(inodes);
  story.known.sweep();
  CHECK_FALSE(inodes.get(NodeId{"link"})->target);
  CHECK(inodes.size() < Inodes::kRemembered + 10);
}

TEST_CASE("a file that was given up and is met again has none of its earlier names") {
  Story story;
  Inodes& inodes = story.known.inodes();
  NodeNumber number;
  {
    const InodeRef linked = inodes.get(NodeId{"linked"});
    number = linked->number;
    for (const auto* name : {"one", "two", "two", "three"}) {
      inodes.set_name(*linked, kRootNode, name);
    }
    inodes.drop_name(kRootNode, "three");
    inodes.set_name(*linked, kRootNode, "lost");
    inodes.set_name(*story.file, kRootNode, "lost");
    CHECK(inodes.child(kRootNode, "one") == linked);
    CHECK(inodes.child(kRootNode, "two") == linked);
  }
  remember_others(inodes);
  story.known.sweep();
  REQUIRE(inodes.get(NodeId{"linked"})->number == number);
  CHECK(inodes.child(kRootNode, "one") == nullptr);
  CHECK(inodes.child(kRootNode, "two") == nullptr);
  CHECK(inodes.child(kRootNode, "three") == nullptr);
  CHECK(inodes.child(kRootNode, "lost") == story.file);
}

TEST_CASE("notices that will never come are not waited for, and nothing is believed") {
  Story story;
  story.known.promise(true);
  story.hear(1);
  bool given = false;
  SECTION("the connection is another") {
    story.order.after(1, [&] { given = true; });
    CHECK(story.fresh());
    story.order.attached();
    CHECK_FALSE(given);  // before its lock is known to be held still
    story.order.release();
  }
  SECTION("they are more than can be on their way") {
    story.order.after(kMaxWaitingNotices + 1, [&] { given = true; });
  }
  CHECK(given);
  CHECK_FALSE(story.fresh());
}

TEST_CASE("a write of ours that was answered beside our removal of the name gives no name back") {
  Story story;
  story.hear(1);
  Attributes removed = story.file->server;
  removed.links = 0;
  removed.version = {2};
  story.known.renamed(*story.file, removed);
  story.file->unlinked = true;
  AppliedOperation write;
  write.length = 1;
  write.change = {{2}, removed};
  write.change.after.links = 1;
  write.change.after.version = {3};
  story.known.changed(story.file, write);
  CHECK(story.file->server.links == 0);
  CHECK(story.file->server.version.value == 3);
}

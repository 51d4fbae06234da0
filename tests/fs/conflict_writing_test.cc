// Programs go on changing a file while two versions of it meet: docs/semantics.md, "Conflicts".
#include <fcntl.h>
#include <sys/xattr.h>

#include "conflict_story.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;
using namespace std::chrono_literals;

TEST_CASE("we write on all the while: ours is kept apart all the same, and is written on") {
  WorldOptions options;
  options.cache_budget = 0;
  Story story(options, 4 << 20);
  auto& world = story.world;
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  story.cut();
  REQUIRE(world.write(opened.handle, 0, std::string(story.size, 'm')));
  write_file(story.file, "theirs");
  world.silence_link(false);
  auto expected = std::string(story.size, 'm');
  std::uint64_t most = 0;
  for (int i = 0; i < 600; ++i) {  // 25 pictures a second
    const auto picture = std::string(100, static_cast<char>('a' + i % 26));
    REQUIRE(world.write(opened.handle, expected.size(), picture));
    expected += picture;
    world.run_for(40ms);
    most = std::max(most, world.volume().queue_status().bytes);
  }
  CHECK(world.volume().queue_status().conflicts.size() == 1);
  CHECK(most < 2 * story.size + (1 << 20));
  REQUIRE(world.close(opened.handle));
  story.come_back();
  CHECK(read_file(story.file) == "theirs");
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == expected));
}

TEST_CASE("what only memory has of our version, since we wrote to it, is in the copy") {
  Story story;
  auto& world = story.world;
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  REQUIRE(world.write(opened.handle, 0, "o"));
  REQUIRE(world.drain());
  story.cut();
  REQUIRE(world.write(opened.handle, 1000, "OURS"));
  write_file(story.file, "theirs");
  story.come_back();
  REQUIRE(world.close(opened.handle));
  story.check_both_kept();
}

TEST_CASE("what was on its way into the queue when the link came back meets theirs as well") {
  Story story;
  auto& world = story.world;
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  REQUIRE(world.write_file("reel/list", "clip"));
  REQUIRE(world.drain());
  world.queues_rest = true;
  REQUIRE(world.write(opened.handle, 1000, "OURS"));  // the queue has taken space for it
  story.cut();
  write_file(story.file, "theirs");
  world.silence_link(false);
  REQUIRE(world.run_until([&] { return world.session().attached(); }));
  world.queues_rest = false;
  REQUIRE(world.close(opened.handle));
  story.come_back();
  story.check_both_kept();
}

namespace {

/// Two versions meet, and it takes long to put ours together: what nobody changed comes slowly.
struct SlowMeeting : Story {
  static WorldOptions options(std::uint64_t queue_budget) {
    WorldOptions options;
    options.queue_budget = queue_budget;
    options.cache_budget = 0;
    return options;
  }
  explicit SlowMeeting(std::uint64_t queue_budget = 1 << 30)
      : Story(options(queue_budget), 6 << 20) {
    opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
    cut();
    write(1000, "OURS");
    write_file(file, theirs);
    number = world.find("reel/clip.mov").value();
    world.slow_answers["read"] = 30ms;
    world.silence_link(false);
    REQUIRE(world.run_until([&] { return world.calls["link"] == 1; }));
  }
  void write(std::uint64_t offset, const std::string& text) {
    REQUIRE(world.write(opened.handle, offset, text));
    if (expected.size() < offset + text.size()) expected.resize(offset + text.size());
    expected.replace(offset, text.size(), text);
  }
  void truncate(std::uint64_t to) {
    AttributeChange change;
    change.size = to;
    REQUIRE(set(change));
    expected.resize(to);
  }
  Result<Attributes> set(AttributeChange change) {
    return world.await<Attributes>([&](auto reply) {
      world.volume().set_attributes(number, change, std::move(reply));
    });
  }
  bool meeting() { return world.volume().queue_status().conflicts.empty(); }
  std::filesystem::path check_copy() {
    REQUIRE(world.close(opened.handle));
    come_back();
    CHECK((read_file(file) == theirs));
    const auto copies = this->copies(world.exported() / "reel");
    REQUIRE(copies.size() == 1);
    CHECK((copies.begin()->second == expected));
    return world.exported() / "reel" / copies.begin()->first;
  }

  Opened opened;
  NodeNumber number;
  std::string expected = std::string(size, 'o');
  std::string theirs = expected + "theirs";
};

}  // namespace

TEST_CASE("whatever we write and cut while two versions meet, ours has it") {
  SlowMeeting story;
  std::mt19937_64 random(GENERATE(1, 2, 3, 4, 5));
  int steps = 0;
  while (story.meeting()) {
    ++steps;
    const std::uint64_t offset = random() % (story.expected.size() + 100'000);
    if (random() % 8 == 0) {
      story.truncate(story.expected.size() - random() % 500'000);
    } else {
      const auto letter = static_cast<char>('a' + random() % 26);
      story.write(offset, std::string(1 + random() % 50'000, letter));
    }
    story.world.run_for(std::chrono::milliseconds(random() % 20));
  }
  CHECK(steps > 20);
  story.write(5, "later");
  story.check_copy();
}

TEST_CASE("we appended, they appended: both are in the file, with no copy") {
  Story story({}, 10);
  auto& world = story.world;
  story.cut();
  const auto opened = world.open("reel/clip.mov", {.write = true, .append = true}).value();
  REQUIRE(world.write(opened.handle, 0, "ours1"));
  write_file(story.file, std::string(10, 'o') + "theirs");
  REQUIRE(world.write(opened.handle, 0, "ours2"));
  REQUIRE(world.close(opened.handle));
  story.come_back();
  CHECK(read_file(story.file) == std::string(10, 'o') + "theirsours1ours2");
  CHECK(world.read_file("reel/clip.mov").value() == read_file(story.file));
  CHECK(story.copies(world.exported() / "reel").empty());
}

TEST_CASE("what waits for room in the queue while two versions meet goes to ours") {
  SlowMeeting story(3 << 20);
  auto& world = story.world;
  int answered = 0, asked = 0;
  for (; story.meeting(); ++asked) {
    const std::uint64_t offset = 300'000ULL * (asked % 20);
    const auto text = std::string(300'000, static_cast<char>('a' + asked % 26));
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    world.volume().write(story.opened.handle, offset, Buffer(bytes.begin(), bytes.end()),
                         [&](Result<std::uint64_t> done) { answered += done ? 1 : 0; });
    story.expected.replace(offset, text.size(), text);
    world.run_for(10ms);
  }
  REQUIRE(world.run_until([&] { return answered == asked; }));
  CHECK(asked > 3);
  story.check_copy();
}

TEST_CASE("rights and attributes that we change while two versions meet go with ours") {
  SlowMeeting story;
  AttributeChange change;
  change.mode = 0600;
  REQUIRE(story.set(change));
  REQUIRE(story.world.await<void>([&](auto reply) {
    story.world.volume().set_xattr(story.number, "user.take", "five", XattrMode::any,
                                   std::move(reply));
  }));
  REQUIRE(story.meeting());
  const auto copy = story.check_copy();
  CHECK((std::filesystem::status(copy).permissions() & std::filesystem::perms::all) ==
        std::filesystem::perms{0600});
  char value[8] = {};
  CHECK(getxattr(copy.c_str(), "user.take", value, sizeof value) == 4);
  CHECK(std::string(value) == "five");
  CHECK(getxattr(story.file.c_str(), "user.take", value, sizeof value) == -1);
}

TEST_CASE("what the server is to do itself, asked for while two versions meet, it does to ours") {
  SlowMeeting story;
  auto& world = story.world;
  std::optional<Result<void>> allocated;
  world.volume().allocate(story.opened.handle, 0, story.size, 1000,
                          [&](Result<void> result) { allocated = result; });
  REQUIRE(story.meeting());
  REQUIRE(world.run_until([&] { return allocated.has_value(); }));
  CHECK(allocated->has_value());
  story.expected.resize(story.size + 1000);
  story.check_copy();
}

TEST_CASE("killed while ours is put together: the next process completes the same copy") {
  SlowMeeting story;
  auto& world = story.world;
  const auto folder = world.exported() / "reel";
  REQUIRE(world.await<void>([&](auto reply) {
    world.volume().flush(story.opened.handle, std::move(reply));
  }));
  const std::size_t there = GENERATE(1, 3 << 20);
  REQUIRE(world.run_until([&] {
    const auto copies = story.copies(folder);
    return copies.size() == 1 && copies.begin()->second.size() >= there;
  }));
  REQUIRE(story.meeting());
  for (int i = 0; i < 2; ++i) {
    world.kill_client();
    world.start_client();
    world.run_for(GENERATE(1ms, 100ms));
  }
  SECTION("and has done no more to it") {}
  SECTION("and has cut it before it goes on with the copy") {
    world.kill_client();
    world.slow_calls["getattr"] = 1s;
    world.start_client();
    story.opened = world.open("reel/clip.mov", {.write = true}).value();
    story.number = world.find("reel/clip.mov").value();
    story.truncate(500);
    story.write(2000, "more");
    REQUIRE(world.close(story.opened.handle));
    world.slow_calls.clear();
  }
  story.come_back();
  CHECK((read_file(story.file) == story.theirs));
  const auto copies = story.copies(folder);
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.expected));
  CHECK(world.volume().queue_status().conflicts.at(0).copy ==
        "reel/" + copies.begin()->first);
}

TEST_CASE("the server's disk is full while two versions meet: ours moves when there is room") {
  Story story;
  auto& world = story.world;
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.file, "theirs");
  bool full = true;
  const std::string refused = GENERATE("tmpfile", "link");
  world.sabotage = [&](const std::string& operation) -> std::optional<int> {
    if (full && operation == refused) return ENOSPC;
    return std::nullopt;
  };
  world.silence_link(false);
  world.run_for(60s);
  CHECK(world.volume().queue_status().retry_error == ENOSPC);
  CHECK(world.volume().queue_status().operations > 0);
  full = false;
  REQUIRE(world.drain());
  CHECK(read_file(story.file) == "theirs");
  CHECK(world.volume().queue_status().retry_error == 0);
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("a disk that knows no files without a name: ours gets one all the same") {
  Story story;
  auto& world = story.world;
  story.cut();
  story.patch(1000, "OURS");
  write_file(story.file, "theirs");
  world.sabotage = [&](const std::string& operation) -> std::optional<int> {
    if (operation == "tmpfile") return EOPNOTSUPP;
    return std::nullopt;
  };
  story.come_back();
  const auto copies = story.copies(world.exported() / "reel");
  REQUIRE(copies.size() == 1);
  CHECK((copies.begin()->second == story.ours()));
}

TEST_CASE("what the server did for us as the link was cut is no change by others") {
  Story story;
  auto& world = story.world;
  const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
  world.slow_answers["allocate"] = 60s;
  bool allocated = false;
  world.volume().allocate(opened.handle, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 8192,
                          [&](Result<void> result) { allocated = result.has_value(); });
  world.run_for(1s);
  REQUIRE(world.calls["allocate"] == 1);
  world.slow_answers.clear();
  std::optional<Result<std::uint64_t>> written;
  world.volume().write(opened.handle, 1000, Buffer{'O', 'U', 'R', 'S'},
                       [&](Result<std::uint64_t> result) { written = result; });
  story.cut();
  const bool others = GENERATE(false, true);
  if (others) write_file(story.file, "theirs");
  story.come_back();
  CHECK(allocated);
  REQUIRE(written);
  REQUIRE(world.close(opened.handle));
  REQUIRE(world.drain());
  CHECK(story.copies(story.file.parent_path()).size() == (others ? 1 : 0));
}

// docs/semantics.md, "Locks": programs on two mounts that change neighbouring bytes of a file
// through mappings, each under a lock of its own bytes. The kernel is played by hand: it reads
// pages, and tells whole pages when a lock is given up.
#include "client_world.h"
#include "fs/client/kernel_pages.h"

using namespace rushfs::fs;
using namespace rushfs::fs::test;

namespace {

constexpr std::size_t kPage = KernelPages::kPage;
constexpr std::size_t kAnna = 0, kBen = 1;

std::uint64_t nothing_ours(std::uint64_t byte) { return byte; }

/// One mount's program and its kernel's only page of the file.
class Program {
 public:
  Program(World& world, std::size_t client) : world_(world), client_(client) {
    world_.choose(client_);
    const auto opened = world_.open("index", {.read = true, .write = true});
    REQUIRE(opened);
    handle_ = opened->handle;
  }

  void lock(std::uint64_t byte, LockType type) { lock(byte, byte, type); }
  void lock(std::uint64_t first, std::uint64_t last, LockType type) {
    world_.choose(client_);
    LockAsk ask;
    ask.owner = 1;
    ask.span = {LockKind::record, type, first, last};
    REQUIRE(world_.await<void>(
        [&](auto reply) { world_.volume().lock(handle_, ask, std::move(reply)); }));
  }
  void read_page() {
    world_.choose(client_);
    page_ = world_.read(handle_, 0, kPage).value();
    page_.resize(kPage, '\0');
  }
  void change(std::size_t at, const std::string& bytes) { page_.replace(at, bytes.size(), bytes); }
  void write(std::size_t at, const std::string& bytes) {
    world_.choose(client_);
    change(at, bytes);
    REQUIRE(world_.write(handle_, at, bytes));
  }
  void write_page_back() {
    world_.choose(client_);
    REQUIRE(world_.write(handle_, 0, page_.substr(0, kFile), Through::mapping));
  }
  /// As the kernel does when it is told to drop the page.
  void tell_page() {
    world_.volume(client_).write(handle_, 0, Buffer(page_.begin(), page_.begin() + kFile),
                                 [](Result<std::uint64_t>) {}, Through::mapping);
  }
  const std::string& page() const { return page_; }

  static constexpr std::size_t kFile = 1000;  // bytes; the kernel writes back no further

 private:
  World& world_;
  std::size_t client_;
  HandleNumber handle_;
  std::string page_;
};

/// A kernel that does something before it has dropped what it was told to.
class BusyKernel : public KernelCache {
 public:
  void invalidate(NodeNumber, const Spans&) override {}
  void invalidate_name(NodeNumber, const std::string&) override {}
  void settle(absl::AnyInvocable<void() &&> then) override {
    if (before) before();
    std::move(then)();
  }
  bool tells_events() const override { return false; }
  void happened(RemoteEvent) override {}

  std::function<void()> before;
};

struct Story {
  World world{[] {
    WorldOptions options;
    options.clients = 2;
    options.notices = true;
    return options;
  }()};
  Story() {
    rushfs::testing::write_file(world.exported() / "index", std::string(Program::kFile, '.'));
  }
  std::string served() const { return rushfs::testing::read_file(world.exported() / "index"); }
};

std::string expected(std::initializer_list<std::pair<std::size_t, std::string>> changes) {
  std::string text(Program::kFile, '.');
  for (const auto& [at, bytes] : changes) text.replace(at, bytes.size(), bytes);
  return text;
}

}  // namespace

TEST_CASE("neighbouring bytes changed through mappings under locks of their own are all kept") {
  Story story;
  Program anna(story.world, kAnna), ben(story.world, kBen);
  anna.lock(10, LockType::exclusive);
  ben.lock(20, LockType::exclusive);
  anna.read_page();
  ben.read_page();
  anna.change(10, "A");
  ben.change(20, "B");
  anna.write_page_back();
  anna.lock(10, LockType::none);
  ben.write_page_back();
  ben.lock(20, LockType::none);
  CHECK(story.served() == expected({{10, "A"}, {20, "B"}}));

  // Ben's kernel keeps the page: what was told once is not told again.
  ben.lock(20, LockType::exclusive);
  ben.change(20, "C");
  anna.lock(10, LockType::exclusive);
  anna.read_page();
  anna.change(10, "D");
  anna.write_page_back();
  anna.lock(10, LockType::none);
  ben.write_page_back();
  ben.lock(20, LockType::none);
  CHECK(story.served() == expected({{10, "D"}, {20, "C"}}));
}

TEST_CASE("what others made of bytes is not undone when we lock them and have an old page") {
  Story story;
  Program anna(story.world, kAnna), ben(story.world, kBen);
  anna.lock(0, 9, LockType::exclusive);
  anna.lock(20, 29, LockType::exclusive);
  anna.read_page();
  anna.change(5, "A");
  anna.change(25, "A");
  ben.lock(15, LockType::exclusive);
  ben.read_page();
  ben.change(15, "B");
  ben.write_page_back();
  ben.lock(15, LockType::none);
  CHECK(story.served() == expected({{15, "B"}}));

  BusyKernel kernel;
  kernel.before = [&] { anna.tell_page(); };
  story.world.volume(kAnna).set_kernel(&kernel);
  anna.lock(10, 19, LockType::exclusive);  // with those beside it, one lock of [0, 29]
  kernel.before = nullptr;
  anna.lock(0, 29, LockType::none);
  story.world.volume(kAnna).set_kernel(nullptr);
  CHECK(story.served() == expected({{5, "A"}, {15, "B"}, {25, "A"}}));
}

TEST_CASE("write(2) into a page that is mapped too is told once") {
  Story story;
  Program anna(story.world, kAnna), ben(story.world, kBen);
  anna.lock(10, LockType::exclusive);
  anna.read_page();
  anna.write(10, "AA");
  REQUIRE(story.world.drain());
  ben.lock(11, LockType::exclusive);
  ben.read_page();
  CHECK(ben.page()[11] == 'A');
  ben.change(11, "B");
  ben.write_page_back();
  ben.lock(11, LockType::none);
  anna.change(12, "C");
  anna.write_page_back();
  anna.lock(10, LockType::none);
  CHECK(story.served() == expected({{10, "ABC"}}));
}

TEST_CASE("of a page nobody knows all of it is told") {
  KernelPages pages;
  const std::vector<std::uint8_t> old(2 * kPage, 1), now(2 * kPage, 2);
  const auto all = pages.changed(kPage, now, nothing_ours);
  REQUIRE(all.size() == 1);
  CHECK(all[0].offset == kPage);
  CHECK(all[0].bytes.size() == 2 * kPage);
  CHECK(pages.changed(kPage, now, nothing_ours).empty());
  pages.given(2 * kPage, kPage, {std::span(old).first(kPage)});
  const auto second = pages.changed(kPage, now, nothing_ours);
  REQUIRE(second.size() == 1);
  CHECK(second[0].offset == 2 * kPage);
  CHECK(second[0].bytes.size() == kPage);
}

TEST_CASE("what lies between changed bytes goes with them where it is locked for us alone") {
  KernelPages pages;
  std::vector<std::uint8_t> page(kPage, 1);
  pages.given(0, kPage, {page});
  for (std::size_t at = 100; at < 200; at += 10) page[at] = 2;
  const auto ours = [](std::uint64_t byte) -> std::uint64_t {
    return byte >= 120 && byte < 175 ? 175 : byte;
  };
  std::vector<std::pair<std::uint64_t, std::size_t>> ranges;
  for (const auto& range : pages.changed(0, page, ours)) {
    ranges.emplace_back(range.offset, range.bytes.size());
  }
  CHECK(ranges == decltype(ranges){{100, 1}, {110, 1}, {120, 51}, {180, 1}, {190, 1}});
}

TEST_CASE("the bytes that are ours end with the lock on them") {
  LockTable table;
  const NodeId node{"index"};
  const auto set = [&](std::uint64_t owner, LockType type, std::uint64_t first,
                       std::uint64_t last) {
    return table.set({node, {{}, owner}, 0, {LockKind::record, type, first, last}});
  };
  set(1, LockType::exclusive, 10, 19);
  set(2, LockType::shared, 20, 29);
  CHECK(table.exclusive_until(node, 9) == 9);
  CHECK(table.exclusive_until(node, 10) == 20);
  CHECK(table.exclusive_until(node, 20) == 20);
  set(1, LockType::none, 15, 19);
  CHECK(table.exclusive_until(node, 12) == 15);
  CHECK(table.exclusive_until({"other"}, 12) == 12);
}

TEST_CASE("behind the end of a file pages are zeros") {
  KernelPages pages;
  const std::vector<std::uint8_t> text(100, 1);
  pages.given(0, kPage, {text});
  std::vector<std::uint8_t> page(kPage, 0);
  std::fill_n(page.begin(), 100, std::uint8_t{1});
  CHECK(pages.changed(0, page, nothing_ours).empty());
  pages.cut(50);
  page[60] = 2;
  const auto ranges = pages.changed(0, page, nothing_ours);
  REQUIRE(ranges.size() == 1);
  CHECK(ranges[0].offset == 50);
  CHECK(ranges[0].bytes.size() == 50);
}

// docs/semantics.md, "The exported tree" and "Owners and permissions".
#include "fs/server/directory_store.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <set>
#include <thread>

#include "tests/as_root.h"
#include "tests/temporary_folder.h"

using namespace rushfs::fs;
using namespace rushfs::testing;
namespace files = std::filesystem;

namespace {

std::shared_ptr<const Store> open_store(const files::path& root, bool preserve = true,
                                        std::uint8_t key = 1) {
  DirectoryOptions options;
  options.root = root;
  options.node_key.fill(key);
  options.preserve_identity = preserve;
  return open_directory_store(options);
}

/// Runs a part of a test in a process of its own, where it may give up privileges.
void in_child(const std::function<void()>& part) {
  const pid_t child = fork();
  if (child == 0) {
    bool fine = true;
    try {
      part();
    } catch (...) {
      fine = false;
    }
    _exit(fine ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
void must(bool condition) {
  if (!condition) throw std::runtime_error("not so");
}

struct stat status_of(const files::path& path) {
  struct stat status {};
  REQUIRE(lstat(path.c_str(), &status) == 0);
  return status;
}

constexpr Caller kUser{1234, 2345, 022};

}  // namespace

TEST_CASE("a node id outlives the store that gave it, and follows a rename") {
  TemporaryFolder folder;
  write_file(folder / "clip.mov", "frames");
  NodeId id;
  {
    const auto store = open_store(folder.path());
    id = store->lookup(*store->root()->node, "clip.mov")->node->id();
  }
  files::create_directory(folder / "day1");
  files::rename(folder / "clip.mov", folder / "day1/renamed.mov");
  const auto store = open_store(folder.path());
  auto node = store->resolve(id, nullptr);
  REQUIRE(node.has_value());
  CHECK(store->attributes(**node)->size == 6);
}

TEST_CASE("an id of another key, a changed one and an invented one are stale") {
  TemporaryFolder folder;
  write_file(folder / "a", "x");
  const auto store = open_store(folder.path());
  NodeId id = store->lookup(*store->root()->node, "a")->node->id();
  CHECK(open_store(folder.path(), true, 2)->resolve(id, nullptr).error().value() == ESTALE);
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    NodeId changed = id;
    changed.bytes[i] = static_cast<char>(changed.bytes[i] ^ 1);
    CHECK(store->resolve(changed, nullptr).error().value() == ESTALE);
  }
  CHECK(store->resolve({""}, nullptr).error().value() == ESTALE);
  CHECK(store->resolve({std::string(160, 'a')}, nullptr).error().value() == ESTALE);
}

TEST_CASE("a deleted file's id is stale, also when its inode number is used again") {
  TemporaryFolder folder;
  write_file(folder / "a", "x");
  const auto store = open_store(folder.path());
  const NodeId id = store->lookup(*store->root()->node, "a")->node->id();
  files::remove(folder / "a");
  for (int i = 0; i < 50; ++i) write_file(folder / ("b" + std::to_string(i)), "y");
  CHECK(store->resolve(id, nullptr).error().value() == ESTALE);
}

TEST_CASE("a deleted file's id is stale, also while its inode number is being used again") {
  TemporaryFolder folder;
  const auto store = open_store(folder.path());
  std::vector<NodeId> gone;
  for (int i = 0; i < 8; ++i) {
    const std::string name = std::to_string(i);
    write_file(folder / name, "x");
    gone.push_back(store->lookup(*store->root()->node, name)->node->id());
    files::remove(folder / name);
  }
  std::atomic<bool> over{false};
  std::thread others([&] {
    const std::string target(800, 'a');  // takes a block: what is long in the making
    while (!over) {
      for (int i = 0; i < 8; ++i) files::create_symlink(target, folder / std::to_string(i));
      for (int i = 0; i < 8; ++i) files::remove(folder / std::to_string(i));
    }
  });
  int other_answers = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto found = store->resolve(gone[static_cast<std::size_t>(i) % gone.size()], nullptr);
    if (found || found.error().value() != ESTALE) ++other_answers;
  }
  over = true;
  others.join();
  CHECK(other_answers == 0);
}

TEST_CASE("any byte but slash and NUL makes a name, up to 255 of them") {
  TemporaryFolder folder;
  const auto store = open_store(folder.path());
  const NodeRef root = store->root()->node;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/') continue;
    const std::string name = "x" + std::string(1, static_cast<char>(byte)) + "y";
    REQUIRE(store->create({*root, name, kUser}, 0644).has_value());
    REQUIRE(store->lookup(*root, name).has_value());
  }
  CHECK(store->create({*root, std::string(255, 'n'), kUser}, 0644).has_value());
  CHECK(store->lookup(*root, std::string(256, 'n')).error().value() == ENAMETOOLONG);
}

TEST_CASE("what root creates for a user belongs to the user from the first moment") {
  if (!as_root()) return;
  TemporaryFolder folder;
  const auto store = open_store(folder.path());
  const NodeRef root = store->root()->node;
  SECTION("owner, group, mode and umask are the caller's") {
    REQUIRE(store->create({*root, "f", {1234, 2345, 027}}, 0666).has_value());
    const auto status = status_of(folder / "f");
    CHECK(status.st_uid == 1234);
    CHECK(status.st_gid == 2345);
    CHECK((status.st_mode & 07777) == 0640);
  }
  SECTION("directories, links and special files too") {
    REQUIRE(store->make_directory({*root, "d", kUser}, 0777).has_value());
    REQUIRE(store->symlink({*root, "l", kUser}, "elsewhere").has_value());
    REQUIRE(store->make_node({*root, "p", kUser}, S_IFIFO | 0666, 0, 0).has_value());
    REQUIRE(store->make_node({*root, "null", kUser}, S_IFCHR | 0666, 1, 3).has_value());
    for (const char* name : {"d", "l", "p", "null"}) {
      CHECK(status_of(folder / name).st_uid == 1234);
      CHECK(status_of(folder / name).st_gid == 2345);
    }
    CHECK((status_of(folder / "d").st_mode & 07777) == 0755);
    CHECK((status_of(folder / "p").st_mode & 07777) == 0644);
    CHECK(status_of(folder / "null").st_rdev == makedev(1, 3));
  }
  SECTION("a set-gid directory hands its group on") {
    files::create_directory(folder / "shared");
    REQUIRE(chown((folder / "shared").c_str(), 0, 777) == 0);
    REQUIRE(chmod((folder / "shared").c_str(), 02777) == 0);
    const NodeRef shared = store->lookup(*root, "shared")->node;
    REQUIRE(store->create({*shared, "f", kUser}, 0644).has_value());
    REQUIRE(store->make_directory({*shared, "d", kUser}, 0755).has_value());
    CHECK(status_of(folder / "shared/f").st_gid == 777);
    CHECK(status_of(folder / "shared/d").st_gid == 777);
    CHECK((status_of(folder / "shared/d").st_mode & S_ISGID) != 0);
  }
  SECTION("a default ACL takes the umask's place") {
    // user::rwx group::rwx other::r-x, in the kernel's layout (linux/posix_acl_xattr.h).
    const unsigned char acl[] = {2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 4,   0,
                                 7, 0, 255, 255, 255, 255, 32, 0, 5,   0,   255, 255, 255, 255};
    files::create_directory(folder / "acl");
    if (setxattr((folder / "acl").c_str(), "system.posix_acl_default", acl, sizeof(acl), 0) != 0) {
      return;  // not on this file system
    }
    const NodeRef directory = store->lookup(*root, "acl")->node;
    REQUIRE(store->create({*directory, "f", kUser}, 0666).has_value());
    CHECK((status_of(folder / "acl/f").st_mode & 07777) == 0664);
  }
  SECTION("in a directory the user could not enter: that is the client's kernel to judge") {
    files::create_directory(folder / "private");
    REQUIRE(chmod((folder / "private").c_str(), 0700) == 0);
    const NodeRef directory = store->lookup(*root, "private")->node;
    CHECK(store->create({*directory, "f", kUser}, 0600).has_value());
  }
  SECTION("and the worker is itself again afterwards") {
    const mode_t before = umask(022);
    umask(before);
    REQUIRE(store->create({*root, "f", kUser}, 0644).has_value());
    const mode_t after = umask(022);
    umask(after);
    CHECK(after == before);
    write_file(folder / "mine", "");
    CHECK(status_of(folder / "mine").st_uid == 0);
  }
}

TEST_CASE("a write of an ordinary user takes set-id bits away, root's does not") {
  if (!as_root()) return;
  TemporaryFolder folder;
  write_file(folder / "tool", "#!");
  const auto store = open_store(folder.path());
  const NodeRef node = store->lookup(*store->root()->node, "tool")->node;
  const auto file = *store->open(*node, true);
  const std::uint8_t data[] = {'x'};
  for (const bool drop : {false, true}) {
    REQUIRE(chmod((folder / "tool").c_str(), 06755) == 0);
    REQUIRE(store->write(*file, 0, data, drop).has_value());
    CHECK((status_of(folder / "tool").st_mode & 06000) == (drop ? 0 : 06000));
    REQUIRE(chmod((folder / "tool").c_str(), 06755) == 0);
    AttributeChanges changes;
    changes.size = 1;
    changes.drop_set_id = drop;
    REQUIRE(store->set_attributes(*node, file.get(), changes).has_value());
    CHECK((status_of(folder / "tool").st_mode & 06000) == (drop ? 0 : 06000));
  }
}

TEST_CASE("times are set to the nanosecond, to now, or left alone") {
  TemporaryFolder folder;
  write_file(folder / "f", "x");
  const auto store = open_store(folder.path());
  const NodeRef node = store->lookup(*store->root()->node, "f")->node;
  AttributeChanges changes;
  changes.mtime = TimeChange{false, {-5, 123456789}};
  const auto before = *store->attributes(*node);
  REQUIRE(store->set_attributes(*node, nullptr, changes).has_value());
  auto after = *store->attributes(*node);
  CHECK(after.mtime == Timestamp{-5, 123456789});
  CHECK(after.atime == before.atime);
  CHECK(after.version.value != before.version.value);
  changes = {};
  changes.atime = TimeChange{true, {}};
  REQUIRE(store->set_attributes(*node, nullptr, changes).has_value());
  after = *store->attributes(*node);
  CHECK(after.mtime == Timestamp{-5, 123456789});
  CHECK(after.atime.seconds > 1'000'000'000);
}

TEST_CASE("a symlink's owner and times can be changed, its mode cannot") {
  TemporaryFolder folder;
  files::create_symlink("nowhere", folder / "l");
  const auto store = open_store(folder.path());
  const NodeRef node = store->lookup(*store->root()->node, "l")->node;
  AttributeChanges changes;
  changes.uid = geteuid();
  changes.mtime = TimeChange{false, {7, 0}};
  CHECK(store->set_attributes(*node, nullptr, changes).has_value());
  CHECK(store->attributes(*node)->mtime.seconds == 7);
  changes = {};
  changes.mode = 0600;
  CHECK(store->set_attributes(*node, nullptr, changes).error().value() == EOPNOTSUPP);
  CHECK(*store->readlink(*node) == "nowhere");
}

TEST_CASE("a listing shows 10,000 files once each, in pages, while others come and go") {
  TemporaryFolder folder;
  std::set<std::string> expected;
  for (int i = 0; i < 10000; ++i) {
    const std::string name = "clip-" + std::to_string(i);
    write_file(folder / name, "");
    expected.insert(name);
  }
  const auto store = open_store(folder.path());
  const NodeRef root = store->root()->node;
  ReadDirectory request;
  request.max_bytes = 16 << 10;
  std::multiset<std::string> seen;
  int pages = 0;
  for (bool end = false; !end; ++pages) {
    auto page = store->list(request, *root);
    REQUIRE(page.has_value());
    for (const DirectoryEntry& entry : page->entries) {
      request.cookie = entry.cookie;
      if (!entry.name.starts_with("clip-")) continue;
      seen.insert(entry.name);
      REQUIRE(entry.entry.has_value());
      CHECK(entry.entry->attributes.inode == entry.inode);
    }
    CHECK(encode_reply(*page).size() <= request.max_bytes + 512);
    end = page->end;
    write_file(folder / ("new-" + std::to_string(pages)), "");
    files::remove(folder / ("new-" + std::to_string(pages / 2)));
  }
  CHECK(pages > 20);
  CHECK(std::set<std::string>(seen.begin(), seen.end()) == expected);
  CHECK(seen.size() == expected.size());
}

TEST_CASE("a listing tells of a file what a lookup does") {
  TemporaryFolder folder;
  write_file(folder / "a", "x");
  const auto store = open_store(folder.path());
  const NodeRef root = store->root()->node;
  ReadDirectory request;
  request.max_bytes = 1 << 20;
  const auto listed = store->list(request, *root);
  const auto entry = std::ranges::find(listed->entries, "a", &DirectoryEntry::name);
  REQUIRE(entry != listed->entries.end());
  const auto found = store->lookup(*root, "a");
  CHECK(entry->entry == Entry{found->node->id(), found->attributes});
}

TEST_CASE("without privileges the store works through remembered paths") {
  if (!as_root()) return;
  TemporaryFolder folder;
  REQUIRE(chmod(folder.path().c_str(), 0777) == 0);
  in_child([&] {
    must(setgid(4321) == 0 && setuid(4321) == 0);
    const auto store = open_store(folder.path(), false);
    must(store->needs_paths());
    const NodeRef root = store->root()->node;
    const NodeRef day = store->make_directory({*root, "day1", {}}, 0755)->node;
    auto made = store->create({*day, "clip", {}}, 0444);
    must(made.has_value());
    const NodeId id = made->found.node->id();
    const NamePath path = {"day1", "clip"}, wrong = {"day1"};
    must(store->resolve(id, &path).has_value());
    must(store->resolve(id, &wrong).error().value() == ESTALE);
    must(store->resolve(id, nullptr).error().value() == ESTALE);
    // Not writable by its mode, but its owner created it to be written.
    const NodeRef again = *store->resolve(id, &path);
    must(store->open(*again, true).has_value());
    must((store->attributes(*again)->mode & 07777) == 0444);
    AttributeChanges gift;
    gift.uid = 1;
    must(store->set_attributes(*again, nullptr, gift).error().value() == EPERM);
    must(store->link(*again, *root, "second").has_value());
    // Whose path nobody knows is searched for; what is gone is not found.
    const auto places = store->find({id, {"none of ours"}});
    must(places.size() == 1 || places.size() == 2);  // it has two names by now
    must(places.back().node == id);
    must(store->find({{"none of ours"}}).empty());
  });
}

TEST_CASE("file systems mounted inside have ids and inode numbers of their own") {
  if (!as_root()) return;
  TemporaryFolder folder;
  files::create_directory(folder / "disk");
  in_child([&] {
    must(unshare(CLONE_NEWNS) == 0);
    must(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    must(mount("tmpfs", (folder / "disk").c_str(), "tmpfs", 0, nullptr) == 0);
    write_file(folder / "disk/clip", "x");
    std::set<std::uint64_t> inodes;
    NodeId id;
    {
      const auto store = open_store(folder.path());
      const NodeRef root = store->root()->node;
      const NodeRef disk = store->lookup(*root, "disk")->node;
      const Found clip = *store->lookup(*disk, "clip");
      id = clip.node->id();
      must((clip.attributes.inode >> 63) == 1);
      must((store->root()->attributes.inode >> 63) == 0);
      ReadDirectory request;
      request.max_bytes = 1 << 20;
      const auto listed = *store->list(request, *root);
      for (const DirectoryEntry& entry : listed.entries) {
        if (entry.name == "disk") must(entry.entry->node == disk->id());
      }
    }
    const auto again = open_store(folder.path());
    const NodeRef clip = *again->resolve(id, nullptr), root = again->root()->node;
    const NodeRef disk = again->lookup(*root, "disk")->node;
    must(again->link(*clip, *root, "second").error().value() == EXDEV);
    must(again->rename(*disk, "clip", *root, "moved", RenameMode::replace).error().value() ==
         EXDEV);
    must(umount2((folder / "disk").c_str(), MNT_DETACH) == 0);
  });
}

TEST_CASE("a directory that is removed and made again is noticed and taken up") {
  TemporaryFolder folder;
  const files::path root = folder / "export";
  files::create_directory(root);
  const auto store = open_store(root);
  CHECK(store->present());
  files::remove(root);
  CHECK(!store->present());
  CHECK(store->reopen().error().value() == ENOENT);
  files::create_directory(root);
  CHECK(!store->present());
  auto again = store->reopen();
  REQUIRE(again.has_value());
  CHECK((*again)->present());
}

TEST_CASE("where a disk was mounted, the empty mount point is not what is exported") {
  if (!as_root()) return;
  TemporaryFolder folder;
  in_child([&] {
    must(unshare(CLONE_NEWNS) == 0);
    must(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    const files::path root = folder / "disk";
    files::create_directory(root);
    must(mount("tmpfs", root.c_str(), "tmpfs", 0, nullptr) == 0);
    const auto store = open_store(root);
    must(store->present());
    must(umount2(root.c_str(), MNT_DETACH) == 0);
    must(!store->present());
    must(store->reopen().error().value() == ENODEV);
    must(mount("tmpfs", root.c_str(), "tmpfs", 0, nullptr) == 0);
    must(store->reopen().has_value());
    must(umount2(root.c_str(), MNT_DETACH) == 0);
  });
}

TEST_CASE("statfs tells the numbers of the disk") {
  TemporaryFolder folder;
  const auto store = open_store(folder.path());
  const auto numbers = *store->statfs(*store->root()->node);
  CHECK(numbers.blocks > 0);
  CHECK(numbers.inodes > 0);
  CHECK(numbers.name_max == 255);
}

TEST_CASE("an append tells where its data is, also while a program here appends to the file") {
  TemporaryFolder folder;
  write_file(folder / "log", "");
  const auto store = open_store(folder.path());
  const auto file = store->open(*store->lookup(*store->root()->node, "log")->node, true).value();
  std::atomic<bool> done{false};
  std::thread program([&] {
    const int log = open((folder / "log").c_str(), O_WRONLY | O_APPEND);
    while (!done) must(write(log, "program ", 8) == 8);
    close(log);
  });
  std::vector<std::uint64_t> places;
  for (std::uint8_t i = 0; i < 200; ++i) {
    const std::vector<std::uint8_t> record(100, i);
    Append request;
    request.data = record;
    const auto place = store->append(*file, request);
    places.push_back(place ? *place : 0);
  }
  done = true;
  program.join();
  const std::string content = read_file(folder / "log");
  for (std::size_t i = 0; i < places.size(); ++i) {
    CHECK(content.substr(places[i], 100) == std::string(100, static_cast<char>(i)));
  }
}

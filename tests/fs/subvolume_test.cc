// Subvolumes of btrfs have a device number of their own, but no mount.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <set>

#include "fs/server/directory_store.h"
#include "tests/temporary_folder.h"

using namespace rushfs::fs;
using namespace rushfs::testing;
namespace files = std::filesystem;

namespace {

bool run(const std::string& command) {
  return std::system((command + " > /dev/null 2>&1").c_str()) == 0;
}

/// btrfs on a file, mounted; not where this machine has none.
struct Btrfs {
  explicit Btrfs(const files::path& where) : point(where / "disk") {
    files::create_directory(point);
    const std::string image = where / "image";
    mounted = geteuid() == 0 && run("truncate -s 256M " + image + " && mkfs.btrfs " + image) &&
              run("mount -t btrfs -o loop " + image + " " + point.string());
    if (!mounted) WARN("not tested: this needs root, mkfs.btrfs and a kernel with btrfs");
  }
  ~Btrfs() {
    if (mounted) umount2(point.c_str(), MNT_DETACH);
  }
  files::path point;
  bool mounted = false;
};

std::shared_ptr<const Store> open_store(const files::path& root) {
  DirectoryOptions options;
  options.root = root;
  options.node_key.fill(1);
  return open_directory_store(options);
}

}  // namespace

TEST_CASE("files in subvolumes are found by their ids, also after a restart") {
  const TemporaryFolder folder;
  const Btrfs disk(folder.path());
  if (!disk.mounted) return;
  REQUIRE(run("btrfs subvolume create " + (disk.point / "reel").string()));
  REQUIRE(run("btrfs subvolume create " + (disk.point / "reel/day").string()));
  write_file(disk.point / "reel/day/clip", "frames");
  write_file(disk.point / "reel/day/gone", "frames");
  // The export is the mount itself, a folder around it, or a subvolume.
  const files::path top = GENERATE(files::path("disk"), files::path(), files::path("disk/reel"));
  CAPTURE(top);
  NodeId clip, gone;
  std::uint64_t inode = 0;
  {
    const auto store = open_store(folder.path() / top);
    REQUIRE(!store->needs_paths());
    NodeRef at = store->root()->node;
    for (const files::path& name : files::path("disk/reel/day").lexically_relative(top / ".")) {
      at = store->lookup(*at, name)->node;
    }
    const Found found = *store->lookup(*at, "clip");
    clip = found.node->id();
    inode = found.attributes.inode;
    gone = store->lookup(*at, "gone")->node->id();
    CHECK(store->resolve(clip, nullptr).has_value());
  }
  files::remove(disk.point / "reel/day/gone");
  const auto store = open_store(folder.path() / top);
  for (int time = 0; time < 2; ++time) {
    const auto again = store->resolve(clip, nullptr);
    REQUIRE(again.has_value());
    CHECK(store->attributes(**again)->size == 6);
    CHECK(store->attributes(**again)->inode == inode);
    CHECK(store->resolve(gone, nullptr).error().value() == ESTALE);
  }
}

TEST_CASE("a listing tells of subvolumes what a lookup does") {
  const TemporaryFolder folder;
  const Btrfs disk(folder.path());
  if (!disk.mounted) return;
  REQUIRE(run("btrfs subvolume create " + (disk.point / "reel").string()));
  REQUIRE(run("btrfs subvolume create " + (disk.point / "takes").string()));
  const auto store = open_store(disk.point);
  const NodeRef root = store->root()->node;
  ReadDirectory request;
  request.max_bytes = 1 << 20;
  const auto all = store->list(request, *root);
  std::set<std::uint64_t> inodes;
  for (const DirectoryEntry& listed : all->entries) {
    if (!listed.entry) continue;
    inodes.insert(listed.inode);
    const auto found = store->lookup(*root, listed.name);
    CHECK(listed.entry == Entry{found->node->id(), found->attributes});
  }
  CHECK(inodes.size() == 2);
}

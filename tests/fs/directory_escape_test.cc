// docs/semantics.md, "The exported tree": no way leads out of it, and what is dangerous to open is
// never opened.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "fs/server/directory_store.h"
#include "tests/temporary_folder.h"

using namespace rushfs::fs;
using namespace rushfs::testing;
namespace files = std::filesystem;

namespace {

/// `outside/secret` beside the exported `inside`.
struct Walls {
  Walls() {
    files::create_directory(folder / "inside");
    files::create_directory(folder / "outside");
    write_file(folder / "outside/secret", "the secret");
    DirectoryOptions options;
    options.root = folder / "inside";
    options.preserve_identity = geteuid() == 0;
    store = open_directory_store(options);
    root = store->root()->node;
  }
  TemporaryFolder folder;
  std::shared_ptr<const Store> store;
  NodeRef root;
};

}  // namespace

TEST_CASE("the root's parent is the root") {
  Walls walls;
  CHECK(walls.store->lookup(*walls.root, "..")->node->id() == walls.root->id());
  files::create_directory(walls.folder / "inside/d");
  const NodeRef directory = walls.store->lookup(*walls.root, "d")->node;
  CHECK(walls.store->lookup(*directory, "..")->node->id() == walls.root->id());
}

TEST_CASE("a symlink is itself and never what it points to") {
  Walls walls;
  files::create_symlink("../outside", walls.folder / "inside/link");
  files::create_symlink(walls.folder / "outside/secret", walls.folder / "inside/absolute");
  for (const char* name : {"link", "absolute"}) {
    const NodeRef link = walls.store->lookup(*walls.root, name)->node;
    CHECK(link->type() == S_IFLNK);
    CHECK(walls.store->lookup(*link, "secret").error().value() == ENOTDIR);
    CHECK(walls.store->open(*link, false).error().value() == EINVAL);
    CHECK(!walls.store->create({*link, "planted", {}}, 0644).has_value());
    CHECK(!walls.store->create({*walls.root, name, {}}, 0644).has_value());
  }
  CHECK(!files::exists(walls.folder / "outside/planted"));
}

TEST_CASE("a name with slashes does not reach the file system as a path") {
  Walls walls;
  CHECK(!walls.store->lookup(*walls.root, "../outside/secret").has_value());
  CHECK(!walls.store->lookup(*walls.root, (walls.folder / "outside/secret").string()).has_value());
}

TEST_CASE("what was moved out of the tree is gone for clients, however they knew it") {
  Walls walls;
  files::create_directories(walls.folder / "inside/d/e");
  write_file(walls.folder / "inside/d/e/f", "x");
  write_file(walls.folder / "inside/g", "x");
  const NodeRef d = walls.store->lookup(*walls.root, "d")->node;
  const NodeRef e = walls.store->lookup(*d, "e")->node;
  const NodeRef f = walls.store->lookup(*e, "f")->node;
  const NodeRef g = walls.store->lookup(*walls.root, "g")->node;
  files::rename(walls.folder / "inside/d", walls.folder / "outside/d");
  files::rename(walls.folder / "inside/g", walls.folder / "outside/g");
  for (const NodeRef& node : {d, e, f, g}) {
    CHECK(walls.store->check_inside(*node).error().value() == ESTALE);
    CHECK(walls.store->resolve(node->id(), nullptr).error().value() == ESTALE);
  }
  files::rename(walls.folder / "outside/d", walls.folder / "inside/d2");
  CHECK(walls.store->resolve(f->id(), nullptr).has_value());
}

TEST_CASE("a folder beside the export whose name begins like it is outside") {
  Walls walls;
  files::create_directory(walls.folder / "inside-not");
  files::create_directory(walls.folder / "inside/d");
  const NodeRef d = walls.store->lookup(*walls.root, "d")->node;
  files::rename(walls.folder / "inside/d", walls.folder / "inside-not/d");
  CHECK(walls.store->check_inside(*d).error().value() == ESTALE);
}

TEST_CASE("directories that are moved in and out while they are walked never let anyone out") {
  Walls walls;
  files::create_directories(walls.folder / "inside/a/b");
  std::atomic<bool> done{false};
  std::thread mover([&] {
    while (!done) {
      std::error_code ignored;
      files::rename(walls.folder / "inside/a/b", walls.folder / "outside/b", ignored);
      files::rename(walls.folder / "outside/b", walls.folder / "inside/a/b", ignored);
    }
  });
  const NodeRef a = walls.store->lookup(*walls.root, "a")->node;
  int entered = 0;
  for (int i = 0; i < 3000; ++i) {
    auto b = walls.store->lookup(*a, "b");
    if (!b) continue;
    ++entered;
    // From b, the way up must end in a or be refused; the secret's folder is never seen.
    auto up = walls.store->lookup(*b->node, "..");
    if (!up) continue;
    CHECK(!walls.store->lookup(*up->node, "secret").has_value());
  }
  done = true;
  mover.join();
  CHECK(entered > 0);
}

TEST_CASE("a FIFO or a device is named, listed and described, but never opened") {
  Walls walls;
  REQUIRE(mkfifo((walls.folder / "inside/pipe").c_str(), 0666) == 0);
  const NodeRef pipe = walls.store->lookup(*walls.root, "pipe")->node;  // opening would hang
  CHECK(pipe->type() == S_IFIFO);
  CHECK(walls.store->open(*pipe, false).error().value() == EINVAL);
  CHECK(walls.store->open(*pipe, true).error().value() == EINVAL);
  CHECK(walls.store->resolve(pipe->id(), nullptr).has_value());
  CHECK(walls.store->sync(*pipe, nullptr, false, true).has_value());
  AttributeChanges changes;
  changes.mode = 0600;
  CHECK(walls.store->set_attributes(*pipe, nullptr, changes).has_value());
  CHECK(walls.store->create({*walls.root, "pipe", {}}, 0644).error().value() == EEXIST);
  ReadDirectory request;
  request.max_bytes = 1 << 20;
  CHECK(walls.store->list(request, *walls.root).has_value());
}

TEST_CASE("the place for orphans is hidden, and its name cannot be taken") {
  Walls walls;
  write_file(walls.folder / "inside/f", "x");
  const NodeRef f = walls.store->lookup(*walls.root, "f")->node;
  REQUIRE(walls.store->keep_orphan(*f, "0123").has_value());
  CHECK(walls.store->lookup(*walls.root, kOrphanFolder).error().value() == ENOENT);
  ReadDirectory request;
  request.max_bytes = 1 << 20;
  const auto listed = walls.store->list(request, *walls.root);
  for (const DirectoryEntry& entry : listed->entries) {
    CHECK(entry.name != kOrphanFolder);
  }
  CHECK(walls.store->make_directory({*walls.root, kOrphanFolder, {}}, 0755).error().value() ==
        EPERM);
  CHECK(walls.store->rename(*walls.root, "f", *walls.root, kOrphanFolder, RenameMode::replace)
            .error()
            .value() == EPERM);
  CHECK(walls.store->rename(*walls.root, kOrphanFolder, *walls.root, "x", RenameMode::replace)
            .error()
            .value() == ENOENT);
  REQUIRE(walls.store->orphans().size() == 1);
  CHECK(walls.store->orphans()[0].node->id() == f->id());
  walls.store->drop_orphan("0123");
  CHECK(walls.store->orphans().empty());
  CHECK(!files::exists(walls.folder / "inside" / kOrphanFolder));
}

#include "fs/server/name_calls.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "fs/server/directory_store.h"
#include "tests/temporary_folder.h"

namespace rushfs::fs {
namespace {

using namespace rushfs::testing;

std::shared_ptr<const Store> open_store(const TemporaryFolder& folder) {
  DirectoryOptions options;
  options.root = folder.path();
  options.node_key.fill(7);
  return open_directory_store(options);
}

/// A call to rename `source` to `target`, looked at; a program on the server is not asleep.
struct Renaming {
  Renaming() {
    write_file(folder / "source", "ours");
    write_file(folder / "target", "old");
    store = open_store(folder);
    root = store->root()->node;
    Rename request;
    request.from_directory = request.to_directory = root->id();
    request.from_name = "source";
    request.to_name = "target";
    call.request = request;
    call.nodes = {root, root};
    call.orphans = {false, false};
    REQUIRE(look(*store, call));
  }

  const TemporaryFolder folder;
  std::shared_ptr<const Store> store;
  NodeRef root;
  NameCall call;
};

TEST_CASE("a rename tells what it moved, also where that came since we looked") {
  Renaming renaming;
  write_file(renaming.folder / "other", "theirs");
  std::filesystem::rename(renaming.folder / "other", renaming.folder / "source");
  const NodeId other = renaming.store->lookup(*renaming.root, "source")->node->id();
  const NameOutcome outcome = act(*renaming.store, renaming.call, nullptr);
  CHECK(outcome.changed);
  CHECK(decode_reply<RenameReply>(outcome.reply)->moved.node == other);
  CHECK(read_file(renaming.folder / "target") == "theirs");
}

TEST_CASE("a rename of what is gone since we looked moves nothing") {
  Renaming renaming;
  std::filesystem::remove(renaming.folder / "source");
  const NameOutcome outcome = act(*renaming.store, renaming.call, nullptr);
  CHECK_FALSE(outcome.changed);
  CHECK(decode_reply<RenameReply>(outcome.reply).error().value() == ENOENT);
  CHECK(read_file(renaming.folder / "target") == "old");
}

TEST_CASE("what was to be replaced, and is moved away first, has its own names only") {
  Renaming renaming;
  renaming.call.keep = true;  // somebody has it open
  std::filesystem::rename(renaming.folder / "target", renaming.folder / "away");
  write_file(renaming.folder / "target", "theirs");
  const NameOutcome outcome = act(*renaming.store, renaming.call, nullptr);
  CHECK(outcome.changed);
  CHECK(outcome.orphan.empty());
  CHECK(decode_reply<RenameReply>(outcome.reply)->replaced->attributes.links == 1);
  CHECK(std::filesystem::hard_link_count(renaming.folder / "away") == 1);
  CHECK(read_file(renaming.folder / "target") == "ours");
}

}  // namespace
}  // namespace rushfs::fs

#include "fs/name_calls.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "fs/directory_store.h"
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

TEST_CASE("a rename of nothing moves nothing, whatever has got the name since we looked") {
  const TemporaryFolder folder;
  write_file(folder / "target", "old");
  const auto store = open_store(folder);
  const NodeRef root = store->root()->node;
  NameCall call;
  Rename request;
  request.from_directory = request.to_directory = root->id();
  request.from_name = "source";
  request.to_name = "target";
  call.request = request;
  call.nodes = {root, root};
  call.orphans = {false, false};
  REQUIRE(look(*store, call));
  write_file(folder / "source", "of a program on the server");
  const NameOutcome outcome = act(*store, call, nullptr);
  CHECK_FALSE(outcome.changed);
  CHECK(decode_reply<RenameReply>(outcome.reply).error().value() == ENOENT);
  CHECK(read_file(folder / "target") == "old");
}

}  // namespace
}  // namespace rushfs::fs

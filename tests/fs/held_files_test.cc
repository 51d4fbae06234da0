#include "fs/server/held_files.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>

using namespace rushfs::fs;

namespace {

NodeRef file(std::size_t number) {
  return std::make_shared<Node>(NodeId{std::to_string(number)}, S_IFREG);
}

/// A mount of a person; `start` counts how often it was started.
Holder mount_of(std::uint8_t person, std::uint8_t mount = 1, std::uint64_t start = 1) {
  Holder holder;
  holder.client.bytes[0] = person;
  holder.client.bytes[ClientTag::kKeyBytes] = mount;
  holder.incarnation = start;
  return holder;
}

/// As many as one key may.
void hold_all(HeldFiles& held, std::uint8_t person) {
  for (std::size_t i = 0; i < HeldFiles::kMaxPerKey; ++i) {
    REQUIRE(held.hold(mount_of(person, i % 2 == 0 ? 1 : 2), file(i)));
  }
}

}  // namespace

TEST_CASE("the mounts of one key share what it may hold, and leave others theirs") {
  HeldFiles held(100);
  hold_all(held, 1);
  CHECK_FALSE(held.hold(mount_of(1, 3), file(1)));
  CHECK(held.hold(mount_of(1, 1), file(0)));  // it does already
  CHECK(held.hold(mount_of(2), file(1)));
}

TEST_CASE("what is let go of may be held again, by whichever end it came") {
  HeldFiles held(100);
  hold_all(held, 1);
  SECTION("one file") { held.release(mount_of(1, 2), file(1)->id()); }
  SECTION("all of a mount") { held.release_all(mount_of(1, 2)); }
  SECTION("a start of it that will not come back") { held.retire(mount_of(1, 2), {}); }
  CHECK(held.hold(mount_of(1, 2, 2), file(7)));
}

TEST_CASE("letting go twice counts once") {
  HeldFiles held(100);
  hold_all(held, 1);
  held.release(mount_of(1, 2), file(1)->id());
  held.release(mount_of(1, 2), file(1)->id());
  CHECK(held.hold(mount_of(1, 2), file(7'000'001)));
  CHECK_FALSE(held.hold(mount_of(1, 2), file(7'000'002)));
}

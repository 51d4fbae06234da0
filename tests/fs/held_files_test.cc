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

TEST_CASE("what a former start of a mount held counts for its key until it expires") {
  HeldFiles held(100);
  hold_all(held, 1);
  const rushfs::transport::TimePoint until{std::chrono::minutes(10)};
  held.retire(mount_of(1, 1), until);
  held.retire(mount_of(1, 2), until);
  CHECK_FALSE(held.hold(mount_of(1, 1, 2), file(7'000'001)));
  CHECK(held.hold(mount_of(1, 1, 2), file(7)));  // one of those
  CHECK_FALSE(held.hold(mount_of(1, 1, 2), file(7'000'001)));
  CHECK(held.expire(until).nodes.size() == HeldFiles::kMaxPerKey - 1);
  CHECK(held.hold(mount_of(1, 1, 2), file(7'000'001)));
}

TEST_CASE("two who hold all there is leave others some, and what is held already") {
  HeldFiles held(100);
  for (std::size_t i = 0; i < HeldFiles::kMaxHeld; ++i) {
    REQUIRE(held.hold(mount_of(i % 2 == 0 ? 1 : 2), file(i)));
  }
  std::size_t more = 0;
  while (more < 5000 && held.hold(mount_of(3), file(7'000'000 + more))) ++more;
  CHECK(more == 1024);
  CHECK(held.full_for(mount_of(3)));
  CHECK(held.hold(mount_of(3), file(0)));
}

#include "tools/mount_table.h"

#include <catch2/catch.hpp>

namespace rushfs::tools {
namespace {

constexpr const char* kTable =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "90 22 0:45 / /mnt/footage rw,nosuid,nodev - fuse.rushfs studio.example:/footage "
    "rw,user_id=0,group_id=0,default_permissions\n"
    "91 22 0:46 / /mnt/day\\04012 rw shared:7 master:2 - fuse.rushfs [2001:db8::7]:/day "
    "rw,user_id=1000,group_id=1000\n"
    "92 90 0:47 / /mnt/footage/inner rw - fuse.rushfs other:/inner rw,user_id=0,group_id=0\n"
    "93 22 0:48 / /mnt/sshfs rw - fuse.sshfs host: rw,user_id=0,group_id=0\n"
    "a broken line\n";

}  // namespace

TEST_CASE("rushfs mounts are found among others") {
  const auto entries = parse_mount_table(kTable);
  REQUIRE(entries.size() == 3);
  CHECK(entries[0] == MountEntry{0, 45, "/mnt/footage", "studio.example:/footage", 0});
  CHECK(entries[1] == MountEntry{0, 46, "/mnt/day 12", "[2001:db8::7]:/day", 1000});
}

TEST_CASE("a path belongs to the innermost mount around it") {
  const auto entries = parse_mount_table(kTable);
  CHECK(find_mount(entries, "/mnt/footage/a/b.mov")->device_minor == 45);
  CHECK(find_mount(entries, "/mnt/footage")->device_minor == 45);
  CHECK(find_mount(entries, "/mnt/footage/inner/x")->device_minor == 47);
  CHECK(find_mount(entries, "/mnt/day 12/x")->user_id == 1000);
}

TEST_CASE("a path beside a mount belongs to none") {
  const auto entries = parse_mount_table(kTable);
  CHECK_FALSE(find_mount(entries, "/mnt/footage2/a"));
  CHECK_FALSE(find_mount(entries, "/mnt"));
  CHECK_FALSE(find_mount(entries, "/mnt/sshfs/a"));
}

TEST_CASE("of two mounts on one directory the later one is meant") {
  auto entries = parse_mount_table(kTable);
  entries.push_back({0, 99, "/mnt/footage", "later:/x", 0});
  CHECK(find_mount(entries, "/mnt/footage/a")->device_minor == 99);
}

}  // namespace rushfs::tools

#include "tools/options.h"

#include <catch2/catch.hpp>

#include "tools/error.h"

namespace rushfs::tools {

using transport::BitRate;
using transport::Bytes;
using transport::RatePolicy;

TEST_CASE("mount options are read from one list or several") {
  const MountOptions options = parse_mount_options(
      {"identity=/k,known_hosts=/h,cache_dir=/c", "cache_size=64G,rate=500M,min_rate=10M",
       "policy=low,timeout=20s,allow_other,ro"});
  CHECK(options.connect.identity == "/k");
  CHECK(options.connect.known_hosts == "/h");
  CHECK(options.connect.timeout == std::chrono::seconds(20));
  CHECK(options.cache_dir == "/c");
  CHECK(options.cache_size == Bytes{64ull << 30});
  CHECK(options.rate.target == BitRate{500e6});
  CHECK(options.rate.minimum == BitRate{10e6});
  CHECK(options.rate.policy == RatePolicy::low);
  CHECK(options.allow_other);
  CHECK(options.read_only);
}

TEST_CASE("without options the rate is unlimited, fair and nobody else may look in") {
  const MountOptions options = parse_mount_options({});
  CHECK(options.rate.target == BitRate::infinite());
  CHECK(options.rate.policy == RatePolicy::fair);
  CHECK_FALSE(options.allow_other);
  CHECK_FALSE(options.read_only);
}

TEST_CASE("what fstab says to others is accepted and dropped") {
  const MountOptions options = parse_mount_options(
      {"rw,_netdev,nofail,x-systemd.automount,x-systemd.idle-timeout=60,X-mount.mkdir,user,noauto,"
       "defaults,comment=ours"});
  CHECK(options.kernel.empty());
  CHECK_FALSE(options.read_only);
}

TEST_CASE("what the kernel does for every file system is passed on") {
  const MountOptions options = parse_mount_options({"noatime,nosuid,nodev,noexec,exec"});
  CHECK(options.kernel == std::vector<std::string>{"noatime"});
  CHECK(options.no_suid);
  CHECK(options.no_device);
  CHECK_FALSE(options.no_exec);
  CHECK_FALSE(parse_mount_options({"suid,dev"}).no_suid);
  CHECK_FALSE(parse_mount_options({"suid,dev"}).no_device);
  CHECK(parse_mount_options({"allow_other"}).no_suid);
  CHECK(parse_mount_options({"ro,remount"}).remount);
}

TEST_CASE("a running mount's rate is changed in parts") {
  using transport::RateLimits;
  const RateLimits before{RatePolicy::low, BitRate{80e6}, BitRate{5e6}};
  CHECK(change_rate(before, {"rate=50M"}) == RateLimits{RatePolicy::low, {50e6}, {5e6}});
  CHECK(change_rate(before, {"policy=high", "min_rate=1M"}) ==
        RateLimits{RatePolicy::high, {80e6}, {1e6}});
  CHECK(change_rate(before, {"rate=unlimited"}).target == BitRate::infinite());
  CHECK_THROWS_WITH(change_rate(before, {"rate=1M"}), Catch::Contains("min_rate"));
  CHECK_THROWS_WITH(change_rate(before, {"cache_size=1G"}), Catch::Contains("cache_size"));
}

TEST_CASE("datagrams are marked as asked") {
  CHECK(parse_mount_options({"dscp=46"}).dscp == 46);
  for (const char* bad : {"dscp=64", "dscp=-1", "dscp=x", "dscp="}) {
    CHECK_THROWS_WITH(parse_mount_options({bad}), Catch::Contains("dscp"));
  }
}

TEST_CASE("the later of two contradicting options wins") {
  CHECK_FALSE(parse_mount_options({"ro,rw"}).read_only);
  CHECK(parse_mount_options({"rw", "ro"}).read_only);
}

TEST_CASE("nosuid and nodev win over allow_suid and allow_dev in any order") {
  CHECK_FALSE(parse_mount_options({"rw,allow_suid,allow_dev"}).no_suid);
  CHECK_FALSE(parse_mount_options({"rw,allow_suid,allow_dev"}).no_device);
  for (const char* both :
       {"nosuid,nodev,allow_suid,allow_dev", "allow_suid,allow_dev,nosuid,nodev"}) {
    CHECK(parse_mount_options({both}).no_suid);
    CHECK(parse_mount_options({both}).no_device);
  }
}

TEST_CASE("how reading is noted is said as to mount(8)") {
  using fs::AccessRule;
  CHECK(parse_mount_options({"ro"}).access_times.rule == AccessRule::relative);
  CHECK(parse_mount_options({"noatime"}).access_times.rule == AccessRule::none);
  CHECK(parse_mount_options({"noatime,strictatime"}).access_times.rule == AccessRule::always);
  CHECK(parse_mount_options({"strictatime,relatime"}).access_times.rule == AccessRule::relative);
  CHECK_FALSE(parse_mount_options({"nodiratime"}).access_times.folders);
}

TEST_CASE("a comma in a path is written with a backslash") {
  CHECK(parse_mount_options({R"(identity=/keys/a\,b\\c)"}).connect.identity == "/keys/a,b\\c");
}

TEST_CASE("wrong options are refused by name") {
  CHECK_THROWS_WITH(parse_mount_options({"cachesize=1G"}), Catch::Contains("cachesize"));
  CHECK_THROWS_WITH(parse_mount_options({"identity"}), Catch::Contains("identity=..."));
  CHECK_THROWS_WITH(parse_mount_options({"rate=fast"}), Catch::Contains("fast"));
  CHECK_THROWS_WITH(parse_mount_options({"policy=greedy"}), Catch::Contains("greedy"));
  CHECK_THROWS_WITH(parse_mount_options({"timeout=10ms"}), Catch::Contains("one second"));
  CHECK_THROWS_AS(parse_mount_options({"rate=10M,min_rate=20M"}), CommandError);
  CHECK_THROWS_AS(parse_mount_options({"policy=fixed"}), CommandError);
  CHECK_THROWS_AS(parse_mount_options({"ro=yes"}), CommandError);
  CHECK_THROWS_WITH(parse_connect_options({"cache_size=1G"}), Catch::Contains("cache_size"));
}

}  // namespace rushfs::tools

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <random>

#include "tests/temporary_folder.h"
#include "transport/security/authorized_keys.h"
#include "transport/security/known_hosts.h"

using namespace rushfs::transport;
using rushfs::testing::TemporaryFolder;

namespace {

PublicKey key(std::uint8_t seed) {
  std::array<std::uint8_t, 32> bytes{};
  bytes[0] = seed;
  return Identity::from_seed(bytes).public_key();
}

std::string line(std::uint8_t seed) {
  return to_openssh_line(key(seed), "");
}

Address address(const char* text) {
  const auto block = parse_address_block(text);
  REQUIRE(block);
  Address result;
  result.ip = block->ip;
  return result;
}

std::string reason(const std::string& text) {
  const auto keys = AuthorizedKeys::parse(text);
  REQUIRE(keys.bad_lines().size() == 1);
  CHECK(keys.keys().empty());
  return keys.bad_lines()[0].reason;
}

}  // namespace

TEST_CASE("a known host is known by its key, a new key means stop, a new host is unknown") {
  const auto hosts = KnownHosts::parse("# studio\nStudio.example:7874 " + line(1) + " comment\r\n" +
                                       "\n[2001:db8::1]:7874 " + line(2));
  CHECK(hosts.bad_lines().empty());
  CHECK(hosts.look_up(host_port("studio.EXAMPLE", 7874), key(1)) == HostTrust::known);
  CHECK(hosts.look_up(host_port("studio.example", 7874), key(2)) == HostTrust::changed);
  CHECK(hosts.look_up(host_port("studio.example", 7875), key(1)) == HostTrust::unknown);
  CHECK(hosts.look_up(host_port("2001:DB8::1", 7874), key(2)) == HostTrust::known);
}

TEST_CASE("a host may have two keys, as when its key is being replaced") {
  const auto hosts = KnownHosts::parse("a:1 " + line(1) + "\na:1 " + line(2) + "\n");
  CHECK(hosts.look_up("a:1", key(1)) == HostTrust::known);
  CHECK(hosts.look_up("a:1", key(2)) == HostTrust::known);
  CHECK(hosts.look_up("a:1", key(3)) == HostTrust::changed);
}

TEST_CASE("a revoked key stays revoked, wherever the line stands") {
  const auto hosts =
      KnownHosts::parse("a:1 " + line(1) + "\n@revoked a:1 " + line(1) + "\n@revoked * " + line(2));
  CHECK(hosts.bad_lines().empty());
  CHECK(hosts.look_up("a:1", key(1)) == HostTrust::revoked);
  CHECK(hosts.look_up("b:1", key(1)) == HostTrust::unknown);
  CHECK(hosts.look_up("b:1", key(2)) == HostTrust::revoked);
}

TEST_CASE("only a revocation may speak of all hosts") {
  const auto hosts = KnownHosts::parse("* " + line(1));
  CHECK(hosts.bad_lines().size() == 1);
  CHECK(hosts.look_up("a:1", key(1)) == HostTrust::unknown);
}

TEST_CASE("a bad line is reported by number and spoils no other line") {
  const auto hosts = KnownHosts::parse("a:1\nb:1 ssh-rsa AAAA\nno-port " + line(1) + "\nc:1 " +
                                       line(2) + "\nd:1 ssh-ed25519 AAAA\ne:1 " + line(3) + "\x01");
  REQUIRE(hosts.bad_lines().size() == 5);
  CHECK(hosts.bad_lines()[0].number == 1);
  CHECK(hosts.bad_lines()[0].reason == "no key");
  CHECK(hosts.bad_lines()[1].reason == "not an ssh-ed25519 key");
  CHECK(hosts.bad_lines()[2].reason == "not a host:port");
  CHECK(hosts.bad_lines()[3].number == 5);
  CHECK(hosts.bad_lines()[3].reason == "the key is damaged");
  CHECK(hosts.bad_lines()[4].reason == "contains control characters");
  CHECK(hosts.look_up("c:1", key(2)) == HostTrust::known);
}

TEST_CASE("an added host is found again, also after a line without an end") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "new" / "known_hosts";
  CHECK(KnownHosts::load(path).look_up("a:1", key(1)) == HostTrust::unknown);
  KnownHosts::add(path, "a:1", key(1));
  std::ofstream(path, std::ios::app) << "b:1 " << line(2);
  KnownHosts::add(path, "C:1", key(3));
  const auto hosts = KnownHosts::load(path);
  CHECK(hosts.bad_lines().empty());
  CHECK(hosts.look_up("a:1", key(1)) == HostTrust::known);
  CHECK(hosts.look_up("b:1", key(2)) == HostTrust::known);
  CHECK(hosts.look_up("c:1", key(3)) == HostTrust::known);
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("a trust file that others may have written is refused") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "authorized_keys";
  CHECK_THROWS_WITH(AuthorizedKeys::load(path), Catch::Contains("no such file"));
  std::ofstream(path) << line(1) << "\n";
  REQUIRE(::chmod(path.c_str(), 0644) == 0);
  CHECK(AuthorizedKeys::load(path).find(key(1)));
  for (const mode_t mode : {0664, 0646, 0666}) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    CHECK_THROWS_WITH(AuthorizedKeys::load(path), Catch::Contains("chmod go-w"));
    CHECK_THROWS_WITH(KnownHosts::load(path), Catch::Contains("chmod go-w"));
  }
  if (::geteuid() != 0) {
    WARN("not tested: only root can give a file away");
    return;
  }
  REQUIRE(::chmod(path.c_str(), 0600) == 0);
  REQUIRE(::chown(path.c_str(), 12345, 12345) == 0);
  CHECK_THROWS_WITH(AuthorizedKeys::load(path), Catch::Contains("another user"));
}

TEST_CASE("a line pasted from ssh-keygen authorizes its key for everything") {
  const auto keys = AuthorizedKeys::parse(to_openssh_line(key(1), "editor at the studio") + "\n");
  const AuthorizedKey* found = keys.find(key(1));
  REQUIRE(found);
  CHECK(found->comment == "editor at the studio");
  CHECK_FALSE(found->read_only);
  CHECK_FALSE(found->max_rate);
  CHECK(found->may_use("anything"));
  CHECK(found->may_come_from(address("203.0.113.7")));
  CHECK_FALSE(keys.find(key(2)));
}

TEST_CASE("options limit exports, addresses, rate and writing") {
  const auto keys = AuthorizedKeys::parse(
      "export=\"footage, audio\",ro,from=\"192.0.2.0/24,2001:db8::/33\",max-rate=1.5G " + line(1) +
      " x y\n");
  CHECK(keys.bad_lines().empty());
  const AuthorizedKey* found = keys.find(key(1));
  REQUIRE(found);
  CHECK(found->comment == "x y");
  CHECK(found->read_only);
  CHECK(found->may_use("footage"));
  CHECK(found->may_use("audio"));
  CHECK_FALSE(found->may_use("foot"));
  CHECK_FALSE(found->may_use(""));
  CHECK(found->may_come_from(address("192.0.2.255")));
  CHECK_FALSE(found->may_come_from(address("192.0.3.0")));
  CHECK(found->may_come_from(address("2001:db8:7fff::1")));
  CHECK_FALSE(found->may_come_from(address("2001:db8:8000::1")));
  CHECK(found->max_rate == BitRate{1.5e9});
}

TEST_CASE("a line whose options are not understood allows nothing") {
  CHECK(reason("command=\"x\" " + line(1)) == "unknown option: command");
  CHECK(reason("rw " + line(1)) == "unknown option: rw");
  CHECK(reason("ro, " + line(1)) == "unknown option: ");
  CHECK(reason("export=\"a,,b\" " + line(1)) == "an empty name in a list");
  CHECK(reason("export=\"\" " + line(1)) == "export: bad value");
  CHECK(reason("export=\"a " + line(1)) == "a quote is not closed");
  CHECK(reason("from=\"!192.0.2.1\" " + line(1)) ==
        "from: not an address or CIDR block: !192.0.2.1");
  CHECK(reason("from=\"192.0.2.0/33\" " + line(1)) ==
        "from: not an address or CIDR block: 192.0.2.0/33");
  CHECK(reason("max-rate=fast " + line(1)) == "max-rate: not a rate like 500M");
  CHECK(reason("max-rate=-5M " + line(1)) == "max-rate: not a rate like 500M");
  CHECK(reason("max-rate=M " + line(1)) == "max-rate: not a rate like 500M");
  CHECK(reason("max-rate=1e400 " + line(1)) == "max-rate: not a rate like 500M");
  CHECK(reason("ro=yes " + line(1)) == "unknown option: ro");
  CHECK(reason("ro") == "no key");
  CHECK(reason("ssh-ed25519") == "no key");
  CHECK(reason(std::string(kMaxTrustLine + 1, 'x')) == "longer than 8192 bytes");
  CHECK(reason(line(1) + std::string(1, '\0')) == "contains control characters");
}

TEST_CASE("an IPv4 block does not admit IPv6 addresses that look alike") {
  const auto block = parse_address_block("0.0.0.0/0");
  REQUIRE(block);
  CHECK(block->contains(address("203.0.113.7")));
  CHECK_FALSE(block->contains(address("2001:db8::1")));
  CHECK(parse_address_block("::/0")->contains(address("203.0.113.7")));
  CHECK_FALSE(parse_address_block("1.2.3"));
  CHECK_FALSE(parse_address_block("1.2.3.4/"));
  CHECK_FALSE(parse_address_block("1.2.3.4/+8"));
  CHECK_FALSE(parse_address_block("1.2.3.4/99999999999"));
  CHECK_FALSE(parse_address_block(""));
}

TEST_CASE("no text makes the parsers fail, and none authorizes a key it does not hold") {
  std::mt19937 random(4);
  const std::string seed = "export=\"a,b\",ro,from=\"10.0.0.0/8\",max-rate=5M " + line(1) + " c\n";
  for (int i = 0; i < 20000; ++i) {
    std::string text = seed;
    for (int edits = 0; edits < 4; ++edits) {
      const std::size_t at = random() % text.size();
      if (random() % 2) {
        text[at] = static_cast<char>(random());
      } else {
        text.erase(at, random() % 8);
        if (text.empty()) text = "x";
      }
    }
    KnownHosts::parse(text);
    const auto keys = AuthorizedKeys::parse(text);
    if (keys.find(key(1))) REQUIRE(text.find(to_openssh_base64(key(1))) != std::string::npos);
  }
}

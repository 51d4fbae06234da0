#include "transport/security/identity.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/temporary_folder.h"
#include "tests/transport/hex.h"

using namespace rushfs::transport;
using rushfs::testing::TemporaryFolder;

namespace {

/// RFC 8032, section 7.1, test 1; the texts are what ssh-keygen prints for this key.
Identity sample() {
  const auto seed = from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  return Identity::from_seed(std::span(seed).first<32>());
}
constexpr const char* kBase64 =
    "AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
constexpr const char* kFingerprint = "SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8";

void write(const std::filesystem::path& path, const std::string& text, mode_t mode) {
  std::ofstream(path) << text;
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

}  // namespace

TEST_CASE("a key is shown as ssh-keygen shows it") {
  const PublicKey key = sample().public_key();
  CHECK(to_hex(key.bytes) == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  CHECK(to_openssh_line(key, "a b") == std::string("ssh-ed25519 ") + kBase64 + " a b");
  CHECK(to_openssh_line(key, "") == std::string("ssh-ed25519 ") + kBase64);
  CHECK(fingerprint(key) == kFingerprint);
}

TEST_CASE("the base64 of a key has exactly one spelling") {
  CHECK(from_openssh_base64(kBase64) == sample().public_key());
  const std::string text = kBase64;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = '!';
    CHECK_FALSE(from_openssh_base64(damaged));
    damaged[i] = '=';
    CHECK_FALSE(from_openssh_base64(damaged));
    CHECK_FALSE(from_openssh_base64(text.substr(0, i)));
  }
  CHECK_FALSE(from_openssh_base64(text + "AAAA"));
  CHECK_FALSE(from_openssh_base64("\n" + text.substr(1)));
  // ecdsa-sha2-..., cut to the same length
  CHECK_FALSE(
      from_openssh_base64("AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEe"));
}

TEST_CASE("a saved identity is loaded again, and only its owner can read it") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "id_ed25519";
  const Identity identity = Identity::generate();
  identity.save(path);
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  CHECK(Identity::load(path).public_key() == identity.public_key());
  CHECK(identity.public_key() != Identity::generate().public_key());
}

TEST_CASE("an existing identity is never overwritten") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "id_ed25519";
  sample().save(path);
  CHECK_THROWS_WITH(Identity::generate().save(path), Catch::Contains("id_ed25519"));
  CHECK(Identity::load(path).public_key() == sample().public_key());
}

TEST_CASE("a private key that others may have read is refused, with the remedy") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "id_ed25519";
  sample().save(path);
  for (const mode_t mode : {0640, 0604, 0660, 0602, 0610, 0777}) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    CHECK_THROWS_WITH(Identity::load(path), Catch::Contains("chmod 600"));
  }
  REQUIRE(::chmod(path.c_str(), 0400) == 0);
  CHECK_NOTHROW(Identity::load(path));
}

TEST_CASE("a private key of another user is refused") {
  if (::geteuid() != 0) {
    WARN("not tested: only root can give a file away");
    return;
  }
  const TemporaryFolder folder;
  const auto path = folder.path() / "id_ed25519";
  sample().save(path);
  REQUIRE(::chown(path.c_str(), 12345, 12345) == 0);
  CHECK_THROWS_WITH(Identity::load(path), Catch::Contains("another user"));
}

TEST_CASE("what is not an Ed25519 private key is refused, naming the file") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "key";
  CHECK_THROWS_WITH(Identity::load(path), Catch::Contains("key: no such file"));
  write(path, "", 0600);
  CHECK_THROWS_WITH(Identity::load(path), Catch::Contains("not a PEM private key"));
  write(path, std::string(1 << 20, 'x'), 0600);
  CHECK_THROWS_WITH(Identity::load(path), Catch::Contains("larger than"));
  write(path,
        "-----BEGIN PRIVATE KEY-----\n"
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
        "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
        "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
        "-----END PRIVATE KEY-----\n",
        0600);
  CHECK_THROWS_WITH(Identity::load(path), Catch::Contains("not an Ed25519 key"));
  CHECK_THROWS_WITH(Identity::load(folder.path()), Catch::Contains("not a regular file"));
  const auto fifo = folder.path() / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_THROWS_WITH(Identity::load(fifo), Catch::Contains("not a regular file"));
}

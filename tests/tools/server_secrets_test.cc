#include "tools/server_secrets.h"

#include <catch2/catch.hpp>

#include "tests/transport/hex.h"

namespace rushfs::tools {
namespace {

transport::Identity identity(std::uint8_t seed) {
  std::array<std::uint8_t, 32> bytes{seed};
  return transport::Identity::from_seed(bytes);
}

ServerConfig config() {
  ServerConfig result;
  result.state = "/var/lib/rushfs";
  return result;
}

}  // namespace

// Computed with another implementation of HMAC-SHA256: clients and state folders of today must be
// known to the program of tomorrow.
TEST_CASE("node keys and state folders stay what they are") {
  CHECK(transport::to_hex(node_key(identity(1), "footage")) == "6ef2b0176b441acb26104da6f774492d");
  CHECK(state_folder(config(), {"footage", "/srv/./footage"}, identity(1)) ==
        "/var/lib/rushfs/footage-46c6cd5e4ffef47b");
}

TEST_CASE("another server, export or directory has other secrets") {
  CHECK(node_key(identity(1), "footage") != node_key(identity(2), "footage"));
  CHECK(node_key(identity(1), "footage") != node_key(identity(1), "audio"));
  const auto folder = state_folder(config(), {"footage", "/srv/footage"}, identity(1));
  CHECK(folder != state_folder(config(), {"footage", "/srv/footage"}, identity(2)));
  CHECK(folder != state_folder(config(), {"footage", "/srv/other"}, identity(1)));
}

TEST_CASE("each start is another instance, and each boot another half of it") {
  const auto first = new_instance(identity(1));
  const auto second = new_instance(identity(1));
  CHECK(first != second);
  CHECK(first.value >> 32 == second.value >> 32);
  CHECK(first.value >> 32 != new_instance(identity(2)).value >> 32);
}

}  // namespace rushfs::tools

#include "tools/server_config.h"

#include <catch2/catch.hpp>

#include "tools/error.h"

namespace rushfs::tools {

TEST_CASE("an export on the command line is NAME=DIR, perhaps read-only") {
  CHECK(parse_export("footage=/srv/footage") == ExportConfig{"footage", "/srv/footage", false});
  CHECK(parse_export("footage=/srv/footage,ro") == ExportConfig{"footage", "/srv/footage", true});
  CHECK(parse_export("a=b=c,d") == ExportConfig{"a", "b=c,d", false});
}

TEST_CASE("an export without name or folder is refused") {
  for (const char* text : {"", "footage", "=/srv", "footage=", "a/b=/srv", "..=/srv"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_export(text), CommandError);
  }
}

TEST_CASE("server.toml says the same, with paths relative to itself") {
  const ServerConfig config = parse_server_config(R"(
      listen = "[::]:9000"
      identity = "keys/server"
      authorized_keys = "/etc/rushfs/authorized_keys"
      identity_mapping = "squash"
      max_rate = "1G"
      max_rate_per_client = "200M"
      dscp = 8
      [exports]
      footage = "/srv/footage"
      archive = { directory = "archive", read_only = true }
  )", "/etc/rushfs/server.toml");
  CHECK(config.listen == "[::]:9000");
  CHECK(config.identity == "/etc/rushfs/keys/server");
  CHECK(config.authorized_keys == "/etc/rushfs/authorized_keys");
  CHECK(config.identity_mapping == "squash");
  CHECK(config.max_rate == transport::BitRate{1e9});
  CHECK(config.max_rate_per_client == transport::BitRate{200e6});
  CHECK(config.dscp == 8);
  REQUIRE(config.exports.size() == 2);
  CHECK(config.exports[0] == ExportConfig{"archive", "/etc/rushfs/archive", true});
  CHECK(config.exports[1] == ExportConfig{"footage", "/srv/footage", false});
}

TEST_CASE("a mistake in server.toml is named with its line") {
  CHECK_THROWS_WITH(parse_server_config("listen = 7874", "s.toml"), Catch::Contains("s.toml:1"));
  CHECK_THROWS_WITH(parse_server_config("\nlissten = \"x\"", "s.toml"),
                    Catch::Contains("s.toml:2") && Catch::Contains("lissten"));
  CHECK_THROWS_WITH(parse_server_config("[exports]\na = { ro = true }", "s.toml"),
                    Catch::Contains("s.toml:2"));
  CHECK_THROWS_WITH(parse_server_config("listen = \"x", "s.toml"), Catch::Contains("s.toml:1"));
  CHECK_THROWS_AS(parse_server_config("identity_mapping = \"all\"", "s.toml"), CommandError);
  CHECK_THROWS_AS(parse_server_config("dscp = 64", "s.toml"), CommandError);
  CHECK_THROWS_AS(parse_server_config("max_rate = \"fast\"", "s.toml"), CommandError);
}

}  // namespace rushfs::tools

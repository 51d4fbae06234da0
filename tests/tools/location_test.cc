#include "tools/location.h"

#include <catch2/catch.hpp>

#include "tools/error.h"

namespace rushfs::tools {

TEST_CASE("a location names host, port, export and subdirectory") {
  const auto plain = parse_location("studio.example:/footage");
  CHECK(plain.server == transport::HostPort{"studio.example", 7874});
  CHECK(plain.export_name == "footage");
  CHECK(plain.subdirectory.empty());

  const auto full = parse_location("192.0.2.7:9000:/footage/day 12/card_a/");
  CHECK(full.server == transport::HostPort{"192.0.2.7", 9000});
  CHECK(full.export_name == "footage");
  CHECK(full.subdirectory == "day 12/card_a");
}

TEST_CASE("an IPv6 host stands in brackets") {
  CHECK(parse_location("[2001:db8::7]:/footage").server ==
        transport::HostPort{"2001:db8::7", 7874});
  CHECK(parse_location("[2001:db8::7]:9000:/footage").server ==
        transport::HostPort{"2001:db8::7", 9000});
}

TEST_CASE("a location reads back as it is shown") {
  for (const char* text : {"studio.example:7874:/footage", "[2001:db8::7]:9000:/a/b/c"}) {
    CHECK(parse_location(text).text() == text);
  }
}

TEST_CASE("what names no export is refused") {
  for (const char* text : {"", "studio.example", "studio.example:", "/mnt/footage", ":/footage",
                           "studio.example:/", "studio.example:////", "studio:port:/footage",
                           "studio:0:/footage", "studio:65536:/footage"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_location(text), CommandError);
  }
}

}  // namespace rushfs::tools

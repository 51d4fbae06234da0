#include "tools/quantity.h"

#include <catch2/catch.hpp>

#include "tools/error.h"

namespace rushfs::tools {

using transport::BitRate;
using transport::Bytes;
using transport::from_seconds;

TEST_CASE("a size is read in powers of 1024, with or without B") {
  CHECK(parse_size("4096") == Bytes{4096});
  CHECK(parse_size("64G") == Bytes{64ull << 30});
  CHECK(parse_size("64GiB") == Bytes{64ull << 30});
  CHECK(parse_size("1.5M") == Bytes{3ull << 19});
  CHECK(parse_size("2t") == Bytes{2ull << 40});
  CHECK(parse_size("0") == Bytes{0});
}

TEST_CASE("a rate is read in powers of 1000, as bits per second") {
  CHECK(parse_rate("500M") == BitRate{500e6});
  CHECK(parse_rate("2.5G") == BitRate{2.5e9});
  CHECK(parse_rate("640k") == BitRate{640e3});
  CHECK(parse_rate("100Mbit/s") == BitRate{100e6});
  CHECK(parse_rate("100Mbps") == BitRate{100e6});
}

TEST_CASE("a time without a unit is in seconds") {
  CHECK(parse_duration("30") == std::chrono::seconds(30));
  CHECK(parse_duration("30s") == std::chrono::seconds(30));
  CHECK(parse_duration("500ms") == std::chrono::milliseconds(500));
  CHECK(parse_duration("5m") == std::chrono::minutes(5));
  CHECK(parse_duration("1h") == std::chrono::hours(1));
}

TEST_CASE("what is not an amount is refused with the text in the message") {
  for (const char* text : {"", "G", "12X", "-5", "1e300", "nan", "inf", "12 G", "0x10", "64G!"}) {
    INFO(text);
    CHECK_THROWS_WITH(parse_size(text), Catch::Contains(std::string("\"") + text + "\""));
    CHECK_THROWS_AS(parse_rate(text), CommandError);
    CHECK_THROWS_AS(parse_duration(text), CommandError);
  }
  CHECK_THROWS_AS(parse_duration("9000h"), CommandError);
}

TEST_CASE("amounts are shown with few digits and a unit people know") {
  CHECK(format_size({12}) == "12 B");
  CHECK(format_size({1536}) == "1.5 KiB");
  CHECK(format_size({640ull << 20}) == "640 MiB");
  CHECK(format_rate({487e6}) == "487 Mbit/s");
  CHECK(format_rate({1.2e9}) == "1.20 Gbit/s");
  CHECK(format_rate({9.96e6}) == "10.0 Mbit/s");
  CHECK(format_rate(BitRate::infinite()) == "unlimited");
  CHECK(format_duration(from_seconds(0.0012)) == "1.2 ms");
  CHECK(format_duration(from_seconds(200)) == "3 min 20 s");
  CHECK(format_duration(from_seconds(7260)) == "2 h 1 min");
}

}  // namespace rushfs::tools

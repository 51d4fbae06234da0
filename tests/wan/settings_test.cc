#include "tests/wan/settings.h"

#include <catch2/catch.hpp>

using namespace rushfs::wan;
using namespace std::chrono_literals;

TEST_CASE("a setting is for both directions or for one") {
  LinkPair pair;
  apply(pair, "rate", "100");
  apply(pair, "ba-rate", "20");
  CHECK(pair.ab.rate == 100e6);
  CHECK(pair.ba.rate == 20e6);
}

TEST_CASE("delay is the round trip, of one direction alone one way") {
  LinkPair pair;
  apply(pair, "delay", "100");
  CHECK(pair.ab.delay == 50ms);
  CHECK(pair.ba.delay == 50ms);
  apply(pair, "ab-delay", "10");
  CHECK(pair.ab.delay == 10ms);
}

TEST_CASE("a change names its time and its settings") {
  const Change change = parse_change("2.5:rate=20,ba-loss=1");
  CHECK(change.at == 2500ms);
  REQUIRE(change.values.size() == 2);
  CHECK(change.values[1] == std::pair<std::string, std::string>("ba-loss", "1"));
}

TEST_CASE("mistakes are told when they are made") {
  for (const char* text : {"rate=20", "1:", "1:speed=20", "1:rate=fast", "1:rate=-1", "x:rate=1"}) {
    CHECK_THROWS_AS(parse_change(text), std::runtime_error);
  }
}

#include "fs/protocol/spans.h"

#include <catch2/catch.hpp>
#include <limits>
#include <random>
#include <vector>

using namespace rushfs::fs;

namespace {

bool covers(const Spans& spans, std::uint64_t byte) {
  for (const Span& span : spans.list()) {
    if (span.from <= byte && byte < span.to) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("parts that touch or overlap are one") {
  Spans spans(10, 20);
  spans.add(30, 40);
  CHECK(spans.list().size() == 2);
  spans.add(20, 25);
  CHECK(spans.list() == std::vector<Span>{{10, 25}, {30, 40}});
  spans.add(24, 30);
  CHECK(spans == Spans(10, 40));
}

TEST_CASE("an empty part adds nothing") {
  Spans spans;
  spans.add(7, 7);
  spans.add(9, 8);
  CHECK(spans.empty());
}

TEST_CASE("everything takes all in") {
  Spans spans(10, 20);
  spans.add(Spans::everything());
  CHECK(spans == Spans::everything());
  CHECK(covers(spans, std::numeric_limits<std::uint64_t>::max() - 1));
}

TEST_CASE("the closest parts are joined when there are too many") {
  Spans spans;
  for (std::uint64_t i = 0; i < Spans::kMost; ++i) spans.add(100 * i, 100 * i + 10);
  spans.add(1015, 1020);
  CHECK(spans.list().size() == Spans::kMost);
  CHECK(covers(spans, 1012));
  CHECK_FALSE(covers(spans, 50));
}

TEST_CASE("whatever is added is covered, in order and apart") {
  std::mt19937_64 chance(11);
  for (int round = 0; round < 200; ++round) {
    Spans spans;
    std::vector<bool> added(1000);
    for (int i = 0; i < 60; ++i) {
      const std::uint64_t from = chance() % 990, to = from + chance() % 10;
      spans.add(from, to);
      for (std::uint64_t byte = from; byte < to; ++byte) added[byte] = true;
      REQUIRE(spans.list().size() <= Spans::kMost);
    }
    for (std::uint64_t byte = 0; byte < added.size(); ++byte) {
      if (added[byte]) REQUIRE(covers(spans, byte));
    }
    const auto list = spans.list();
    for (auto span = list.begin(); std::next(span) < list.end(); ++span) {
      REQUIRE(span->to < std::next(span)->from);
    }
  }
}

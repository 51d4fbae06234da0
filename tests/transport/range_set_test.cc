#include "transport/range_set.h"

#include <catch2/catch.hpp>

#include <limits>
#include <random>
#include <set>

using namespace rushfs::transport;

namespace {

std::vector<NumberRange> all(const RangeSet& set) {
  return {set.ranges().begin(), set.ranges().end()};
}

}  // namespace

TEST_CASE("numbers added in order stay one range") {
  RangeSet set(10);
  for (std::uint64_t n = 5; n < 1000; ++n) CHECK(set.add(n));
  CHECK(all(set) == std::vector<NumberRange>{{5, 999}});
}

TEST_CASE("a number that closes a gap joins its neighbours") {
  RangeSet set(10);
  set.add(1, 3);
  set.add(5, 7);
  CHECK(set.add(4));
  CHECK(all(set) == std::vector<NumberRange>{{1, 7}});
}

TEST_CASE("adding what is there says so") {
  RangeSet set(10);
  set.add(10, 20);
  CHECK_FALSE(set.add(10, 20));
  CHECK_FALSE(set.add(15));
  CHECK(set.add(15, 21));
}

TEST_CASE("the ends of the number line are ordinary numbers") {
  constexpr std::uint64_t kTop = std::numeric_limits<std::uint64_t>::max();
  RangeSet set(10);
  CHECK(set.add(kTop));
  CHECK(set.add(0));
  CHECK(set.add(kTop - 1));
  CHECK(all(set) == std::vector<NumberRange>{{0, 0}, {kTop - 1, kTop}});
  CHECK(set.contains(kTop));
  CHECK_FALSE(set.contains(0, kTop));
  set.remove_below(kTop);
  CHECK(all(set) == std::vector<NumberRange>{{kTop, kTop}});
}

TEST_CASE("beyond its limit a set forgets its lowest ranges") {
  RangeSet set(3);
  for (std::uint64_t n = 0; n < 20; n += 2) set.add(n);
  CHECK(all(set) == std::vector<NumberRange>{{14, 14}, {16, 16}, {18, 18}});
  set.add(0);  // lower than all that is kept, and there is no room
  CHECK_FALSE(set.contains(0));
}

TEST_CASE("a set agrees with a plain one after any sequence of additions and removals") {
  std::mt19937 random(7);
  RangeSet set(std::numeric_limits<std::size_t>::max());
  std::set<std::uint64_t> model;
  std::uint64_t floor = 0;
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t first = floor + random() % 400;
    const std::uint64_t last = first + random() % 6;
    bool is_new = false;
    for (std::uint64_t n = first; n <= last; ++n) is_new |= model.insert(n).second;
    REQUIRE(set.add(first, last) == is_new);
    if (step % 16 == 0) {
      floor += random() % 8;
      set.remove_below(floor);
      model.erase(model.begin(), model.lower_bound(floor));
    }
  }
  std::uint64_t counted = 0;
  std::uint64_t previous_end = 0;
  for (const NumberRange& range : set.ranges()) {
    CHECK((counted == 0 || range.first > previous_end + 1));
    for (std::uint64_t n = range.first; n <= range.last; ++n) REQUIRE(model.count(n) == 1);
    counted += range.last - range.first + 1;
    previous_end = range.last;
  }
  CHECK(counted == model.size());
}

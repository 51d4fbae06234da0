// docs/file-protocol.md, "Locks": who gets a lock, who waits, and who is told that it is no use.
#include "fs/lock_table.h"

#include <catch2/catch.hpp>
#include <chrono>

using namespace rushfs::fs;
using Outcome = LockTable::Outcome;

namespace {

ClientTag client(std::uint8_t number) {
  ClientTag tag;
  tag.bytes.fill(number);
  return tag;
}
const LockOwner anna{client(1), 1}, ben{client(2), 1}, carl{client(3), 1};

LockRequest ask(const LockOwner& owner, LockType type, std::uint64_t first = 0,
                std::uint64_t last = kLockToEnd, const std::string& file = "clip") {
  return {{file}, owner, 7, {LockKind::record, type, first, last}};
}
LockRequest whole(const LockOwner& owner, LockType type) {
  return {{"clip"}, owner, 7, {LockKind::whole, type, 0, kLockToEnd}};
}

}  // namespace

TEST_CASE("readers share, a writer is alone") {
  LockTable table;
  CHECK(table.set(ask(anna, LockType::shared)) == Outcome::granted);
  CHECK(table.set(ask(ben, LockType::shared)) == Outcome::granted);
  CHECK(table.set(ask(carl, LockType::exclusive)) == Outcome::conflict);
  table.set(ask(anna, LockType::none));
  CHECK(table.set(ask(ben, LockType::exclusive)) == Outcome::granted);
  CHECK(table.conflict(ask(anna, LockType::shared))->owner == ben);
  table.set(ask(ben, LockType::none));
  CHECK(table.empty());
}

TEST_CASE("who has a range for himself has it shared as well, and not the other way round") {
  LockTable table;
  table.set(ask(anna, LockType::exclusive, 0, 9));
  table.set(ask(anna, LockType::shared, 10, 19));
  CHECK(table.holds_at_least(ask(anna, LockType::shared, 2, 5)));
  CHECK(!table.holds_exactly(ask(anna, LockType::shared, 2, 5)));
  CHECK(table.holds_at_least(ask(anna, LockType::shared, 12, 15)));
  CHECK(!table.holds_at_least(ask(anna, LockType::exclusive, 12, 15)));
  CHECK(!table.holds_at_least(ask(ben, LockType::shared, 2, 5)));
}

TEST_CASE("an owner's ranges are cut, changed and joined") {
  LockTable table;
  table.set(ask(anna, LockType::exclusive, 0, 99));
  table.set(ask(anna, LockType::none, 40, 59));
  CHECK(table.set(ask(ben, LockType::exclusive, 40, 59)) == Outcome::granted);
  CHECK(table.set(ask(ben, LockType::exclusive, 60, 60)) == Outcome::conflict);
  table.set(ask(anna, LockType::shared, 60, 69));
  CHECK(table.set(ask(ben, LockType::shared, 60, 69)) == Outcome::granted);
  CHECK(table.set(ask(ben, LockType::shared, 69, 70)) == Outcome::conflict);
  table.set(ask(ben, LockType::none));
  table.set(ask(anna, LockType::exclusive, 30, 80));
  CHECK(table.holds_exactly(ask(anna, LockType::exclusive, 0, 99)));
  table.set(ask(anna, LockType::none));
  CHECK(table.empty());
}

TEST_CASE("a span shows in parts what its owner holds of it") {
  LockTable table;
  const auto types_and_ends = [&](std::uint64_t first, std::uint64_t last) {
    std::vector<std::pair<LockType, std::uint64_t>> out;
    for (const LockSpan& part : table.parts(ask(anna, LockType::exclusive, first, last))) {
      out.emplace_back(part.type, part.last);
    }
    return out;
  };
  using Parts = std::vector<std::pair<LockType, std::uint64_t>>;
  CHECK(types_and_ends(0, 99) == Parts{{LockType::none, 99}});
  REQUIRE(table.set(ask(ben, LockType::shared, 0, 99)) == Outcome::granted);
  REQUIRE(table.set(ask(anna, LockType::exclusive, 200, 299)) == Outcome::granted);
  REQUIRE(table.set(ask(anna, LockType::shared, 10, 19)) == Outcome::granted);
  REQUIRE(table.set(ask(anna, LockType::shared, 250, 399)) == Outcome::granted);
  CHECK(types_and_ends(15, 299) == Parts{{LockType::shared, 19},
                                         {LockType::none, 199},
                                         {LockType::exclusive, 249},
                                         {LockType::shared, 299}});
  CHECK(types_and_ends(300, 310) == Parts{{LockType::shared, 310}});
  CHECK(types_and_ends(390, kLockToEnd) ==
        Parts{{LockType::shared, 399}, {LockType::none, kLockToEnd}});
}

TEST_CASE("record locks and flock do not see each other") {
  LockTable table;
  CHECK(table.set(ask(anna, LockType::exclusive)) == Outcome::granted);
  CHECK(table.set(whole(ben, LockType::exclusive)) == Outcome::granted);
  CHECK(table.set(whole(anna, LockType::shared)) == Outcome::conflict);
}

TEST_CASE("changing an flock gives it up first") {
  LockTable table;
  table.set(whole(anna, LockType::shared));
  table.set(whole(ben, LockType::shared));
  CHECK(table.set(whole(anna, LockType::exclusive)) == Outcome::conflict);
  CHECK(table.set(whole(ben, LockType::exclusive)) == Outcome::granted);
}

TEST_CASE("who waits is granted in order when the lock is free") {
  LockTable table;
  table.set(ask(anna, LockType::exclusive));
  CHECK(table.set_or_wait(ask(ben, LockType::shared), 11) == Outcome::conflict);
  CHECK(table.set_or_wait(ask(carl, LockType::shared), 12) == Outcome::conflict);
  CHECK(table.granted().empty());
  table.set(ask(anna, LockType::none));
  const auto granted = table.granted();
  REQUIRE(granted.size() == 2);
  CHECK(granted[0].ticket == 11);
  CHECK(granted[1].ticket == 12);
}

TEST_CASE("a wait that is given up is forgotten") {
  LockTable table;
  table.set(ask(anna, LockType::exclusive));
  const LockRequest wanted = ask(ben, LockType::exclusive);
  table.set_or_wait(wanted, 11);
  CHECK(!table.cancel(wanted, 12));
  CHECK(table.cancel(wanted, 11));
  CHECK(!table.cancel(wanted, 11));
  table.set(ask(anna, LockType::none));
  CHECK(table.granted().empty());
  CHECK(table.empty());
}

TEST_CASE("waits in a circle are refused, also over several files and owners") {
  LockTable table;
  table.set(ask(anna, LockType::exclusive, 0, 9, "one"));
  table.set(ask(ben, LockType::exclusive, 0, 9, "two"));
  table.set(ask(carl, LockType::exclusive, 0, 9, "three"));
  CHECK(table.set_or_wait(ask(anna, LockType::exclusive, 0, 9, "two"), 1) == Outcome::conflict);
  CHECK(table.set_or_wait(ask(ben, LockType::exclusive, 5, 5, "three"), 1) == Outcome::conflict);
  CHECK(table.set_or_wait(ask(carl, LockType::shared, 0, 0, "one"), 1) == Outcome::deadlock);
  CHECK(table.set_or_wait(ask(carl, LockType::shared, 10, 10, "one"), 1) == Outcome::granted);
}

TEST_CASE("what a dead client held goes to those who wait") {
  LockTable table;
  table.set(ask(anna, LockType::exclusive));
  table.set_or_wait(ask(carl, LockType::exclusive), 5);
  table.set_or_wait(ask(ben, LockType::exclusive), 6);
  table.stop_waiting(carl.client);
  table.release(anna.client);
  const auto granted = table.granted();
  REQUIRE(granted.size() == 1);
  CHECK(granted[0].client == ben.client);
}

TEST_CASE("one client cannot fill the table") {
  LockTable table;
  std::uint64_t held = 0;
  const auto lock_another = [&](const std::string& file) {
    return table.set(ask(anna, LockType::shared, 2 * held, 2 * held, file)) == Outcome::granted;
  };
  while (lock_another("one")) ++held;
  CHECK(held == LockTable::kMaxPerFile);
  for (int file = 0; lock_another(std::to_string(file)); file += (++held % 1024 == 0)) {
  }
  CHECK(held == LockTable::kMaxPerClient);
  CHECK(table.set(ask(ben, LockType::shared, 0, 9, "two")) == Outcome::granted);
}

TEST_CASE("a client that waits for many locks does not hold up the server") {
  LockTable table;
  const auto exclusive = [](std::uint64_t owner, std::uint64_t first, std::uint64_t last) {
    LockRequest request;
    request.node = NodeId{"file"};
    request.owner = {ClientTag{}, owner};
    request.span = {LockKind::record, LockType::exclusive, first, last};
    return request;
  };
  for (std::uint64_t i = 0; i < 2000; ++i) table.set(exclusive(i, i * 10, i * 10));
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < 2000; ++i) {
    REQUIRE(table.set_or_wait(exclusive(100'000 + i, 0, 1'000'000), i + 1) == Outcome::conflict);
  }
  // 17 s where each wait looked at all others for each lock.
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
}

TEST_CASE("cutting a lock in pieces does not fill a file beyond its limit") {
  LockTable table;
  table.set(ask(anna, LockType::exclusive));
  std::uint64_t cut = 0;
  while (table.set(ask(anna, LockType::none, 2 * cut + 1, 2 * cut + 1)) == Outcome::granted) {
    REQUIRE(++cut < 2 * LockTable::kMaxPerFile);
  }
  CHECK(table.all().size() <= LockTable::kMaxPerFile);
  CHECK(table.holds_exactly(ask(anna, LockType::exclusive, 2 * cut + 1, 2 * cut + 1)));
  table.give_up(ask(anna, LockType::exclusive, 2 * cut + 1, 2 * cut + 1));  // unheard of
  CHECK(table.set(ask(ben, LockType::exclusive, 2 * cut + 1, 2 * cut + 1)) == Outcome::too_many);
  CHECK(table.set(ask(anna, LockType::none, 0, 0)) == Outcome::granted);
  CHECK(table.set(ask(anna, LockType::none)) == Outcome::granted);
  CHECK(table.empty());
}

TEST_CASE("many who wait for one lock get it without holding up the server") {
  LockTable table;
  constexpr std::uint64_t kThird = LockTable::kMaxPerFile / 3;
  const auto owner = [](std::uint64_t number) { return LockOwner{client(9), number}; };
  table.set(ask(anna, LockType::exclusive, 1'000'000));
  for (std::uint64_t i = 0; i < kThird; ++i) {
    table.set(ask(owner(i), LockType::exclusive, 2 * i, 2 * i));
  }
  const auto wait = [&](std::uint64_t number, std::uint64_t first, std::uint64_t last) {
    const auto asked = ask(owner(number), LockType::exclusive, first, last);
    REQUIRE(table.set_or_wait(asked, number) == Outcome::conflict);
  };
  for (std::uint64_t i = 0; i < kThird - 2; ++i) wait(10'000 + i, 2 * kThird - 2, 2 * kThird - 2);
  for (std::uint64_t i = 0; i < kThird; ++i) wait(20'000 + i, 1'000'000 + i, 1'000'000 + i);
  const auto begin = std::chrono::steady_clock::now();
  table.set(ask(anna, LockType::none));
  CHECK(table.granted().size() == kThird);
  // Minutes where all were looked at again for each that was granted.
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
}

TEST_CASE("who waits for what others wait to let go of gets it in the end") {
  LockTable table;
  constexpr std::uint64_t kChain = 100;
  const auto owner = [](std::uint64_t number) { return LockOwner{client(9), number}; };
  table.set(ask(anna, LockType::exclusive, 1000, 1000));
  for (std::uint64_t i = 0; i < kChain; ++i) {
    table.set(ask(owner(i), LockType::exclusive, i, i));
  }
  // Each shares its byte when it is granted, which lets in the one before it.
  for (std::uint64_t i = 0; i < kChain; ++i) {
    REQUIRE(table.set_or_wait(ask(owner(i), LockType::shared, i, 1000), i) == Outcome::conflict);
  }
  table.set(ask(anna, LockType::none));
  std::size_t granted = table.granted().size();
  for (std::uint64_t tick = 0; tick < kChain && granted < kChain; ++tick) {
    table.grant_rest();
    granted += table.granted().size();
  }
  CHECK(granted == kChain);
}

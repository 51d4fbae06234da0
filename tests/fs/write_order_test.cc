// docs/file-protocol.md, "Queued changes".
#include "fs/server/write_order.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

using namespace rushfs::fs;

namespace {

const NodeId kFile{"file"};

WriteOrder::Arrival arrive(WriteOrder& order, std::uint64_t sequence, std::uint64_t after,
                           std::uint64_t floor = 0, std::size_t bytes = 10) {
  QueuedOperation operation;
  operation.position = {sequence, after, floor};
  operation.request = Write{};
  operation.body.resize(bytes);
  operation.respond = [](rushfs::transport::Buffer) {};
  return order.arrive(kFile, operation);
}
std::vector<std::uint64_t> next(WriteOrder& order) {
  std::vector<std::uint64_t> out;
  for (const auto& operation : order.next(kFile)) out.push_back(operation.position.sequence);
  return out;
}
using Numbers = std::vector<std::uint64_t>;
using Outcome = WriteOrder::Outcome;

void apply(WriteOrder& order, std::uint64_t sequence, std::uint64_t after) {
  arrive(order, sequence, after);
  REQUIRE(next(order) == Numbers{sequence});
  order.finished(kFile, sequence, false);
}
void tell(std::vector<WriteOrder::Told> waiters) {
  for (auto& told : waiters) std::move(told)();
}

}  // namespace

TEST_CASE("operations of one node are applied in the client's order, whatever arrives first") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    WriteOrder order;
    Numbers all(50);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = 10 + 3 * i;
    Numbers shuffled = all;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    Numbers applied;
    for (const std::uint64_t sequence : shuffled) {
      const auto before = sequence == 10 ? 0 : sequence - 3;
      REQUIRE(arrive(order, sequence, before) == WriteOrder::Arrival::queued);
      for (Numbers run = next(order); !run.empty(); run = next(order)) {
        applied.insert(applied.end(), run.begin(), run.end());
        order.finished(kFile, run.back(), false);
      }
    }
    REQUIRE(applied == all);
    CHECK(order.held_bytes() == 0);
  }
}

TEST_CASE("an operation that comes again was applied before") {
  WriteOrder order;
  arrive(order, 1, 0);
  CHECK(next(order) == Numbers{1});
  order.finished(kFile, 1, false);
  CHECK(arrive(order, 1, 0) == WriteOrder::Arrival::applied_before);
}

TEST_CASE("one that comes again while it is applied is applied once") {
  WriteOrder order;
  arrive(order, 1, 0);
  CHECK(next(order) == Numbers{1});
  CHECK(arrive(order, 1, 0) == WriteOrder::Arrival::queued);
  CHECK(next(order).empty());  // a run is under way
  const auto undone = order.finished(kFile, 1, false);
  CHECK(undone.operations.empty());
  CHECK(undone.repeated.size() == 1);
  CHECK(next(order).empty());
}

TEST_CASE("one that comes again while it waits is applied once, and both are answered") {
  WriteOrder order;
  arrive(order, 2, 1);
  CHECK(arrive(order, 2, 1) == WriteOrder::Arrival::queued);
  CHECK(order.held_bytes() == 10);
  arrive(order, 1, 0);
  CHECK(next(order) == Numbers{1, 2});
  const auto undone = order.finished(kFile, 2, false);
  CHECK(undone.operations.empty());
  CHECK(undone.repeated.size() == 1);
  CHECK(order.held_bytes() == 0);
}

TEST_CASE("what comes again while it waits counts towards what one client may have waiting") {
  WriteOrder order;
  for (std::size_t i = 0; i < WriteOrder::kMaxHeld; ++i) {
    REQUIRE(arrive(order, 2, 1) == WriteOrder::Arrival::queued);
  }
  CHECK(arrive(order, 2, 1) == WriteOrder::Arrival::too_many);
  const auto undone = order.finished(kFile, 0, true);
  CHECK(undone.operations.size() == WriteOrder::kMaxHeld);
  CHECK(arrive(order, 2, 1) == WriteOrder::Arrival::queued);
}

TEST_CASE("what is at or below the client's floor needs no waiting for") {
  WriteOrder order;
  arrive(order, 9, 8);
  CHECK(next(order).empty());
  arrive(order, 10, 9, 8);
  CHECK(next(order) == Numbers{9, 10});
}

TEST_CASE(
    "after a failure everything behind it is handed back, and the client may go on from there") {
  WriteOrder order;
  arrive(order, 1, 0);
  CHECK(next(order) == Numbers{1});
  arrive(order, 2, 1);
  arrive(order, 3, 2);
  CHECK(order.finished(kFile, 0, true).operations.size() == 2);
  SECTION("by repeating") {
    arrive(order, 1, 0);
    arrive(order, 2, 1);
    CHECK(next(order) == Numbers{1, 2});
  }
  SECTION("by giving the failed one up") {
    arrive(order, 2, 0);
    CHECK(next(order) == Numbers{2});
  }
}

TEST_CASE("a commit waits for what it covers, and learns of a failure") {
  WriteOrder order;
  std::optional<Outcome> told;
  arrive(order, 1, 0);
  next(order);
  order.when_applied(kFile, 1, [&](Outcome outcome) { told = outcome; });
  CHECK(!told);
  SECTION("applied") {
    tell(order.finished(kFile, 1, false).waiters);
    CHECK(told == Outcome::applied);
  }
  SECTION("failed") {
    tell(order.finished(kFile, 0, true).waiters);
    CHECK(told == Outcome::failed);
  }
  SECTION("lost while it is applied") {
    CHECK(order.forget(kFile).size() == 1);
    CHECK(order.finished(kFile, 1, false).waiters.empty());
  }
}

TEST_CASE("what a failed sync may have lost is not taken for applied by a run that was under way") {
  WriteOrder order;
  apply(order, 1, 0);
  arrive(order, 2, 1);
  CHECK(next(order) == Numbers{2});  // on a worker, while another syncs
  arrive(order, 2, 1);
  order.forget(kFile);  // that sync fails: 1 may be gone
  order.finished(kFile, 2, false);
  CHECK(next(order).empty());
  CHECK(arrive(order, 1, 0) == WriteOrder::Arrival::queued);  // the client sends all again
  CHECK(next(order) == Numbers{1, 2});
}

TEST_CASE("a client that did not ask for the sync that failed is not left waiting") {
  WriteOrder order;
  apply(order, 1, 0);
  apply(order, 2, 1);
  std::optional<Outcome> told, again;
  order.when_applied(kFile, 3, [&](Outcome outcome) { told = outcome; });
  tell(order.forget(kFile));  // another client's commit has failed
  CHECK(told == Outcome::lost);
  const auto wait = [&](std::uint64_t through) {
    again.reset();
    order.when_applied(kFile, through, [&](Outcome outcome) { again = outcome; });
    return again;
  };
  CHECK(wait(2) == Outcome::lost);
  CHECK(wait(3) == Outcome::lost);  // 3 cannot be applied before 2 has come again
  apply(order, 1, 0);
  CHECK(wait(1) == Outcome::applied);
  CHECK(wait(2) == Outcome::lost);
  apply(order, 2, 1);
  CHECK(wait(2) == Outcome::applied);
  CHECK(!wait(3));
}

TEST_CASE("what was synced is not lost with what came later") {
  WriteOrder order;
  apply(order, 1, 0);
  order.settled(kFile, 1);
  apply(order, 2, 1);
  order.forget(kFile);
  CHECK(arrive(order, 1, 0) == WriteOrder::Arrival::applied_before);
  CHECK(arrive(order, 2, 1) == WriteOrder::Arrival::queued);
  CHECK(next(order) == Numbers{2});
}

TEST_CASE("what is held back is bounded") {
  WriteOrder order;
  std::uint64_t sequence = 2;
  constexpr std::size_t kPart = 4 << 20;
  while (arrive(order, sequence, sequence - 1, 0, kPart) == WriteOrder::Arrival::queued) ++sequence;
  CHECK(order.held_bytes() <= WriteOrder::kMaxHeldBytes);
  CHECK(order.held_bytes() > WriteOrder::kMaxHeldBytes - 2 * kPart);
  order.drop_held();
  CHECK(order.held_bytes() == 0);
}

TEST_CASE("a run stays below its limits") {
  WriteOrder order;
  for (std::uint64_t i = 1; i <= 1000; ++i) arrive(order, i, i - 1);
  CHECK(next(order).size() == WriteOrder::kMaxRun);
}

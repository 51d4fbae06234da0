// The write queue when the power fails: it must open with exactly what was committed.
#include <catch2/catch.hpp>
#include <deque>
#include <random>

#include "cache/write_queue.h"
#include "tests/cache/all_queued.h"
#include "tests/cache/bytes.h"
#include "tests/cache/power_cut.h"
#include "tests/temporary_folder.h"

namespace rushfs::cache {
using testing::TemporaryFolder;
namespace {

constexpr std::uint64_t kPlenty = 1ULL << 40;
constexpr std::uint64_t kStep = 100'000;
using Place = TemporaryFolder::Place;

// Numbers of operations in the queue; file and bytes follow from the number.
using Contents = std::vector<std::uint64_t>;

std::string node_of(std::uint64_t number) {
  return number % 3 == 0 ? "a" : "b";
}

Buffer data_of(std::uint64_t number) {
  return bytes_from_seed(number, 1 + number * 7919 % 20'000);
}

Contents contents_of(WriteQueue& queue) {
  Contents contents;
  for (const Operation& operation : all_queued(queue)) {
    const std::uint64_t number = operation.offset_bytes / kStep;
    REQUIRE(operation.node == node_of(number));
    REQUIRE(operation.data == data_of(number));
    contents.push_back(number);
  }
  return contents;
}

// What was in the queue after a commit, and how many events of the record that took.
struct Commit {
  std::size_t events;
  Contents contents;
};

std::vector<Commit> work(const std::filesystem::path& folder, PowerCutRecorder& record,
                         std::mt19937_64& random) {
  std::vector<Commit> commits = {{0, {}}};
  std::uint64_t number = 0;
  std::deque<std::pair<std::uint64_t, std::uint64_t>> queued;  // number, sequence
  for (int session = 0; session < 3; ++session) {
    WriteQueue queue({folder, kPlenty});
    for (int step = 0; step < 25; ++step) {
      for (std::uint64_t count = random() % 6; count > 0; --count) {
        ++number;
        const std::string node = node_of(number);
        const auto appended = queue.append_write({node, node, {}}, number * kStep, data_of(number));
        REQUIRE(appended);
        queued.emplace_back(number, *appended);
      }
      for (std::uint64_t count = random() % 6; count > 0 && !queued.empty(); --count) {
        queue.complete(std::vector<std::uint64_t>{queued.front().second});
        queued.pop_front();
      }
      REQUIRE(queue.commit());
      Commit commit{record.event_count(), {}};
      for (const auto& [each, sequence] : queued) commit.contents.push_back(each);
      commits.push_back(std::move(commit));
    }
  }
  return commits;
}

}  // namespace

TEST_CASE("after a power cut the queue holds what the last commit said, or the one under way") {
  const std::uint64_t seed = GENERATE(range<std::uint64_t>(1, 4));
  std::mt19937_64 random(seed);
  const TemporaryFolder folder(Place::memory);
  PowerCutRecorder record(folder.path());
  const std::vector<Commit> commits = work(folder.path(), record, random);
  for (int cut = 0; cut < 150; ++cut) {
    const std::size_t events = random() % (record.event_count() + 1);
    CAPTURE(seed, cut, events);
    const TemporaryFolder image(Place::memory);
    record.build_image(image.path(), events, random);
    const auto after = std::find_if(commits.begin(), commits.end(),
                                    [&](const Commit& each) { return each.events > events; });
    WriteQueue queue({image.path(), kPlenty});
    REQUIRE(queue.parked().empty());
    const Contents found = contents_of(queue);
    const bool is_last = found == std::prev(after)->contents;
    const bool is_under_way = after != commits.end() && found == after->contents;
    REQUIRE((is_last || is_under_way));
  }
}

}  // namespace rushfs::cache

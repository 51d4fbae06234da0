#include "fs/server/work_queue.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace rushfs;
using namespace rushfs::fs;
using transport::Priority;

namespace {

/// Holds what is posted until it is told to run it.
class HeldLoop : public Loop {
 public:
  void post(Job job) override { jobs_.push_back(std::move(job)); }
  std::size_t size() const { return jobs_.size(); }
  void run_first() {
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    std::move(job)();
  }
  void run_all() {
    while (!jobs_.empty()) run_first();
  }

 private:
  std::deque<Job> jobs_;
};

struct Story {
  HeldLoop home, workers;
  std::shared_ptr<WorkQueue> queue = std::make_shared<WorkQueue>(home, workers, 8);
  std::vector<std::string> begun;

  void add(Priority priority, std::uint64_t key, const std::string& name) {
    queue->run({priority, key}, [this, name] { return begun.emplace_back(name), true; },
               [](bool) {});
  }
  /// One worker ends its job, and the queue hears of it.
  void end_one() {
    workers.run_first();
    home.run_all();
  }
  void end_all() {
    while (workers.size() > 0) end_one();
  }
};

}  // namespace

TEST_CASE("who waits for a read does not wait behind write-back") {
  Story story;
  for (int i = 0; i < 12; ++i) story.add(Priority::behind, 1, "write");
  CHECK(story.workers.size() == 6);
  for (int i = 0; i < 3; ++i) story.add(Priority::demand, 2, "read");
  CHECK(story.workers.size() == 8);
  story.end_one();  // a write
  story.end_all();
  std::vector<std::string> expected(6, "write");
  expected.insert(expected.end(), 3, "read");
  expected.insert(expected.end(), 6, "write");
  CHECK(story.begun == expected);
}

TEST_CASE("write-back does not wait for the end of what never ends") {
  Story story;
  const auto lane = GENERATE(Priority::urgent, Priority::demand, Priority::ahead);
  const std::uint64_t key = GENERATE(1, 2);  // theirs, another's
  for (int i = 0; i < 100; ++i) story.add(lane, 1, "theirs");
  for (int i = 0; i < 50; ++i) story.add(Priority::behind, key, "write");
  for (int i = 0; i < 20; ++i) {
    story.end_one();
    story.add(lane, 1, "theirs");
  }
  const auto written = std::ranges::count(story.begun, "write");
  CHECK(written >= 1);
  CHECK(written <= 7);  // those who come first still have most workers
}

TEST_CASE("one job behind begins soon beside many urgent ones") {
  Story story;
  for (int i = 0; i < 100; ++i) story.add(Priority::urgent, 1, "theirs");
  for (int i = 0; i < 100; ++i) story.add(Priority::urgent, 3, "hers");
  story.add(Priority::behind, 2, "write");
  for (int i = 0; i < 10; ++i) story.end_one();
  CHECK(std::ranges::count(story.begun, "write") == 1);
}

TEST_CASE("nobody waits behind all that another key has asked for") {
  Story story;
  for (int i = 0; i < 100; ++i) story.add(Priority::demand, 1, "theirs");
  story.add(Priority::demand, 2, "ours");
  story.add(Priority::demand, 3, "hers");
  story.add(Priority::demand, 2, "ours");
  SECTION("one key never has all workers") {
    CHECK(story.workers.size() == 8);
    while (story.begun.size() < 6) story.end_one();
    for (int i = 0; i < 2; ++i) story.end_one();
    CHECK(story.begun == std::vector<std::string>{"theirs", "theirs", "theirs", "theirs", "theirs",
                                                  "theirs", "ours", "hers"});
  }
  SECTION("then keys take turns") {
    while (story.begun.size() < 10) story.end_one();
    CHECK(std::vector(story.begun.begin() + 6, story.begun.end()) ==
          std::vector<std::string>{"ours", "hers", "theirs", "ours"});
  }
  SECTION("nor with work of two kinds") {
    for (int i = 0; i < 100; ++i) story.add(Priority::behind, 1, "write");
    while (story.begun.size() < 40) story.end_one();
    CHECK(story.workers.size() == 7);
  }
  story.end_all();
  CHECK(story.begun.size() >= 103);
}

TEST_CASE("a key with much to do has the workers that nobody else wants, but one in four") {
  Story story;
  for (int i = 0; i < 20; ++i) story.add(Priority::urgent, 1, "theirs");
  CHECK(story.workers.size() == 6);
  story.end_all();
  CHECK(story.begun.size() == 20);
}

TEST_CASE("jobs that outlive the queue answer nobody") {
  Story story;
  bool answered = false;
  story.queue->run({Priority::urgent, 1}, [] { return true; }, [&](bool) { answered = true; });
  story.queue.reset();
  story.workers.run_all();
  story.home.run_all();
  CHECK_FALSE(answered);
}

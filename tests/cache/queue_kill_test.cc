// The write queue under kill -9: a child works on it and is killed at a random moment.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "cache/write_queue.h"
#include "tests/cache/all_queued.h"
#include "tests/cache/bytes.h"
#include "tests/temporary_folder.h"

namespace rushfs::cache {
using testing::TemporaryFolder;
namespace {

constexpr std::uint64_t kPlenty = 1ULL << 40;
constexpr std::uint64_t kStep = 10'000;

// Operations are numbered by the test; the number follows from the offset, the data and the file
// from the number, so that whatever survives can be judged.
std::string node_of(std::uint64_t number) {
  return number % 3 == 0 ? "a" : "b";
}

Buffer data_of(std::uint64_t number) {
  return bytes_from_seed(number, 1 + number * 7919 % 9000);
}

// What the child has been promised, in memory that outlives it.
struct Promises {
  std::atomic<std::uint64_t> appended{0};    // numbers up to this may be there
  std::atomic<std::uint64_t> committed{0};   // numbers up to this must be there,
  std::atomic<std::uint64_t> completing{0};  // except up to this, which may be gone,
  std::atomic<std::uint64_t> completed{0};   // and up to this, which must be gone
};

Promises& shared_promises() {
  void* memory =
      ::mmap(nullptr, sizeof(Promises), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  return *new (memory) Promises;
}

[[noreturn]] void work(const std::filesystem::path& folder, std::uint64_t seed, Promises& told) {
  try {
    WriteQueue queue({folder, kPlenty});
    std::mt19937_64 random(seed);
    std::uint64_t done = told.completed;
    while (true) {
      for (std::uint64_t count = random() % 8; count > 0; --count) {
        const std::uint64_t number = ++told.appended;
        const std::string node = node_of(number);
        if (!queue.append_write({node, node, {}}, number * kStep, data_of(number))) ::_exit(1);
      }
      if (random() % 3 == 0) {
        for (const Operation& operation : queue.next(0, random() % 30'000)) {
          done = operation.offset_bytes / kStep;
          told.completing = done;
          queue.complete(std::vector<std::uint64_t>{operation.sequence});
        }
      }
      if (!queue.commit()) ::_exit(2);
      told.committed = told.appended.load();
      told.completed = done;
    }
  } catch (...) {
    ::_exit(3);
  }
}

// Reads the queue after the kill. What survived is what the log must keep from now on.
void judge(const std::filesystem::path& folder, Promises& told) {
  WriteQueue queue({folder, kPlenty});
  CHECK(queue.parked().empty());
  std::uint64_t last = told.completed;
  std::optional<std::uint64_t> first;
  std::map<std::string, std::uint64_t> previous;
  for (const Operation& operation : all_queued(queue)) {
    const std::uint64_t number = operation.offset_bytes / kStep;
    REQUIRE(operation.node == node_of(number));
    REQUIRE(operation.data == data_of(number));
    REQUIRE(number > last);
    if (first || last >= told.completing) REQUIRE(number == last + 1);
    if (!first) first = number;
    REQUIRE(number <= told.appended);
    REQUIRE(operation.after.value_or(0) == previous[operation.node]);
    previous[operation.node] = operation.sequence;
    last = number;
  }
  REQUIRE(std::max(last, told.completing.load()) >= told.committed);
  if (!first) last = std::max(last, told.completing.load());
  told.completed = told.completing = first ? *first - 1 : last;
  told.appended = told.committed = last;
}

}  // namespace

TEST_CASE("killed at any point, every committed operation is there exactly once and intact") {
  const TemporaryFolder folder;
  Promises& told = shared_promises();
  std::mt19937_64 random(7);
  std::uint64_t survived = 0;
  for (int round = 0; round < 100; ++round) {
    const pid_t child = ::fork();
    if (child == 0) work(folder.path(), random() + static_cast<std::uint64_t>(round), told);
    ::usleep(static_cast<useconds_t>(random() % 60'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    judge(folder.path(), told);
    if (told.committed > told.completed) ++survived;
  }
  // Not by standing still (how far it gets depends on the machine).
  CHECK(survived > 10);
  CHECK(told.completed > 5);
}

}  // namespace rushfs::cache

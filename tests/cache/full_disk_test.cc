#include <catch2/catch.hpp>
#include <cerrno>
#include <fstream>

#include "cache/block_cache.h"
#include "cache/write_queue.h"
#include "tests/cache/bytes.h"
#include "tests/cache/small_disk.h"

namespace rushfs::cache {
namespace {

constexpr std::uint64_t kPlenty = 1ULL << 40;
constexpr std::uint64_t kWriteBytes = 100'000;

Origin from(std::string_view node) {
  return {node, node, {}};
}

// Appends until the disk is full; returns how many writes were taken.
std::uint64_t fill(WriteQueue& queue, std::uint64_t count) {
  while (true) {
    const Buffer data = bytes_from_seed(count, kWriteBytes);
    const auto sequence = queue.append_write(from("clip"), count * kWriteBytes, data);
    if (!sequence) {
      CHECK(sequence.error().value() == ENOSPC);
      return count;
    }
    ++count;
  }
}

void check_all_there(WriteQueue& queue, std::uint64_t first, std::uint64_t end) {
  REQUIRE(queue.stats().operations == end - first);
  std::uint64_t after = 0;
  for (std::uint64_t i = first; i < end; ++i) {
    const std::vector<Operation> batch = queue.next(after, 1);
    REQUIRE(batch.size() == 1);
    REQUIRE(batch[0].offset_bytes == i * kWriteBytes);
    REQUIRE(batch[0].data == bytes_from_seed(i, kWriteBytes));
    after = batch[0].sequence;
  }
}

void take_all_space(const std::filesystem::path& folder) {
  std::ofstream file(folder / "other", std::ios::app);
  while (file << std::string(4096, 'x') << std::flush) {
  }
}

}  // namespace

TEST_CASE("a full disk is ENOSPC to the writer, and what was taken is sent") {
  const SmallDisk disk(32);
  if (!disk.mounted()) {
    WARN("not allowed to mount a tmpfs: skipped");
    return;
  }
  const std::filesystem::path folder = disk.path() / "queue";
  std::uint64_t count = 0;
  {
    WriteQueue queue({folder, kPlenty});
    count = fill(queue, 0);
    CHECK(count > 200);
    check_all_there(queue, 0, count);
    REQUIRE(queue.commit());
  }
  take_all_space(disk.path());
  // Starting and deleting need room in the log too: that is what the reserve is for.
  auto queue = std::make_unique<WriteQueue>(WriteQueue::Options{folder, kPlenty});
  take_all_space(disk.path());
  check_all_there(*queue, 0, count);
  std::vector<std::uint64_t> done;
  for (const Operation& operation : queue->next(0, 50 * kWriteBytes)) {
    done.push_back(operation.sequence);
  }
  REQUIRE(done.size() == 50);
  queue->complete(done);
  REQUIRE(queue->commit());
  const std::uint64_t again = fill(*queue, count);
  CHECK(again > count + 20);
  REQUIRE(queue->commit());
  queue.reset();
  queue = std::make_unique<WriteQueue>(WriteQueue::Options{folder, kPlenty});
  check_all_there(*queue, 50, again);
}

TEST_CASE("what the queue is certain to take it takes, whoever fills the disk") {
  const SmallDisk disk(64);
  if (!disk.mounted()) {
    WARN("not allowed to mount a tmpfs: skipped");
    return;
  }
  WriteQueue queue({disk.path() / "queue", kPlenty});
  CHECK(queue.certain_bytes() == 0);
  std::uint64_t count = 0;
  const auto append = [&] {
    const Buffer data = bytes_from_seed(count, kWriteBytes);
    return queue.append_write(from("clip"), count * kWriteBytes, data);
  };
  const auto take_what_is_certain = [&] {
    const std::uint64_t certain = queue.certain_bytes() / (kWriteBytes + kWriteCost);
    take_all_space(disk.path());
    for (std::uint64_t i = 0; i < certain; ++i, ++count) REQUIRE(append());
  };
  REQUIRE(append());
  CHECK(queue.certain_bytes() >= 4 << 20);
  ++count;
  SECTION("at first") { take_what_is_certain(); }
  SECTION("after much has come and gone") {
    for (; count < 3000; ++count) {
      REQUIRE(append());
      if (count % 10 != 0) continue;
      queue.discard("clip");
      REQUIRE(queue.commit());
    }
    queue.discard("clip");
    REQUIRE(queue.commit());
    take_what_is_certain();
  }
  if (const auto refused = append(); !refused) CHECK(refused.error().value() == ENOSPC);
  CHECK(queue.certain_bytes() < kWriteBytes + kWriteCost);
}

TEST_CASE("a commit that finds no room loses nothing and succeeds when there is room again") {
  const SmallDisk disk(16);
  if (!disk.mounted()) {
    WARN("not allowed to mount a tmpfs: skipped");
    return;
  }
  const std::filesystem::path folder = disk.path() / "queue";
  auto queue = std::make_unique<WriteQueue>(WriteQueue::Options{folder, kPlenty});
  const Buffer payload = bytes_from_seed(1, kMaximumPayloadBytes);
  for (int i = 0; i < 400; ++i) REQUIRE(queue->append_attributes(from("a"), payload, {}));
  CHECK(queue->commit().error().value() == ENOSPC);
  CHECK(queue->stats().uncommitted_operations == 400);
  std::vector<std::uint64_t> some;
  for (const Operation& operation : queue->next(0, 390 * kMaximumPayloadBytes)) {
    REQUIRE(operation.data == payload);
    some.push_back(operation.sequence);
  }
  REQUIRE(some.size() == 390);
  queue->complete(some);
  REQUIRE(queue->commit());
  queue.reset();
  queue = std::make_unique<WriteQueue>(WriteQueue::Options{folder, kPlenty});
  CHECK(queue->stats().operations == 10);
}

TEST_CASE("a full disk makes the block cache smaller, and is no error") {
  const SmallDisk disk(16);
  if (!disk.mounted()) {
    WARN("not allowed to mount a tmpfs: skipped");
    return;
  }
  BlockCache cache({disk.path() / "blocks", kPlenty});
  for (std::uint64_t i = 0; i < 200; ++i) {
    cache.put("clip", 1, i, bytes_from_seed(i, kBlockBytes));
    const auto block = cache.read("clip", 1, i);
    if (block) REQUIRE(*block == bytes_from_seed(i, kBlockBytes));
  }
  CHECK(cache.stats().skipped_puts > 0);
  CHECK(cache.stats().skipped_puts < 100);
  CHECK(cache.stats().hits > 100);
  CHECK(cache.stats().checksum_failures == 0);
}

}  // namespace rushfs::cache

#include "cache/block_cache.h"
#include "cache/database.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <set>

#include "tests/cache/bytes.h"
#include "tests/temporary_folder.h"

namespace rushfs::cache {
using testing::TemporaryFolder;
namespace {

constexpr std::uint64_t kPlenty = 1ULL << 30;

// Disk space of all block data.
std::uint64_t used_on_disk(const std::filesystem::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / "blocks")) {
    struct stat status;
    if (entry.is_regular_file() && ::stat(entry.path().c_str(), &status) == 0) {
      bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
  }
  return bytes;
}

std::filesystem::path only_data_file(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / "blocks")) {
    if (entry.is_regular_file()) return entry.path();
  }
  return {};
}

std::set<std::uint64_t> blocks_of(const BlockCache& cache, std::string_view node,
                                  std::uint64_t version) {
  const auto numbers = cache.blocks_of(node, version);
  return {numbers.begin(), numbers.end()};
}

}  // namespace

TEST_CASE("a block comes back as it was put, under its version only") {
  const TemporaryFolder folder;
  BlockCache cache({folder.path(), kPlenty});
  const Buffer block = bytes_from_seed(1, kBlockBytes);
  const Buffer tail = bytes_from_seed(2, 1234);
  cache.put("clip", 7, 3, block);
  cache.put("clip", 7, 4, tail);
  CHECK(cache.read("clip", 7, 3) == block);
  CHECK(cache.read("clip", 7, 4) == tail);
  CHECK_FALSE(cache.read("clip", 8, 3));
  CHECK_FALSE(cache.read("clip", 7, 2));
  CHECK_FALSE(cache.read("other", 7, 3));
  CHECK(blocks_of(cache, "clip", 7) == std::set<std::uint64_t>{3, 4});
  CHECK(cache.stats().hits == 2);
  CHECK(cache.stats().misses == 3);
}

TEST_CASE("blocks of zeros take no room, and come back as zeros") {
  const TemporaryFolder folder;
  BlockCache cache({folder.path(), kPlenty});
  const Buffer block = bytes_from_seed(1, kBlockBytes), zeros(kBlockBytes), tail(1234);
  for (std::uint64_t number = 0; number < 16; ++number) cache.put("a", 1, number, zeros);
  cache.put("a", 1, 16, tail);
  CHECK(used_on_disk(folder.path()) == 0);
  CHECK(cache.stats().used_bytes == 17 * 4096);
  CHECK(cache.read("a", 1, 3) == zeros);
  CHECK(cache.read("a", 1, 16) == tail);
  cache.put("a", 1, 20, block);
  CHECK(cache.read("a", 1, 20) == block);
  cache.put("a", 1, 20, zeros);
  CHECK(cache.read("a", 1, 20) == zeros);
  CHECK(used_on_disk(folder.path()) == 0);
}

TEST_CASE("blocks of zeros are there again after a restart, and give way to data") {
  const TemporaryFolder folder;
  const Buffer zeros(kBlockBytes), block = bytes_from_seed(1, kBlockBytes);
  {
    BlockCache cache({folder.path(), kBlockBytes});
    for (std::uint64_t number = 0; number < 16; ++number) cache.put("a", 1, number, zeros);
    CHECK(cache.stats().blocks == 16);
  }
  BlockCache cache({folder.path(), kBlockBytes});
  CHECK(cache.stats().used_bytes == 16 * 4096);
  CHECK(cache.read("a", 1, 15) == zeros);
  cache.put("b", 1, 0, block);
  CHECK(cache.read("b", 1, 0) == block);
  CHECK(cache.stats().used_bytes <= kBlockBytes);
}

TEST_CASE("blocks survive a restart and are discarded when the file has changed") {
  const TemporaryFolder folder;
  const Buffer block = bytes_from_seed(1, kBlockBytes);
  { BlockCache({folder.path(), kPlenty}).put("clip", 7, 0, block); }
  {
    BlockCache cache({folder.path(), kPlenty});
    cache.set_version("clip", 7);
    CHECK(cache.read("clip", 7, 0) == block);
    cache.set_version("clip", 8);
    CHECK_FALSE(cache.read("clip", 7, 0));
    CHECK(cache.stats().used_bytes == 0);
    CHECK(used_on_disk(folder.path()) == 0);
  }
  BlockCache cache({folder.path(), kPlenty});
  CHECK_FALSE(cache.read("clip", 7, 0));
}

TEST_CASE("our own change keeps the blocks under the new version") {
  const TemporaryFolder folder;
  const Buffer block = bytes_from_seed(1, kBlockBytes);
  {
    BlockCache cache({folder.path(), kPlenty});
    for (std::uint64_t i = 0; i < 4; ++i) cache.put("clip", 7, i, block);
    cache.drop_range("clip", 1, 2);
    cache.retag("clip", 7, 8);
  }
  BlockCache cache({folder.path(), kPlenty});
  CHECK(blocks_of(cache, "clip", 8) == std::set<std::uint64_t>{0, 3});
  CHECK(cache.read("clip", 8, 3) == block);
  cache.retag("clip", 9, 10);
  CHECK(cache.stats().blocks == 0);
}

TEST_CASE("the budget is real disk space, holds at all times, and the least recently used go") {
  const TemporaryFolder folder;
  const std::uint64_t budget = 64 * kBlockBytes;
  const Buffer block = bytes_from_seed(1, kBlockBytes);
  const Buffer small = bytes_from_seed(2, 100);
  {
    BlockCache cache({folder.path(), budget});
    cache.put("loved", 1, 0, block);
    for (std::uint64_t i = 0; i < 300; ++i) {
      cache.put(i % 3 == 0 ? "one" : "two", 1, i, i % 5 == 0 ? small : block);
      REQUIRE(cache.read("loved", 1, 0));
      REQUIRE(cache.stats().used_bytes <= budget);
      if (i % 20 == 0) REQUIRE(used_on_disk(folder.path()) <= budget);
    }
    CHECK(cache.stats().evictions > 100);
    CHECK(cache.stats().used_bytes > budget * 3 / 4);
    CHECK(blocks_of(cache, "two", 1).contains(299));
    CHECK_FALSE(blocks_of(cache, "two", 1).contains(1));
  }
  BlockCache smaller({folder.path(), budget / 4});
  CHECK(smaller.stats().used_bytes <= budget / 4);
  CHECK(used_on_disk(folder.path()) <= budget / 4);
  CHECK(smaller.read("loved", 1, 0) == block);
}

TEST_CASE("a block beyond what a data file can hold is not kept") {
  const TemporaryFolder folder;
  BlockCache cache({folder.path(), kPlenty});
  const std::uint64_t last = (16ULL << 40) / kBlockBytes - 1;
  cache.put("sparse", 1, last - 1, bytes_from_seed(1, kBlockBytes));
  cache.put("sparse", 1, last, bytes_from_seed(2, 1));
  CHECK(blocks_of(cache, "sparse", 1) == std::set<std::uint64_t>{last - 1});
}

TEST_CASE("the order of use survives a restart") {
  const TemporaryFolder folder;
  const Buffer block = bytes_from_seed(1, kBlockBytes);
  {
    BlockCache cache({folder.path(), 32 * kBlockBytes});
    for (std::uint64_t i = 0; i < 30; ++i) cache.put("clip", 1, i, block);
    CHECK(cache.read("clip", 1, 0));
  }
  BlockCache cache({folder.path(), 32 * kBlockBytes});
  for (std::uint64_t i = 0; i < 5; ++i) cache.put("new", 1, i, block);
  CHECK(blocks_of(cache, "clip", 1).contains(0));
  CHECK_FALSE(blocks_of(cache, "clip", 1).contains(1));
}

TEST_CASE("a block that is not what was put is dropped and counted") {
  const TemporaryFolder folder;
  BlockCache cache({folder.path(), kPlenty});
  cache.put("clip", 1, 0, bytes_from_seed(1, kBlockBytes));
  cache.put("clip", 1, 1, bytes_from_seed(2, kBlockBytes));
  {
    std::fstream file(only_data_file(folder.path()), std::ios::in | std::ios::out);
    file.seekp(1000);
    file.put('!');
  }
  CHECK_FALSE(cache.read("clip", 1, 0));
  CHECK(cache.stats().checksum_failures == 1);
  CHECK(blocks_of(cache, "clip", 1) == std::set<std::uint64_t>{1});
  CHECK(cache.read("clip", 1, 1));
}

TEST_CASE("a damaged index is replaced by an empty one and its data removed") {
  const TemporaryFolder folder;
  {
    BlockCache cache({folder.path(), kPlenty});
    for (std::uint64_t i = 0; i < 50; ++i) cache.put("clip", 1, i, bytes_from_seed(i, 5000));
  }
  std::filesystem::remove(folder.path() / "blocks.db-wal");  // would heal what follows
  const std::uint64_t where = GENERATE(0, 18, 4096 + 5, 8192 + 3);
  {
    std::fstream file(folder.path() / "blocks.db", std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(where));
    file.write("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  }
  BlockCache cache({folder.path(), kPlenty});
  CHECK(cache.stats().blocks == 0);
  CHECK(used_on_disk(folder.path()) == 0);
  cache.put("clip", 1, 0, bytes_from_seed(9, 5000));
  CHECK(cache.read("clip", 1, 0));
}

TEST_CASE("the blocks of another rushfs are given up") {
  const TemporaryFolder folder;
  { BlockCache({folder.path(), kPlenty}).put("clip", 1, 0, bytes_from_seed(1, 5000)); }
  {
    Database database(folder.path() / "blocks.db", Database::Durability::consistent);
    REQUIRE(database.execute("PRAGMA user_version = 99"));
  }
  BlockCache cache({folder.path(), kPlenty});
  CHECK(cache.stats().blocks == 0);
  CHECK(used_on_disk(folder.path()) == 0);
}

TEST_CASE("data without a row is garbage, a row without data is a miss") {
  const TemporaryFolder folder;
  {
    BlockCache cache({folder.path(), kPlenty});
    cache.put("kept", 1, 0, bytes_from_seed(1, kBlockBytes));
    cache.put("lost", 1, 0, bytes_from_seed(2, kBlockBytes));
  }
  std::filesystem::remove(folder.path() / "blocks" / "02" / "0000000000000002");
  std::filesystem::create_directory(folder.path() / "blocks" / "63");
  std::ofstream(folder.path() / "blocks" / "63" / "0000000000000063") << std::string(9999, 'x');
  {
    std::fstream file(folder.path() / "blocks" / "01" / "0000000000000001",
                      std::ios::in | std::ios::out);
    file.seekp(10 * kBlockBytes);
    file << std::string(9999, 'x');
  }
  BlockCache cache({folder.path(), kPlenty});
  CHECK(used_on_disk(folder.path()) == kBlockBytes);
  CHECK(cache.stats().used_bytes == kBlockBytes);
  CHECK(cache.read("kept", 1, 0));
  CHECK_FALSE(cache.read("lost", 1, 0));
}

TEST_CASE("a folder has one owner, and the error names it") {
  const TemporaryFolder folder;
  const BlockCache cache({folder.path(), kPlenty});
  CHECK_THROWS_WITH(BlockCache({folder.path(), kPlenty}),
                    Catch::Contains(folder.path().string()) &&
                        Catch::Contains("process " + std::to_string(::getpid())));
}

TEST_CASE("killed at any point, what is read back is what was put") {
  const TemporaryFolder folder;
  const std::uint64_t budget = 40 * kBlockBytes;
  std::mt19937_64 random(42);
  std::uint64_t hits = 0;
  for (int round = 0; round < 40; ++round) {
    const std::uint64_t seed = random();
    int progress[2];
    REQUIRE(::pipe(progress) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      BlockCache cache({folder.path(), budget});
      std::mt19937_64 choice(seed);
      while (true) {
        const std::uint64_t index = choice() % 60;
        // The bytes follow from file, version and index, so that any survivor can be judged.
        const std::uint64_t version = choice() % 50 == 0 ? 2 : 1;
        cache.put("clip", version, index, bytes_from_seed(version * 1000 + index, 20'000));
        if (choice() % 16 == 0) cache.flush();
        if (::write(progress[1], "+", 1) != 1) std::abort();
      }
    }
    for (std::uint64_t puts = 1 + random() % 100; puts > 0; --puts) {
      char one = 0;
      REQUIRE(::read(progress[0], &one, 1) == 1);
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(progress[0]);
    ::close(progress[1]);
    BlockCache cache({folder.path(), budget});
    REQUIRE(used_on_disk(folder.path()) <= budget);
    for (std::uint64_t version : {1, 2}) {
      for (std::uint64_t index = 0; index < 60; ++index) {
        const auto block = cache.read("clip", version, index);
        if (!block) continue;
        ++hits;
        REQUIRE(*block == bytes_from_seed(version * 1000 + index, 20'000));
      }
    }
  }
  CHECK(hits > 40);
}

}  // namespace rushfs::cache

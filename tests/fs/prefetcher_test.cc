#include "fs/client/prefetcher.h"

#include <catch2/catch.hpp>

using rushfs::fs::Prefetcher;

namespace {
constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kKernel = 128 << 10;
constexpr std::uint64_t kSize = 1024 * kMiB;
constexpr std::uint64_t kPath = 32 * kMiB;
}  // namespace

TEST_CASE("sequential reads of the kernel's default size soon earn what the path holds") {
  Prefetcher prefetcher;
  std::uint64_t reached = 0;
  int reads = 0;
  for (std::uint64_t at = 0; reached < at + kPath; at += kKernel, ++reads) {
    REQUIRE(reads < 40);
    reached = prefetcher.read(at, kKernel, kSize, kPath).to;
  }
  CHECK(reads <= 40);
}

TEST_CASE("the first read from the start of a file brings more of it") {
  Prefetcher prefetcher;
  const auto wish = prefetcher.read(0, kKernel, kSize, kPath);
  CHECK(wish.from == kKernel);
  CHECK(wish.to == kKernel + kPath / 8);
  CHECK(Prefetcher().read(0, kKernel, kSize, 4 * kMiB).to == kKernel + 2 * kMiB);
}

TEST_CASE("requests of one read-ahead window may come in any order") {
  Prefetcher prefetcher;
  for (std::uint64_t at = 0; at < 8 * kMiB; at += 4 * kKernel) {
    for (const int index : {1, 0, 3, 2}) {
      CHECK_FALSE(prefetcher.read(at + index * kKernel, kKernel, kSize, kPath).jumped);
    }
  }
  CHECK(prefetcher.sequential());
}

TEST_CASE("random reads earn nothing") {
  Prefetcher prefetcher;
  prefetcher.read(500 * kMiB, 4096, kSize, kPath);
  for (const std::uint64_t at : {17, 900, 250, 710, 33}) {
    const auto wish = prefetcher.read(at * kMiB, 4096, kSize, kPath);
    CHECK(wish.jumped);
    CHECK(wish.from == wish.to);
  }
  CHECK_FALSE(prefetcher.sequential());
}

TEST_CASE("a jump gives up the window, and reading on from there earns it again") {
  Prefetcher prefetcher;
  for (std::uint64_t at = 0; at < 16 * kMiB; at += kKernel) {
    prefetcher.read(at, kKernel, kSize, kPath);
  }
  const auto jump = prefetcher.read(600 * kMiB, kKernel, kSize, kPath);
  CHECK(jump.jumped);
  CHECK(jump.from == jump.to);
  CHECK(prefetcher.read(600 * kMiB + kKernel, kKernel, kSize, kPath).to > 601 * kMiB);
}

TEST_CASE("nothing is wished for past the end of the file") {
  Prefetcher prefetcher;
  CHECK(prefetcher.read(0, kKernel, 200'000, kPath).to == 200'000);
  CHECK(prefetcher.read(kKernel, 200'000 - kKernel, 200'000, kPath).from == 200'000);
}

// Blocks of remote files kept on local disk under a byte budget, least recently used out first.
//
// Synchronous; one owner (the blocks disk loop); no internal locking. Losing the cache loses no
// data, so nothing here fails a caller: what cannot be kept is skipped and counted. Every block is
// verified (XXH3) when it is read; one that does not match is dropped, counted, and a miss.
// Layout on disk and crash rules: docs/disk-format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/result.h"

namespace rushfs::cache {

// Also the unit in which clients ask the server.
inline constexpr std::uint64_t kBlockBytes = 256 * 1024;

struct BlockCacheStats {
  std::uint64_t used_bytes = 0;  // disk space of block data in whole 4 KiB pages, one for a hole
  std::uint64_t budget_bytes = 0;
  std::uint64_t blocks = 0;
  std::uint64_t files = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t evictions = 0;          // blocks given up for the budget or a full disk
  std::uint64_t checksum_failures = 0;  // blocks on disk that were not what was put
  std::uint64_t skipped_puts = 0;       // blocks that could not be stored (disk full, I/O error)
};

class BlockCache {
 public:
  struct Options {
    std::filesystem::path folder;  // created when missing; belongs to this object alone
    std::uint64_t budget_bytes = 0;
  };

  // Opens or creates the cache and removes what a crash left over. A damaged index is replaced by
  // an empty one, with a log line. Throws std::runtime_error when the folder cannot be used:
  // another process holds it (the message names its pid), no permission, or a newer format.
  explicit BlockCache(const Options& options);
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // The block as it was put under this version, or nothing. The last block of a file may be short.
  std::optional<Buffer> read(std::string_view node, std::uint64_t version, std::uint64_t index);
  // The numbers of the blocks that are there, in no order. Not verified, and not counted as a use.
  std::vector<std::uint64_t> blocks_of(std::string_view node, std::uint64_t version) const;

  // Keeps a block of 1 to kBlockBytes bytes, unless it lies beyond 16 TiB. Blocks of
  // the node under another version are discarded first.
  void put(std::string_view node, std::uint64_t version, std::uint64_t index,
           std::span<const std::uint8_t> bytes);

  // The file is now at this version: discards its blocks if they belong to another one.
  void set_version(std::string_view node, std::uint64_t version);
  // Our own change moved the file from one version to the other; the blocks that stay (drop those
  // that changed, with drop_range) are good under the new one. Blocks of any third version are
  // discarded.
  void retag(std::string_view node, std::uint64_t from_version, std::uint64_t to_version);

  void drop(std::string_view node);
  void drop_range(std::string_view node, std::uint64_t first, std::uint64_t count);

  // Writes index changes gathered in memory to the database. Happens by itself every few thousand
  // changes and on destruction; calling it every few seconds bounds what a crash makes cold.
  void flush();

  // Gives up the least recently used: at least so many bytes, or all. Returns how many. For those
  // whose data must not be lost and who share the disk.
  std::uint64_t give_way(std::uint64_t bytes);

  BlockCacheStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rushfs::cache

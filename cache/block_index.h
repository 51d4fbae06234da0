// What the block cache knows of its blocks: all of it in memory, in order of use, written behind
// to the BlockTable. Touches no block data.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/block_cache.h"
#include "cache/block_table.h"
#include "cache/result.h"

namespace rushfs::cache {

class BlockIndex {
 public:
  struct File;
  struct Block {
    File* file = nullptr;
    std::uint64_t index = 0;
    std::uint64_t length_bytes = 0;
    std::uint64_t checksum = 0;
    std::uint64_t last_use = 0;
    bool has_row = false;  // the table has a row for it, perhaps an older one
  };
  using Blocks = std::list<Block>;
  struct File {
    std::uint64_t id = 0;
    NodeId node;
    std::uint64_t version = 0;
    std::uint64_t used_bytes = 0;  // see space_of()
    bool has_row = false;
    absl::flat_hash_map<std::uint64_t, Blocks::iterator> blocks;
  };

  // Loads the table; a damaged one, or another rushfs's, is replaced by an empty one, with a log
  // line. Throws DatabaseError when the file cannot be used.
  explicit BlockIndex(const std::filesystem::path& file);

  // Data files are no longer than ext4 allows, 16 TiB less a page.
  static constexpr std::uint64_t kLargestIndex = (16ULL << 40) / kBlockBytes - 2;

  // What a block counts against the budget: its pages. A whole block of zeros is a hole in its data
  // file; it counts one for its row.
  static std::uint64_t space_of(std::uint64_t length_bytes, std::uint64_t checksum);

  // Null when there is none.
  File* find(std::string_view node) const;
  File* find(std::uint64_t id) const;
  static Block* find(const File& file, std::uint64_t index);
  // The one to give up next; null when there are no blocks.
  Block* least_recently_used();

  File& create(std::string_view node, std::uint64_t version);
  void set_version(File& file, std::uint64_t version);
  // Enters or replaces a block, which becomes the latest used.
  void put(File& file, std::uint64_t index, std::uint64_t length_bytes, std::uint64_t checksum);
  void touch(Block& block);
  // The file stays, also when this was its last block.
  void remove(Block& block);
  // With all its blocks.
  void remove(File& file);

  // Writes changes since the last time to the table; on failure they wait for the next time.
  void flush();
  std::uint64_t unflushed_changes() const { return changes_; }

  std::uint64_t used_bytes() const { return used_bytes_; }
  std::uint64_t block_count() const { return blocks_.size(); }
  std::uint64_t file_count() const { return files_.size(); }
  std::vector<File*> all_files() const;

 private:
  Result<void> load();
  void load_file(const FileRow& row);
  void load_block(const BlockRow& row);
  void start_empty();

  std::filesystem::path path_;
  std::unique_ptr<BlockTable> table_;
  Blocks blocks_;  // latest used first
  NodeMap<std::unique_ptr<File>> files_;
  absl::flat_hash_map<std::uint64_t, File*> by_id_;
  std::uint64_t next_file_ = 1;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t use_counter_ = 0;
  std::uint64_t flushed_use_ = 0;  // blocks used later than this are not as the table has them
  std::uint64_t changes_ = 0;
  absl::flat_hash_set<File*> changed_files_;
  std::vector<std::uint64_t> removed_files_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> removed_blocks_;
};

}  // namespace rushfs::cache

// The block cache's index on disk: which blocks of which files lie in the cache, and their
// checksums. Only rows; what they mean is block_cache's affair. Tables: docs/disk-format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/database.h"

namespace rushfs::cache {

struct FileRow {
  std::uint64_t id = 0;
  std::string_view node;
  std::uint64_t version = 0;
};

struct BlockRow {
  std::uint64_t file = 0;  // FileRow::id
  std::uint64_t index = 0;
  std::uint64_t length_bytes = 0;
  std::uint64_t checksum = 0;
  std::uint64_t last_use = 0;  // a counter, larger is later
};

class BlockTable {
 public:
  // Throws DatabaseError.
  explicit BlockTable(const std::filesystem::path& file);

  // Every file, then every block from the latest used to the earliest.
  Result<void> load(const std::function<void(const FileRow&)>& on_file,
                    const std::function<void(const BlockRow&)>& on_block);

  struct Changes {
    std::vector<std::uint64_t> removed_files;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> removed_blocks;  // file, index
    std::vector<FileRow> files;                                           // new or changed
    std::vector<BlockRow> blocks;                                         // new or changed
    bool empty() const {
      return removed_files.empty() && removed_blocks.empty() && files.empty() && blocks.empty();
    }
  };
  // All or nothing.
  Result<void> apply(const Changes& changes);

  const std::string& last_failure() const { return database_.last_failure(); }

 private:
  Database database_;
  Statement list_files_;
  Statement list_blocks_;
  Statement put_file_;
  Statement put_block_;
  Statement remove_file_;
  Statement remove_block_;
};

}  // namespace rushfs::cache

#include "cache/block_cache.h"

#include <absl/container/flat_hash_set.h>
#include <xxhash.h>

#include <algorithm>
#include <cassert>

#include "cache/block_files.h"
#include "cache/block_index.h"
#include "cache/folder_lock.h"
#include "cache/sparse_file.h"

namespace rushfs::cache {
namespace {

// Index changes gathered before they are written by themselves: about 20 ms of database work.
constexpr std::uint64_t kFlushChanges = 4096;
// An eviction frees this much more than was asked for, at most a sixteenth of the budget.
constexpr std::uint64_t kEvictionBatchBytes = 64 * 1024 * 1024;

std::uint64_t checksum_of(std::span<const std::uint8_t> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace

struct BlockCache::State {
  using File = BlockIndex::File;
  using Block = BlockIndex::Block;

  explicit State(const Options& options);

  Block* find(std::string_view node, std::uint64_t version, std::uint64_t index) const;
  bool load(Block& block, std::span<std::uint8_t> out);
  void remove(Block& block);
  void remove(File& file);
  void evict(std::uint64_t wanted_bytes);
  bool make_room(std::uint64_t bytes);
  void collect_garbage();
  void flush_when_due() {
    if (index.unflushed_changes() >= kFlushChanges) index.flush();
  }

  FolderLock lock;
  BlockFiles data;
  BlockIndex index;
  BlockCacheStats stats;
};

BlockCache::State::State(const Options& options)
    : lock(options.folder), data(options.folder / "blocks"), index(options.folder / "blocks.db") {
  stats.budget_bytes = options.budget_bytes;
  collect_garbage();
  if (index.used_bytes() > stats.budget_bytes) evict(index.used_bytes() - stats.budget_bytes);
  index.flush();
}

// After a crash the index may lag behind the data, or the data (after a power cut) behind the
// index. Data without a row is freed here; rows without good data are found when they are read.
void BlockCache::State::collect_garbage() {
  absl::flat_hash_set<std::uint64_t> on_disk;
  data.collect_garbage({
      [&](std::uint64_t id) {
        const File* file = index.find(id);
        on_disk.insert(id);
        return file == nullptr ? 0 : file->used_bytes;
      },
      [this](std::uint64_t id, std::uint64_t number) {
        const Block* block = BlockIndex::find(*index.find(id), number);
        return block == nullptr ? 0 : block->length_bytes;
      },
  });
  for (File* file : index.all_files()) {
    if (file->blocks.empty() || !on_disk.contains(file->id)) remove(*file);
  }
}

BlockIndex::Block* BlockCache::State::find(std::string_view node, std::uint64_t version,
                                           std::uint64_t number) const {
  const File* file = index.find(node);
  return file == nullptr || file->version != version ? nullptr : BlockIndex::find(*file, number);
}

bool BlockCache::State::load(Block& block, std::span<std::uint8_t> out) {
  if (data.read(block.file->id, block.index, out) && checksum_of(out) == block.checksum) {
    ++stats.hits;
    index.touch(block);
    return true;
  }
  ++stats.checksum_failures;
  ++stats.misses;
  remove(block);
  return false;
}

void BlockCache::State::remove(Block& block) {
  File& file = *block.file;
  if (file.blocks.size() == 1) return remove(file);
  data.punch(file.id, block.index);
  index.remove(block);
}

void BlockCache::State::remove(File& file) {
  data.remove(file.id);
  index.remove(file);
}

void BlockCache::State::evict(std::uint64_t wanted_bytes) {
  const std::uint64_t batch = std::min(kEvictionBatchBytes, stats.budget_bytes / 16);
  const std::uint64_t before = index.used_bytes();
  while (before - index.used_bytes() < wanted_bytes + batch) {
    Block* block = index.least_recently_used();
    if (block == nullptr) return;
    remove(*block);
    ++stats.evictions;
  }
}

bool BlockCache::State::make_room(std::uint64_t bytes) {
  if (bytes > stats.budget_bytes) return false;
  const std::uint64_t used = index.used_bytes();
  if (used + bytes > stats.budget_bytes) evict(used + bytes - stats.budget_bytes);
  return true;
}

BlockCache::BlockCache(const Options& options) : state_(std::make_unique<State>(options)) {}

BlockCache::~BlockCache() {
  state_->index.flush();
}

std::optional<Buffer> BlockCache::read(std::string_view node, std::uint64_t version,
                                       std::uint64_t index) {
  BlockIndex::Block* block = state_->find(node, version, index);
  if (block == nullptr) {
    ++state_->stats.misses;
    return std::nullopt;
  }
  Buffer bytes(block->length_bytes);
  if (!state_->load(*block, bytes)) return std::nullopt;
  return bytes;
}

std::vector<std::uint64_t> BlockCache::blocks_of(std::string_view node,
                                                 std::uint64_t version) const {
  std::vector<std::uint64_t> numbers;
  const BlockIndex::File* file = state_->index.find(node);
  if (file == nullptr || file->version != version) return numbers;
  for (const auto& [number, block] : file->blocks) numbers.push_back(number);
  return numbers;
}

void BlockCache::put(std::string_view node, std::uint64_t version, std::uint64_t index,
                     std::span<const std::uint8_t> bytes) {
  assert(!node.empty() && node.size() <= kMaximumNodeIdBytes);
  assert(!bytes.empty() && bytes.size() <= kBlockBytes);
  State& state = *state_;
  set_version(node, version);
  if (index > BlockIndex::kLargestIndex) return;
  // An older copy goes first, so that the disk never holds more than the budget.
  drop_range(node, index, 1);
  const std::uint64_t checksum = checksum_of(bytes);
  if (!state.make_room(BlockIndex::space_of(bytes.size(), checksum))) {
    ++state.stats.skipped_puts;
    return;
  }
  BlockIndex::File* file = state.index.find(node);
  if (file == nullptr) file = &state.index.create(node, version);
  if (state.data.write(file->id, index, bytes)) {
    state.index.put(*file, index, bytes.size(), checksum);
  } else {
    ++state.stats.skipped_puts;
    state.data.punch(file->id, index);
    if (file->blocks.empty()) state.remove(*file);
    state.evict(bytes.size());
  }
  state.flush_when_due();
}

void BlockCache::set_version(std::string_view node, std::uint64_t version) {
  BlockIndex::File* file = state_->index.find(node);
  if (file != nullptr && file->version != version) state_->remove(*file);
}

void BlockCache::retag(std::string_view node, std::uint64_t from_version,
                       std::uint64_t to_version) {
  BlockIndex::File* file = state_->index.find(node);
  if (file == nullptr || file->version == to_version) return;
  if (file->version == from_version) {
    state_->index.set_version(*file, to_version);
    state_->flush_when_due();
  } else {
    state_->remove(*file);
  }
}

void BlockCache::drop(std::string_view node) {
  if (BlockIndex::File* file = state_->index.find(node)) state_->remove(*file);
}

void BlockCache::drop_range(std::string_view node, std::uint64_t first, std::uint64_t count) {
  BlockIndex::File* file = state_->index.find(node);
  if (file == nullptr) return;
  std::vector<std::uint64_t> numbers;
  if (count < file->blocks.size()) {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (file->blocks.contains(first + i)) numbers.push_back(first + i);
    }
  } else {
    for (const auto& [number, block] : file->blocks) {
      if (number >= first && number - first < count) numbers.push_back(number);
    }
  }
  if (numbers.size() == file->blocks.size()) return state_->remove(*file);
  for (const std::uint64_t number : numbers) state_->remove(*BlockIndex::find(*file, number));
}

void BlockCache::flush() {
  state_->index.flush();
}

std::uint64_t BlockCache::give_way(std::uint64_t bytes) {
  const std::uint64_t before = state_->index.used_bytes();
  state_->evict(bytes);
  return before - state_->index.used_bytes();
}

BlockCacheStats BlockCache::stats() const {
  BlockCacheStats stats = state_->stats;
  stats.used_bytes = state_->index.used_bytes();
  stats.blocks = state_->index.block_count();
  stats.files = state_->index.file_count();
  return stats;
}

}  // namespace rushfs::cache

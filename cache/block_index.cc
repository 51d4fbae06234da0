#include "cache/block_index.h"

#include <spdlog/spdlog.h>
#include <xxhash.h>

#include <algorithm>
#include <cassert>

#include "cache/sparse_file.h"

namespace rushfs::cache {

std::uint64_t BlockIndex::space_of(std::uint64_t length_bytes, std::uint64_t checksum) {
  static const std::uint64_t zeros = [] {
    const std::vector<std::uint8_t> block(kBlockBytes);
    return XXH3_64bits(block.data(), block.size());
  }();
  if (length_bytes == kBlockBytes && checksum == zeros) return kPageBytes;
  return round_up_to_page(length_bytes);
}

BlockIndex::BlockIndex(const std::filesystem::path& file) : path_(file) {
  try {
    table_ = std::make_unique<BlockTable>(path_);
    if (load()) return;
    spdlog::warn("{}; starting with an empty cache", table_->last_failure());
  } catch (const DatabaseError& error) {
    if (error.kind() == DatabaseError::Kind::unusable) throw;
    const bool damaged = error.kind() == DatabaseError::Kind::damaged;
    spdlog::log(damaged ? spdlog::level::warn : spdlog::level::info,
                "{}; starting with an empty cache", error.what());
  }
  start_empty();
}

void BlockIndex::start_empty() {
  table_.reset();
  Database::remove(path_);
  blocks_.clear();
  files_.clear();
  by_id_.clear();
  removed_files_.clear();
  removed_blocks_.clear();
  used_bytes_ = use_counter_ = flushed_use_ = 0;
  table_ = std::make_unique<BlockTable>(path_);
}

Result<void> BlockIndex::load() {
  const Result<void> loaded = table_->load([this](const FileRow& row) { load_file(row); },
                                           [this](const BlockRow& row) { load_block(row); });
  flushed_use_ = use_counter_;
  return loaded;
}

void BlockIndex::load_file(const FileRow& row) {
  std::unique_ptr<File>& file = files_[NodeId(row.node)];
  if (file != nullptr || row.node.empty()) {
    removed_files_.push_back(row.id);
    return;
  }
  file = std::make_unique<File>();
  file->id = row.id;
  file->node = row.node;
  file->version = row.version;
  file->has_row = true;
  by_id_.emplace(row.id, file.get());
  next_file_ = std::max(next_file_, row.id + 1);
}

void BlockIndex::load_block(const BlockRow& row) {
  const auto file = by_id_.find(row.file);
  if (file == by_id_.end() || row.index > kLargestIndex || row.length_bytes == 0 ||
      row.length_bytes > kBlockBytes) {
    removed_blocks_.emplace_back(row.file, row.index);
    return;
  }
  blocks_.push_back({file->second, row.index, row.length_bytes, row.checksum, row.last_use, true});
  file->second->blocks.emplace(row.index, std::prev(blocks_.end()));
  const std::uint64_t space = space_of(row.length_bytes, row.checksum);
  file->second->used_bytes += space;
  used_bytes_ += space;
  use_counter_ = std::max(use_counter_, row.last_use);
}

BlockIndex::File* BlockIndex::find(std::string_view node) const {
  const auto found = files_.find(node);
  return found == files_.end() ? nullptr : found->second.get();
}

BlockIndex::File* BlockIndex::find(std::uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

BlockIndex::Block* BlockIndex::find(const File& file, std::uint64_t index) {
  const auto found = file.blocks.find(index);
  return found == file.blocks.end() ? nullptr : &*found->second;
}

BlockIndex::Block* BlockIndex::least_recently_used() {
  return blocks_.empty() ? nullptr : &blocks_.back();
}

BlockIndex::File& BlockIndex::create(std::string_view node, std::uint64_t version) {
  std::unique_ptr<File>& file = files_[NodeId(node)];
  assert(file == nullptr);
  file = std::make_unique<File>();
  file->id = next_file_++;
  file->node = node;
  file->version = version;
  by_id_.emplace(file->id, file.get());
  changed_files_.insert(file.get());
  ++changes_;
  return *file;
}

void BlockIndex::set_version(File& file, std::uint64_t version) {
  file.version = version;
  changed_files_.insert(&file);
  ++changes_;
}

void BlockIndex::put(File& file, std::uint64_t index, std::uint64_t length_bytes,
                     std::uint64_t checksum) {
  assert(index <= kLargestIndex && length_bytes > 0 && length_bytes <= kBlockBytes);
  auto [found, is_new] = file.blocks.try_emplace(index);
  if (is_new) {
    blocks_.push_front({&file, index, 0, 0, 0, false});
    found->second = blocks_.begin();
  }
  Block& block = *found->second;
  const std::uint64_t before = space_of(block.length_bytes, block.checksum);
  const std::uint64_t after = space_of(length_bytes, checksum);
  file.used_bytes = file.used_bytes - before + after;
  used_bytes_ = used_bytes_ - before + after;
  block.length_bytes = length_bytes;
  block.checksum = checksum;
  touch(block);
  ++changes_;
}

void BlockIndex::touch(Block& block) {
  block.last_use = ++use_counter_;
  blocks_.splice(blocks_.begin(), blocks_, block.file->blocks.find(block.index)->second);
}

void BlockIndex::remove(Block& block) {
  File& file = *block.file;
  const std::uint64_t bytes = space_of(block.length_bytes, block.checksum);
  file.used_bytes -= bytes;
  used_bytes_ -= bytes;
  if (block.has_row) removed_blocks_.emplace_back(file.id, block.index);
  const auto entry = file.blocks.find(block.index);
  const Blocks::iterator position = entry->second;
  file.blocks.erase(entry);
  blocks_.erase(position);
  ++changes_;
}

void BlockIndex::remove(File& file) {
  while (!file.blocks.empty()) remove(*file.blocks.begin()->second);
  if (file.has_row) removed_files_.push_back(file.id);
  changed_files_.erase(&file);
  by_id_.erase(file.id);
  const NodeId node = file.node;
  files_.erase(node);
  ++changes_;
}

void BlockIndex::flush() {
  BlockTable::Changes changes;
  changes.removed_files = removed_files_;
  changes.removed_blocks = removed_blocks_;
  for (const File* file : changed_files_) {
    changes.files.push_back({file->id, file->node, file->version});
  }
  for (const Block& block : blocks_) {
    if (block.last_use <= flushed_use_) break;
    changes.blocks.push_back(
        {block.file->id, block.index, block.length_bytes, block.checksum, block.last_use});
  }
  changes_ = 0;
  if (changes.empty()) return;
  if (!table_->apply(changes)) {
    spdlog::warn("{}; the cache index on disk stays behind", table_->last_failure());
    return;
  }
  for (File* file : changed_files_) file->has_row = true;
  for (Block& block : blocks_) {
    if (block.last_use <= flushed_use_) break;
    block.has_row = true;
  }
  flushed_use_ = use_counter_;
  changed_files_.clear();
  removed_files_.clear();
  removed_blocks_.clear();
}

std::vector<BlockIndex::File*> BlockIndex::all_files() const {
  std::vector<File*> files;
  files.reserve(files_.size());
  for (const auto& [node, file] : files_) files.push_back(file.get());
  return files;
}

}  // namespace rushfs::cache

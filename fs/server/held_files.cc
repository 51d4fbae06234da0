#include "fs/server/held_files.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <utility>

namespace rushfs::fs {

std::string orphan_name(const NodeId& node) {
  const XXH128_hash_t hash = XXH3_128bits(node.bytes.data(), node.bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::size_t HeldFiles::count(std::uint64_t key) const {
  const auto count = by_key_.find(key);
  return count == by_key_.end() ? 0 : count->second;
}

void HeldFiles::uncount(std::uint64_t key, std::size_t files) {
  const auto count = by_key_.find(key);
  if (count != by_key_.end() && (count->second -= files) == 0) by_key_.erase(count);
}

bool HeldFiles::full_for(const Holder& holder) const {
  const std::size_t mine = count(holder.client.key());
  return mine >= kMaxPerKey || (files_.size() >= kMaxHeld && mine >= kFew);
}

bool HeldFiles::hold(const Holder& holder, const NodeRef& node) {
  const std::uint64_t key = holder.client.key();
  const auto known = files_.find(node->id());
  if (known == files_.end()) {
    if (full_for(holder)) return false;
  } else if (!known->second.holders.contains(holder)) {
    if (known->second.kept_for != key && count(key) >= kMaxPerKey) return false;
  }
  File& file = files_[node->id()];
  if (file.kept_for) uncount(*std::exchange(file.kept_for, std::nullopt), 1);
  file.until.reset();
  keep_open(file, node);
  if (!file.holders.insert(holder).second) return true;
  ++by_key_[key];
  by_holder_[holder].insert(node->id());
  return true;
}

void HeldFiles::keep_open(File& file, const NodeRef& node) {
  if (file.node || kept_open_ >= most_kept_open_) return;
  file.node = node;
  ++kept_open_;
}

NodeRef HeldFiles::node(const NodeId& node) const {
  const auto file = files_.find(node);
  return file == files_.end() ? nullptr : file->second.node;
}

void HeldFiles::set_orphan(const NodeId& node, std::string name) {
  const auto file = files_.find(node);
  if (file != files_.end()) file->second.orphan = std::move(name);
}

bool HeldFiles::is_orphan(const NodeId& node) const {
  const auto file = files_.find(node);
  return file != files_.end() && !file->second.orphan.empty();
}

void HeldFiles::restore(const OrphanFile& orphan, transport::TimePoint until) {
  File& file = files_[orphan.node->id()];
  keep_open(file, orphan.node);
  file.orphan = orphan.name;
  file.until = until;
}

void HeldFiles::release(const Holder& holder, const NodeId& node, LetGo& out) {
  const auto file = files_.find(node);
  if (file == files_.end() || file->second.holders.erase(holder) == 0) return;
  if (!file->second.holders.empty()) return;
  if (!file->second.orphan.empty()) out.orphans.push_back(file->second.orphan);
  out.nodes.push_back(node);
  if (file->second.node) --kept_open_;
  files_.erase(file);
}

HeldFiles::LetGo HeldFiles::release(const Holder& holder, const NodeId& node) {
  LetGo out;
  const auto mine = by_holder_.find(holder);
  if (mine == by_holder_.end()) return out;
  release(holder, node, out);
  uncount(holder.client.key(), mine->second.erase(node));
  if (mine->second.empty()) by_holder_.erase(mine);
  return out;
}

HeldFiles::LetGo HeldFiles::release_all(const Holder& holder) {
  LetGo out;
  const auto mine = by_holder_.find(holder);
  if (mine == by_holder_.end()) return out;
  for (const NodeId& node : mine->second) release(holder, node, out);
  uncount(holder.client.key(), mine->second.size());
  by_holder_.erase(mine);
  return out;
}

void HeldFiles::retire(const Holder& holder, transport::TimePoint until) {
  const auto mine = by_holder_.find(holder);
  if (mine == by_holder_.end()) return;
  const std::uint64_t key = holder.client.key();
  for (const NodeId& node : mine->second) {
    File& file = files_.at(node);
    file.holders.erase(holder);
    if (file.holders.empty()) {
      file.until = until;
      file.kept_for = key;
    } else {
      uncount(key, 1);
    }
  }
  by_holder_.erase(mine);
}

HeldFiles::LetGo HeldFiles::expire(transport::TimePoint now) {
  LetGo out;
  std::erase_if(files_, [&](const auto& entry) {
    const File& file = entry.second;
    if (!file.until || now < *file.until) return false;
    if (!file.orphan.empty()) out.orphans.push_back(file.orphan);
    out.nodes.push_back(entry.first);
    if (file.node) --kept_open_;
    if (file.kept_for) uncount(*file.kept_for, 1);
    return true;
  });
  return out;
}

}  // namespace rushfs::fs

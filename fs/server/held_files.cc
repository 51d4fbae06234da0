#include "fs/server/held_files.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace rushfs::fs {

std::string orphan_name(const NodeId& node) {
  const XXH128_hash_t hash = XXH3_128bits(node.bytes.data(), node.bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

bool HeldFiles::full_for(const Holder& holder) const {
  const auto count = by_key_.find(holder.client.key());
  return files_.size() >= kMaxHeld || (count != by_key_.end() && count->second >= kMaxPerKey);
}

bool HeldFiles::hold(const Holder& holder, const NodeRef& node) {
  const auto before = by_holder_.find(holder);
  if (before == by_holder_.end() || !before->second.contains(node->id())) {
    if (full_for(holder)) return false;
    ++by_key_[holder.client.key()];
    by_holder_[holder].insert(node->id());
  }
  File& file = files_[node->id()];
  keep_open(file, node);
  file.holders.insert(holder);
  file.until.reset();
  return true;
}

void HeldFiles::uncount(const Holder& holder, std::size_t files) {
  const auto count = by_key_.find(holder.client.key());
  if (count != by_key_.end() && (count->second -= files) == 0) by_key_.erase(count);
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
  uncount(holder, mine->second.erase(node));
  if (mine->second.empty()) by_holder_.erase(mine);
  return out;
}

HeldFiles::LetGo HeldFiles::release_all(const Holder& holder) {
  LetGo out;
  const auto mine = by_holder_.find(holder);
  if (mine == by_holder_.end()) return out;
  for (const NodeId& node : mine->second) release(holder, node, out);
  uncount(holder, mine->second.size());
  by_holder_.erase(mine);
  return out;
}

void HeldFiles::retire(const Holder& holder, transport::TimePoint until) {
  const auto mine = by_holder_.find(holder);
  if (mine == by_holder_.end()) return;
  for (const NodeId& node : mine->second) {
    File& file = files_.at(node);
    file.holders.erase(holder);
    if (file.holders.empty()) file.until = until;
  }
  uncount(holder, mine->second.size());
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
    return true;
  });
  return out;
}

}  // namespace rushfs::fs

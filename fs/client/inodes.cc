#include "fs/client/inodes.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "fs/posix_acl.h"

namespace rushfs::fs {

Timestamp wall_time(const LoopTime& time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time.wall);
  return {whole.count(), static_cast<std::uint32_t>((time.wall - whole).count())};
}

void LocalChanges::wrote(std::uint64_t offset, std::uint64_t length, Timestamp now) {
  size.write_end_bytes = std::max(size.write_end_bytes, offset + length);
  allocated += length;
  mtime = ctime = now;
  unstamped = true;
}

void LocalChanges::set(const SetAttributes& change, Timestamp now) {
  ctime = now;
  if (change.mode) {
    mode = change.mode;
    permissions.reset();
  }
  if (change.uid) uid = change.uid;
  if (change.gid) gid = change.gid;
  if (change.size) {
    size = {change.size, 0};
    mtime = now;
    unstamped = true;
  }
  if (change.atime) atime = change.atime->now ? now : change.atime->time;
  if (change.mtime) {
    mtime = change.mtime->now ? now : change.mtime->time;
    unstamped = false;
  }
}

void LocalChanges::set(const SetXattr& change, Timestamp now) {
  ctime = now;
  if (change.name == kAccessAcl && change.value) {
    if (const auto bits = mode_of_acl(*change.value)) permissions = bits;
    if (acl_is_minimal(*change.value)) {
      xattrs[change.name] = std::nullopt;
      return;
    }
  }
  xattrs[change.name] = change.value;
}

void LocalChanges::set(const Allocate& change, Timestamp now) {
  const bool keeps_size = (change.mode & FALLOC_FL_KEEP_SIZE) != 0;
  if (!keeps_size) {
    size.write_end_bytes = std::max(size.write_end_bytes, change.offset + change.length);
  }
  if ((change.mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) zeros = true;
  if ((change.mode & FALLOC_FL_PUNCH_HOLE) == 0) allocated += change.length;
  mtime = ctime = now;
  unstamped = true;
}

bool Inode::regular() const { return S_ISREG(server.mode); }
bool Inode::directory() const { return S_ISDIR(server.mode); }

Attributes Inode::view() const {
  Attributes seen = server;
  if (read_at) seen.atime = *read_at;
  if (local.operations == 0) {
    if (local.unstamped && local.mtime) seen.mtime = *local.mtime;
    return seen;
  }
  seen.size = size();
  if (seen.size > server.size) {
    seen.blocks += (std::min(seen.size - server.size, local.allocated) + 511) / 512;
  }
  if (seen.size < server.size) seen.blocks = std::min(seen.blocks, (seen.size + 511) / 512);
  if (local.mode) seen.mode = (seen.mode & S_IFMT) | (*local.mode & 07777);
  if (local.permissions) seen.mode = (seen.mode & ~0777u) | *local.permissions;
  if (local.uid) seen.uid = *local.uid;
  if (local.gid) seen.gid = *local.gid;
  if (local.atime && !read_at) seen.atime = *local.atime;
  if (local.mtime) seen.mtime = *local.mtime;
  seen.ctime = std::max(seen.ctime, local.ctime);
  return seen;
}

NodeReference reference_to(const InodeRef& inode) {
  if (!inode) return {};
  ++inode->lookups;
  return {inode->number, inode->view(), inode->ended};
}

void Inodes::set_root(const NodeId& node, const Attributes& attributes) {
  if (const auto old = find(kRootNode); old && old->node != node) {
    by_node_.erase(old->node);
    by_tag_.erase(tag_of(old->node));
    by_number_.erase(kRootNode.value);
  }
  auto root = find(kRootNode);
  if (!root) {
    root = std::make_shared<Inode>();
    root->number = kRootNode;
    root->node = node;
    root->lookups = 1;
    by_number_[kRootNode.value] = root;
    by_node_[node] = root;
    by_tag_[tag_of(node)] = root;
  }
  root->server = attributes;
  root->validated = time_.now;
}

InodeRef Inodes::numbered(NodeNumber number) const {
  const auto found = by_number_.find(number.value);
  return found == by_number_.end() ? nullptr : found->second;
}

InodeRef Inodes::find(NodeNumber number) const {
  auto inode = numbered(number);
  while (inode && inode->made_again) inode = inode->made_again;
  return inode;
}

InodeRef Inodes::find(const NodeId& node) const {
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? nullptr : found->second;
}

InodeRef Inodes::find(NodeTag tag) const {
  const auto found = by_tag_.find(tag);
  return found == by_tag_.end() ? nullptr : found->second.lock();
}

InodeRef Inodes::recall(NodeNumber number) {
  if (const auto inode = find(number)) return inode;
  const NodeId* node = given_up_.find(number.value);
  return node == nullptr ? nullptr : get(NodeId(*node));
}

// A file that is met again has the number it had.
NodeNumber Inodes::number_for(const NodeId& node) {
  const NodeNumber* before = given_up_numbers_.find(node);
  if (before == nullptr) return {next_++};
  const NodeNumber number = *before;
  given_up_.erase(number.value);
  given_up_numbers_.erase(node);
  return number;
}

InodeRef Inodes::get(const NodeId& node) {
  auto& inode = by_node_[node];
  if (!inode) {
    inode = std::make_shared<Inode>();
    inode->number = number_for(node);
    inode->node = node;
    by_number_[inode->number.value] = inode;
    by_tag_[tag_of(node)] = inode;
    candidates_.push_back(inode->number);
  }
  return inode;
}

InodeRef Inodes::child(NodeNumber parent, const std::string& name) const {
  const auto found = by_name_.find({parent, name});
  return found == by_name_.end() ? nullptr : find(found->second.number);
}

transport::TimePoint Inodes::named_since(NodeNumber parent, const std::string& name) const {
  const auto found = by_name_.find({parent, name});
  return found == by_name_.end() ? transport::TimePoint() : found->second.since;
}

void Inodes::set_name(Inode& inode, NodeNumber parent, const std::string& name, bool asked) {
  inode.parent = parent;
  inode.name = name;
  const auto now = by_name_.try_emplace({parent, name}).first;
  if (const auto before = numbered(now->second.number)) before->names.erase(&now->first);
  now->second = {inode.number, asked ? time_.now : transport::TimePoint()};
  inode.names.insert(&now->first);
}

void Inodes::drop_name(NodeNumber parent, const std::string& name) {
  const auto found = by_name_.find({parent, name});
  if (found == by_name_.end()) return;
  if (const auto inode = numbered(found->second.number)) inode->names.erase(&found->first);
  by_name_.erase(found);
}

std::string Inodes::path(const Inode& inode) const {
  if (inode.number == kRootNode) return ".";
  std::string path = inode.name;
  // A folder moved into itself by somebody else must not make this endless.
  constexpr int kDeepest = 256;
  NodeNumber parent = inode.parent;
  for (int depth = 0; depth < kDeepest && parent != kRootNode; ++depth) {
    const auto above = find(parent);
    if (!above) break;
    path = above->name + "/" + path;
    parent = above->parent;
  }
  return path;
}

void Inodes::forget(NodeNumber number, std::uint64_t count) {
  const auto inode = numbered(number);
  if (!inode) return;
  assert(inode->lookups >= count);
  inode->lookups -= count;
  if (inode->lookups == 0) candidates_.push_back(number);
}

bool Inodes::needed(const InodeRef& inode) const {
  constexpr long kOwnReferences = 2;  // of the two tables
  return inode->number == kRootNode || inode->lookups > 0 || inode->opens > 0 ||
         inode->local.operations > 0 || inode.use_count() > kOwnReferences;
}

void Inodes::sweep(const std::function<void(Inode&)>& let_go) {
  std::deque<NodeNumber> still_needed;
  for (const NodeNumber number : std::exchange(candidates_, {})) {
    const auto found = by_number_.find(number.value);
    if (found == by_number_.end()) continue;
    if (found->second->lookups > 0) continue;  // forget() brings it back
    if (needed(found->second)) {
      still_needed.push_back(number);
      continue;
    }
    let_go(*found->second);
    const auto oldest = remembered_.put(number.value, {});
    if (oldest && !give_up({*oldest}, let_go)) still_needed.push_back({*oldest});
  }
  candidates_ = std::move(still_needed);
}

bool Inodes::give_up(NodeNumber number, const std::function<void(Inode&)>& let_go) {
  const auto found = by_number_.find(number.value);
  if (found == by_number_.end() || found->second->lookups > 0) return true;
  if (needed(found->second)) return false;
  let_go(*found->second);
  for (const PlaceName* name : found->second->names) by_name_.erase(by_name_.find(*name));
  const NodeId node = found->second->node;
  given_up_.put(number.value, node);
  given_up_numbers_.put(node, number);
  by_tag_.erase(tag_of(node));
  by_node_.erase(node);
  by_number_.erase(found);
  return true;
}

void Inodes::each(const std::function<void(Inode&)>& visit) {
  for (auto& [number, inode] : by_number_) visit(*inode);
}

}  // namespace rushfs::fs

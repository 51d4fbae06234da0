#include "tests/sim/memory_disk.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace rushfs::sim {

using fs::errno_code;

namespace {

constexpr std::uint32_t kBlock = 4096;

bool below(const MemoryDisk::FileRef& folder, const MemoryDisk::File& above) {
  for (auto at = folder; at; at = at->parent.lock()) {
    if (at.get() == &above) return true;
  }
  return false;
}

fs::Timestamp timestamp(std::chrono::nanoseconds time) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  return {time.count() / kSecond, static_cast<std::uint32_t>(time.count() % kSecond)};
}

/// As the kernel does when somebody writes to a file.
void drop_set_id(MemoryDisk::File& file) {
  file.mode &= ~static_cast<std::uint32_t>(S_ISUID);
  if ((file.mode & S_IXGRP) != 0) file.mode &= ~static_cast<std::uint32_t>(S_ISGID);
}

}  // namespace

bool MemoryDisk::File::folder() const {
  return S_ISDIR(mode);
}
bool MemoryDisk::File::regular() const {
  return S_ISREG(mode);
}

MemoryDisk::MemoryDisk(const fs::LoopTime& time) : time_(time) {
  root_ = *make(nullptr, "", {}, S_IFDIR | 0755);
  orphans_ = *make(nullptr, "", {}, S_IFDIR | 0700);
}

MemoryDisk::FileRef MemoryDisk::find(std::uint64_t inode) const {
  const auto found = files_.find(inode);
  return found == files_.end() ? nullptr : found->second.lock();
}

fs::Attributes MemoryDisk::attributes(const File& file) {
  fs::Attributes out;
  out.version = {static_cast<std::uint64_t>(file.ctime.seconds) * 1'000'000'000 +
                 file.ctime.nanoseconds};
  out.inode = file.inode;
  out.mode = file.mode;
  out.links = file.links;
  out.uid = file.uid;
  out.gid = file.gid;
  out.device_major = file.major;
  out.device_minor = file.minor;
  out.size = file.folder() ? kBlock : file.bytes->size();
  out.blocks = (out.size + kBlock - 1) / kBlock * (kBlock / 512);
  out.block_size = kBlock;
  out.atime = file.atime;
  out.mtime = file.mtime;
  out.ctime = file.ctime;
  out.btime = file.birth;
  if (!file.xattrs.empty()) out.traits = fs::kHasXattrs;
  return out;
}

// ---- Time, and who hears of a change ----------------------------------------------------------

fs::Timestamp MemoryDisk::stamp() {
  last_stamp_ = std::max(time_.wall, last_stamp_ + std::chrono::nanoseconds(1));
  return timestamp(last_stamp_);
}

void MemoryDisk::change(File& file, const std::string& name) {
  file.ctime = stamp();
  if (auto kept = find(file.inode)) changed_[file.inode] = std::move(kept);
  if (beside && watcher_) watcher_(file, name);
}

void MemoryDisk::touched(File& file) {
  change(file);
}

// ---- Names ------------------------------------------------------------------------------------

MemoryDisk::Result<MemoryDisk::FileRef> MemoryDisk::look_up(const File& folder,
                                                            const std::string& name) const {
  if (!folder.folder()) return errno_code(ENOTDIR);
  if (name.size() > fs::kMaxName) return errno_code(ENAMETOOLONG);
  const auto found = folder.names.find(name);
  if (found == folder.names.end()) return errno_code(ENOENT);
  return found->second.file;
}

void MemoryDisk::enter(File& folder, const std::string& name, const FileRef& file) {
  folder.names[name] = {folder.next_cookie++, file};
  if (&folder == orphans_.get()) {
    if (folder.names.size() == 1) ++root_->links, root_->mtime = stamp(), change(*root_);
    ++file->hidden;
  }
  if (file->folder()) {
    ++folder.links;
    if (const auto kept = find(folder.inode)) file->parent = kept;
  }
  folder.mtime = stamp();
  change(folder, name);
}

void MemoryDisk::leave(File& folder, const std::string& name) {
  const auto found = folder.names.find(name);
  const FileRef file = found->second.file;
  folder.names.erase(found);
  if (&folder == orphans_.get()) {
    if (folder.names.empty()) --root_->links, root_->mtime = stamp(), change(*root_);
    --file->hidden;
  }
  if (file->folder()) --folder.links;
  folder.mtime = stamp();
  change(folder, name);
}

void MemoryDisk::unlinked(File& file) {
  file.links = file.folder() ? 0 : file.links - 1;
  change(file);
}

MemoryDisk::Result<MemoryDisk::FileRef> MemoryDisk::make(const FileRef& folder,
                                                         const std::string& name,
                                                         const fs::Caller& caller,
                                                         std::uint32_t mode) {
  if (folder && !folder->folder()) return errno_code(ENOTDIR);
  if (folder && folder->links == 0) return errno_code(ENOENT);
  if (name.size() > fs::kMaxName) return errno_code(ENAMETOOLONG);
  if (folder && folder->names.contains(name)) return errno_code(EEXIST);
  auto file = std::make_shared<File>();
  file->inode = next_inode_++;
  file->mode = mode & ~(caller.umask & 0777);
  file->uid = caller.uid;
  file->gid = caller.gid;
  file->links = S_ISDIR(mode) ? 2 : 1;
  file->bytes = file->on_platter = std::make_shared<const std::string>();
  file->atime = file->mtime = file->birth = stamp();
  files_[file->inode] = file;
  if (folder && name.empty()) {
    file->links = 0;
    file->unnamed = true;
  } else if (folder) {
    enter(*folder, name, file);
  }
  change(*file);
  return file;
}

MemoryDisk::Result<void> MemoryDisk::link(const FileRef& file, File& folder,
                                          const std::string& name) {
  if (!folder.folder()) return errno_code(ENOTDIR);
  if (name.size() > fs::kMaxName) return errno_code(ENAMETOOLONG);
  if (folder.names.contains(name)) return errno_code(EEXIST);
  if (folder.links == 0) return errno_code(ENOENT);
  if (file->links == 0 && !file->unnamed) return errno_code(ENOENT);
  file->unnamed = false;
  ++file->links;
  change(*file);
  enter(folder, name, file);
  return boost::system::in_place_value;
}

MemoryDisk::Result<void> MemoryDisk::unlink(File& folder, const std::string& name) {
  const auto found = look_up(folder, name);
  if (!found) return found.error();
  if ((*found)->folder()) return errno_code(EISDIR);
  leave(folder, name);
  unlinked(**found);
  return boost::system::in_place_value;
}

MemoryDisk::Result<void> MemoryDisk::remove_directory(File& folder, const std::string& name) {
  const auto found = look_up(folder, name);
  if (!found) return found.error();
  if (!(*found)->folder()) return errno_code(ENOTDIR);
  if (!(*found)->names.empty()) return errno_code(ENOTEMPTY);
  leave(folder, name);
  unlinked(**found);
  return boost::system::in_place_value;
}

MemoryDisk::Result<void> MemoryDisk::may_replace(const File& file, const File* replaced,
                                                 const FileRef& to) const {
  if (file.folder() && below(to, file)) return errno_code(EINVAL);
  if (replaced == nullptr) return boost::system::in_place_value;
  if (file.folder() && !replaced->folder()) return errno_code(ENOTDIR);
  if (!file.folder() && replaced->folder()) return errno_code(EISDIR);
  if (!replaced->names.empty()) return errno_code(ENOTEMPTY);
  return boost::system::in_place_value;
}

MemoryDisk::Result<void> MemoryDisk::exchange(File& from, const std::string& from_name, File& to,
                                              const std::string& to_name) {
  const auto first = look_up(from, from_name), second = look_up(to, to_name);
  leave(from, from_name);
  leave(to, to_name);
  enter(from, from_name, *second);
  enter(to, to_name, *first);
  change(**first);
  change(**second);
  return boost::system::in_place_value;
}

MemoryDisk::Result<void> MemoryDisk::rename(const FileRef& from, const std::string& from_name,
                                            const FileRef& to, const std::string& to_name,
                                            fs::RenameMode mode) {
  using fs::RenameMode;
  if (!from->folder() || !to->folder()) return errno_code(ENOTDIR);
  const auto found = look_up(*from, from_name), there = look_up(*to, to_name);
  if (!found) return found.error();
  if (!there && there.error() != errno_code(ENOENT)) return there.error();
  const bool keep = mode == RenameMode::no_replace || mode == RenameMode::no_replace_whiteout;
  if (there && keep) return errno_code(EEXIST);
  if (mode == RenameMode::exchange) {
    if (!there) return errno_code(ENOENT);
    if (below(to, **found) || below(from, **there)) return errno_code(EINVAL);
    if (*found == *there) return boost::system::in_place_value;
    return exchange(*from, from_name, *to, to_name);
  }
  if (to->links == 0) return errno_code(ENOENT);
  // What lies above the place it is to go to is never empty.
  if (there && below(from, **there)) return errno_code(ENOTEMPTY);
  if (there && *found == *there) return boost::system::in_place_value;
  const auto may = may_replace(**found, there ? there->get() : nullptr, to);
  if (!may) return may.error();
  const FileRef file = *found;
  if (there) {
    const FileRef lost = *there;
    leave(*to, to_name);
    unlinked(*lost);
  }
  leave(*from, from_name);
  enter(*to, to_name, file);
  change(*file);
  if (mode == RenameMode::whiteout || mode == RenameMode::no_replace_whiteout) {
    return make(from, from_name, {}, S_IFCHR) ? Result<void>() : Result<void>(errno_code(EIO));
  }
  return boost::system::in_place_value;
}

// ---- Content ----------------------------------------------------------------------------------

void MemoryDisk::set_bytes(File& file, std::string bytes) {
  file.bytes = std::make_shared<const std::string>(std::move(bytes));
  file.mtime = stamp();
  change(file);
  content_changed();
}

void MemoryDisk::write(File& file, std::uint64_t offset, std::string_view data) {
  if (data.empty()) return;
  std::string bytes = *file.bytes;
  if (bytes.size() < offset + data.size()) bytes.resize(offset + data.size());
  bytes.replace(offset, data.size(), data);
  drop_set_id(file);
  set_bytes(file, std::move(bytes));
}

void MemoryDisk::truncate(File& file, std::uint64_t size) {
  std::string bytes = *file.bytes;
  bytes.resize(size);
  set_bytes(file, std::move(bytes));
}

namespace {

std::uint64_t next(const std::string& bytes, std::uint64_t offset, bool data) {
  while (offset < bytes.size()) {
    const auto begin = offset / kBlock * kBlock;
    const auto block = std::string_view(bytes).substr(begin, kBlock);
    const bool zeros = block.find_first_not_of('\0') == block.npos;
    if (zeros != data) return offset;
    offset = begin + kBlock;
  }
  return bytes.size();
}

}  // namespace

std::uint64_t MemoryDisk::next_data(const File& file, std::uint64_t offset) {
  return next(*file.bytes, offset, true);
}
std::uint64_t MemoryDisk::next_hole(const File& file, std::uint64_t offset) {
  return next(*file.bytes, offset, false);
}

void MemoryDisk::set_times(File& file, const std::optional<fs::TimeChange>& atime,
                           const std::optional<fs::TimeChange>& mtime) {
  if (atime) file.atime = atime->now ? stamp() : atime->time;
  if (mtime) file.mtime = mtime->now ? stamp() : mtime->time;
  change(file);
}

MemoryDisk::Result<void> MemoryDisk::sync(File& file, std::uint64_t& losses_known) {
  if (file.regular() && failing_syncs > 0) {
    --failing_syncs;
    lose(file);
    set_bytes(file, *file.on_platter);  // who looks sees it too
  }
  file.synced = true;
  if (file.bytes != file.lost) file.on_platter = file.bytes;
  if (losses_known == file.losses) return boost::system::in_place_value;
  losses_known = file.losses;
  file.loss_told = true;
  return errno_code(EIO);
}

void MemoryDisk::lose(File& file) {
  file.lost = file.bytes;
  ++file.losses;
  file.loss_told = false;
}

std::vector<MemoryDisk::FileRef> MemoryDisk::cut_power() {
  std::vector<FileRef> changed;
  for (auto& [inode, weak] : files_) {
    const auto file = weak.lock();
    if (!file || !file->regular() || file->bytes == file->on_platter) continue;
    file->bytes = file->on_platter;
    change(*file);
    changed.push_back(file);
  }
  return changed;
}

void MemoryDisk::lose_new_files() {
  for (File* folder : {root_.get(), orphans_.get()}) {
    const auto names = folder->names;
    for (const auto& [name, entry] : names) {
      if (!entry.file->regular() || entry.file->synced) continue;
      leave(*folder, name);
      unlinked(*entry.file);
    }
  }
}

}  // namespace rushfs::sim

#include "tests/sim/server_history.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "fs/directory_store.h"

namespace rushfs::sim {

namespace {

fs::Timestamp timestamp(const struct statx_timestamp& time) {
  return {time.tv_sec, time.tv_nsec};
}

struct statx look_up(int folder, const std::string& name) {
  struct statx found {};
  if (::statx(folder, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH,
              STATX_BASIC_STATS | STATX_BTIME, &found) != 0) {
    throw std::runtime_error("statx " + name + ": " + std::strerror(errno));
  }
  return found;
}

FileKey key_of(const struct statx& found) { return {found.stx_ino, timestamp(found.stx_btime)}; }

std::string content(int folder, const std::string& name) {
  const int file = ::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw std::runtime_error("open " + name + ": " + std::strerror(errno));
  std::string bytes;
  char buffer[16384];
  for (ssize_t count = 0; (count = ::read(file, buffer, sizeof buffer)) > 0;) {
    bytes.append(buffer, static_cast<std::size_t>(count));
  }
  ::close(file);
  return bytes;
}

}  // namespace

FileKey key_of(const fs::Attributes& attributes) { return {attributes.inode, attributes.btime}; }

std::string cell(Tag tag) {
  std::string digits = std::to_string(tag);
  return "<" + std::string(kCell - 3 - digits.size(), '.') + digits + ">\n";
}

std::vector<Tag> tags_of(const std::string& bytes) {
  std::vector<Tag> tags;
  for (std::size_t at = 0; at + kCell <= bytes.size(); at += kCell) {
    const auto text = bytes.substr(at, kCell);
    const auto digits = text.find_first_not_of("<.");
    const bool whole = text.front() == '<' && text.ends_with(">\n");
    tags.push_back(whole ? std::strtoull(text.c_str() + digits, nullptr, 10) : 0);
  }
  return tags;
}

struct ServerHistory::Scan {
  transport::TimePoint now;
  std::map<FileKey, FileState> files;
  std::map<FileKey, std::uint32_t> hidden;  // names in the place for orphans
  std::map<FileKey, FolderState> folders;
  FolderState* folder = nullptr;  // none: the place for orphans
};

ServerHistory::ServerHistory(std::filesystem::path root) : path_(std::move(root)) {
  root_ = key_of(look_up(AT_FDCWD, path_.string()));
  look({});
}

const std::vector<FileState>& ServerHistory::file(FileKey key) const {
  static const std::vector<FileState> none;
  const auto found = files_.find(key);
  return found == files_.end() ? none : found->second;
}

const std::vector<FolderState>& ServerHistory::folder(FileKey key) const {
  static const std::vector<FolderState> none;
  const auto found = folders_.find(key);
  return found == folders_.end() ? none : found->second;
}

const std::size_t* ServerHistory::first_seen(FileKey key, Tag tag) const {
  const auto found = first_seen_.find({key, tag});
  return found == first_seen_.end() ? nullptr : &found->second;
}

void ServerHistory::look_at(int folder, const std::string& name, Scan& scan) {
  const auto found = look_up(folder, name);
  const auto key = key_of(found);
  if (scan.folder != nullptr) scan.folder->names[name] = key;
  if (S_ISDIR(found.stx_mode)) {
    auto* above = scan.folder;
    look_into(folder, name, key, false, scan);
    scan.folder = above;
    return;
  }
  if (scan.folder == nullptr) ++scan.hidden[key];
  FileState& state = scan.files[key];
  if (state.bytes) return;  // another of its names
  state = {scan.now, nullptr, found.stx_nlink, found.stx_mode, timestamp(found.stx_ctime),
           timestamp(found.stx_mtime)};
  const auto known = files_.find(key);
  if (known != files_.end() && known->second.back().bytes &&
      known->second.back().ctime == state.ctime) {
    state.bytes = known->second.back().bytes;
  } else {
    state.bytes = std::make_shared<const std::string>(content(folder, name));
  }
}

void ServerHistory::look_into(int parent, const std::string& name, FileKey key, bool orphans,
                              Scan& scan) {
  const int opened = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) throw std::runtime_error("open " + name + ": " + std::strerror(errno));
  scan.folder = orphans ? nullptr : &scan.folders[key];
  if (scan.folder != nullptr) scan.folder->since = scan.now;
  DIR* entries = ::fdopendir(opened);
  while (const dirent* entry = ::readdir(entries)) {
    const std::string found = entry->d_name;
    if (found == "." || found == "..") continue;
    if (found == fs::kOrphanFolder) {
      auto* above = scan.folder;
      look_into(opened, found, {}, true, scan);
      scan.folder = above;
    } else {
      look_at(opened, found, scan);
    }
  }
  ::closedir(entries);
}

void ServerHistory::note_file(FileKey key, const FileState& state) {
  auto& states = files_[key];
  if (!states.empty()) {
    const FileState& last = states.back();
    if (last.bytes == state.bytes && last.links == state.links && last.mode == state.mode) return;
  }
  ++changes_;
  states.push_back(state);
  if (!state.bytes) return;
  for (const Tag tag : tags_of(*state.bytes)) {
    if (tag == 0) continue;
    first_seen_.emplace(std::pair(key, tag), states.size() - 1);
    arrived_.insert(tag);
  }
}

void ServerHistory::look(transport::TimePoint now) {
  Scan scan;
  scan.now = now;
  look_into(AT_FDCWD, path_.string(), root_, false, scan);
  std::set<FileKey> present;
  for (auto& [key, state] : scan.files) {
    if (const auto hidden = scan.hidden.find(key); hidden != scan.hidden.end()) {
      state.links -= hidden->second;
    }
    note_file(key, state);
    present.insert(key);
  }
  for (auto& [key, state] : scan.folders) {
    auto& states = folders_[key];
    if (states.empty() || states.back().gone || states.back().names != state.names) {
      states.push_back(state);
    }
    present.insert(key);
  }
  for (const FileKey& key : present_) {
    if (present.contains(key)) continue;
    if (files_.contains(key)) {
      note_file(key, {now, nullptr, 0, 0, {}, {}});
    } else {
      folders_[key].push_back({now, {}, true});
    }
  }
  present_ = std::move(present);
}

}  // namespace rushfs::sim

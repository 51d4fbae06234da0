#include "tests/sim/server_history.h"

#include <cstdlib>

namespace rushfs::sim {

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

ServerHistory::ServerHistory(MemoryDisk& disk) : disk_(disk) { look({}); }

std::string brief(const std::string& bytes) {
  std::string text = std::to_string(bytes.size()) + " bytes:";
  const auto tags = tags_of(bytes);
  for (std::size_t i = 0; i < tags.size(); ++i) {
    if (i > 0 && tags[i] == tags[i - 1]) continue;
    text += " " + std::to_string(i) + "=" + std::to_string(tags[i]);
  }
  return text;
}

const std::vector<FileState>& ServerHistory::file(const FileKey& key) const {
  static const std::vector<FileState> none;
  const auto found = files_.find(key);
  return found == files_.end() ? none : found->second;
}

const std::vector<FolderState>& ServerHistory::folder(const FileKey& key) const {
  static const std::vector<FolderState> none;
  const auto found = folders_.find(key);
  return found == folders_.end() ? none : found->second;
}

const std::size_t* ServerHistory::first_seen(const FileKey& key, Tag tag) const {
  const auto found = first_seen_.find({key, tag});
  return found == first_seen_.end() ? nullptr : &found->second;
}

void ServerHistory::note_file(const MemoryDisk::File& file, transport::TimePoint now) {
  FileState state{now, file.bytes, file.links - file.hidden, file.mode};
  if (file.links == 0) state = {now, nullptr, 0, 0};
  note({file.inode}, state);
  for (const auto& name : kXattrs) {
    const auto found = file.xattrs.find(name);
    if (state.bytes) {
      const bool there = found != file.xattrs.end();
      state.bytes = std::make_shared<const std::string>(there ? found->second : "");
    }
    note({file.inode, name}, state);
  }
}

void ServerHistory::note(const FileKey& key, FileState state) {
  auto& states = files_[key];
  if (!states.empty()) {
    const FileState& last = states.back();
    const bool same = last.bytes == state.bytes ||
                      (last.bytes && state.bytes && *last.bytes == *state.bytes);
    if (same && last.links == state.links && last.mode == state.mode) return;
  }
  states.push_back(state);
  if (!state.bytes) return;
  for (const Tag tag : tags_of(*state.bytes)) {
    if (tag == 0) continue;
    first_seen_.emplace(std::pair(key, tag), states.size() - 1);
    arrived_.emplace(tag, key);
  }
}

void ServerHistory::note_folder(const MemoryDisk::File& folder, transport::TimePoint now) {
  auto& states = folders_[{folder.inode}];
  FolderState state{now, {}, folder.links == 0};
  for (const auto& [name, entry] : folder.names) state.names[name] = {entry.file->inode};
  const bool same = !states.empty() && states.back().gone == state.gone &&
                    states.back().names == state.names;
  if (!same) states.push_back(std::move(state));
}

std::vector<std::pair<FileKey, Tag>> ServerHistory::cut_power(transport::TimePoint now) {
  std::vector<std::pair<FileKey, Tag>> lost;
  for (const auto& file : disk_.cut_power()) {
    if (file->links == file->hidden) continue;  // removed: nobody will look for it
    const FileKey key{file->inode};
    const auto& before = *files_.at(key).back().bytes;
    for (const Tag tag : tags_of(before)) {
      const bool kept = file->bytes->find(cell(tag)) != std::string::npos;
      const auto arrived = arrived_.find(tag);
      if (kept || arrived == arrived_.end() || arrived->second != key) continue;
      lost.emplace_back(key, tag);
    }
  }
  look(now);
  std::erase_if(lost, [&](const auto& each) {
    return held_somewhere(each.second);  // in a conflict copy
  });
  for (const auto& [key, tag] : lost) arrived_.erase(tag);
  return lost;
}

bool ServerHistory::held_somewhere(Tag tag) const {
  return std::any_of(files_.begin(), files_.end(), [&](const auto& file) {
    const FileState& now = file.second.back();
    return now.bytes && now.bytes->find(cell(tag)) != std::string::npos;
  });
}

std::vector<FileKey> ServerHistory::look(transport::TimePoint now) {
  std::vector<FileKey> files;
  for (const auto& [inode, file] : disk_.take_changed()) {
    if (file->folder()) {
      note_folder(*file, now);
    } else {
      note_file(*file, now);
      files.push_back({inode});
    }
  }
  return files;
}

}  // namespace rushfs::sim

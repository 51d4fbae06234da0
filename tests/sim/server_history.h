// What the server's disk held at each moment of a simulation: the truth that mounts are checked
// against.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/memory_disk.h"
#include "transport/units.h"

namespace rushfs::sim {

/// A file or folder: the disk gives no inode number twice. Or an attribute of a file, which has a
/// history like that of a file: it is empty where there is no such attribute.
struct FileKey {
  std::uint64_t inode = 0;
  std::string attribute{};
  auto operator<=>(const FileKey&) const = default;
};
inline FileKey key_of(const fs::Attributes& attributes) { return {attributes.inode}; }

/// The extended attributes that a history follows.
inline const std::vector<std::string> kXattrs = {"user.first", "user.second"};

/// Files hold cells of this many bytes; each names the write that made it, so that one sees whose
/// bytes are where.
inline constexpr std::size_t kCell = 16;
using Tag = std::uint64_t;  // of a write, unique; the client is Tag % 10
std::string cell(Tag tag);
/// The tag in each cell of these bytes; 0 where there is none.
std::vector<Tag> tags_of(const std::string& bytes);
/// For people: where which write begins to be seen.
std::string brief(const std::string& bytes);

struct FileState {
  transport::TimePoint since;
  std::shared_ptr<const std::string> bytes;  // null: there is no such file
  std::uint32_t links = 0, mode = 0;
};
struct FolderState {
  transport::TimePoint since;
  std::map<std::string, FileKey> names;
  bool gone = false;
};

class ServerHistory {
 public:
  explicit ServerHistory(MemoryDisk& disk);

  /// The disk lost what was not synced. Returns the writes that the files they were made to had
  /// and have no more.
  std::vector<std::pair<FileKey, Tag>> cut_power(transport::TimePoint now);
  /// Something may have changed. Returns the files that have.
  std::vector<FileKey> look(transport::TimePoint now);

  FileKey root() const { return {disk_.root()->inode}; }
  /// All states that a file or folder had, in order; empty: never seen.
  const std::vector<FileState>& file(const FileKey& key) const;
  const std::vector<FolderState>& folder(const FileKey& key) const;
  /// The state of the file in which the write was seen there first; none: never.
  const std::size_t* first_seen(const FileKey& key, Tag tag) const;
  /// The write was seen somewhere.
  bool arrived(Tag tag) const { return arrived_.contains(tag); }

 private:
  void note_file(const MemoryDisk::File& file, transport::TimePoint now);
  void note(const FileKey& key, FileState state);
  bool held_somewhere(Tag tag) const;
  void note_folder(const MemoryDisk::File& folder, transport::TimePoint now);

  MemoryDisk& disk_;
  std::map<FileKey, std::vector<FileState>> files_;
  std::map<FileKey, std::vector<FolderState>> folders_;
  std::map<std::pair<FileKey, Tag>, std::size_t> first_seen_;
  std::map<Tag, FileKey> arrived_;  // in which file first: others may hold copies
};

/// First and last of the states that were the present at some moment of [from, to].
template <class State>
std::pair<std::size_t, std::size_t> states_within(const std::vector<State>& states,
                                                  transport::TimePoint from,
                                                  transport::TimePoint to) {
  const auto index = [&](auto position) {
    return position == states.begin() ? 0 : static_cast<std::size_t>(position - states.begin() - 1);
  };
  const auto begin = std::partition_point(states.begin(), states.end(),
                                          [&](const State& state) { return state.since < from; });
  const auto end = std::partition_point(begin, states.end(),
                                        [&](const State& state) { return state.since <= to; });
  return {index(begin), index(end)};
}

}  // namespace rushfs::sim

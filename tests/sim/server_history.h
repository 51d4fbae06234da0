// What the server's disk held at each moment of a simulation: the truth that mounts are checked
// against. Looked at from outside, without the code under test.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fs/message_types.h"
#include "transport/units.h"

namespace rushfs::sim {

/// A file, also after its inode number was given to another.
struct FileKey {
  std::uint64_t inode = 0;
  fs::Timestamp birth;
  auto operator<=>(const FileKey&) const = default;
};
FileKey key_of(const fs::Attributes& attributes);

/// Files hold cells of this many bytes; each names the write that made it, so that one sees whose
/// bytes are where.
inline constexpr std::size_t kCell = 16;
using Tag = std::uint64_t;  // of a write, unique; the client is Tag % 10
std::string cell(Tag tag);
/// The tag in each cell of these bytes; 0 where there is none.
std::vector<Tag> tags_of(const std::string& bytes);

struct FileState {
  transport::TimePoint since;
  std::shared_ptr<const std::string> bytes;  // null: there is no such file
  std::uint32_t links = 0, mode = 0;
  fs::Timestamp ctime, mtime;
};
struct FolderState {
  transport::TimePoint since;
  std::map<std::string, FileKey> names;
  bool gone = false;
};

class ServerHistory {
 public:
  explicit ServerHistory(std::filesystem::path root);

  /// Something may have changed.
  void look(transport::TimePoint now);

  FileKey root() const { return root_; }
  /// All states that a file or folder had, in order; empty: never seen.
  const std::vector<FileState>& file(FileKey key) const;
  const std::vector<FolderState>& folder(FileKey key) const;
  /// The state of the file in which the write was seen there first; none: never.
  const std::size_t* first_seen(FileKey key, Tag tag) const;
  /// The write was seen somewhere.
  bool arrived(Tag tag) const { return arrived_.contains(tag); }
  std::uint64_t changes() const { return changes_; }

 private:
  struct Scan;
  void look_into(int parent, const std::string& name, FileKey key, bool orphans, Scan& scan);
  void look_at(int folder, const std::string& name, Scan& scan);
  void note_file(FileKey key, const FileState& state);

  std::filesystem::path path_;
  FileKey root_;
  std::map<FileKey, std::vector<FileState>> files_;
  std::map<FileKey, std::vector<FolderState>> folders_;
  std::map<std::pair<FileKey, Tag>, std::size_t> first_seen_;
  std::set<Tag> arrived_;
  std::set<FileKey> present_;
  std::uint64_t changes_ = 0;
};

/// First and last of the states that were the present at some moment of [from, to].
template <class State>
std::pair<std::size_t, std::size_t> states_within(const std::vector<State>& states,
                                                  transport::TimePoint from,
                                                  transport::TimePoint to) {
  std::size_t first = 0;
  while (first + 1 < states.size() && states[first + 1].since < from) ++first;
  std::size_t last = first;
  while (last + 1 < states.size() && states[last + 1].since <= to) ++last;
  return {first, last};
}

}  // namespace rushfs::sim

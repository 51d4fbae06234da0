// A disk of a simulation: files and folders in memory, with the simulation's clock and numbers that
// a seed repeats. Behaves as a Linux file system does to root; each change moves ctime, as kernels
// since 6.13 have it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/client/remote.h"
#include "fs/loop_time.h"
#include "fs/protocol/messages.h"

namespace rushfs::sim {

class MemoryDisk {
 public:
  struct File;
  using FileRef = std::shared_ptr<File>;
  struct Name {
    std::uint64_t cookie = 0;  // grows: a listing goes on behind it
    FileRef file;
  };
  /// Whatever its type is.
  struct File {
    std::uint64_t inode = 0;
    std::uint32_t mode = 0, links = 0, uid = 0, gid = 0, major = 0, minor = 0;
    std::uint32_t hidden = 0;  // links among the orphans
    bool unnamed = false;      // made without a name: may get one though it has no link
    bool synced = false;       // once: its name survives a power cut whatever the journal does
    fs::Timestamp atime, mtime, ctime, birth;
    std::shared_ptr<const std::string> bytes, on_platter;  // as it is; as it survives a power cut
    std::shared_ptr<const std::string> lost;  // clean to the kernel, and not on the platter
    std::uint64_t losses = 0;  // how often it could not be brought to the platter
    bool loss_told = true;     // to anybody
    std::map<std::string, Name> names;
    std::uint64_t next_cookie = 3;
    std::weak_ptr<File> parent;  // of a folder
    std::map<std::string, std::string> xattrs;

    bool folder() const;
    bool regular() const;
  };
  template <class T>
  using Result = fs::Result<T>;

  explicit MemoryDisk(const fs::LoopTime& time);

  const FileRef& root() const { return root_; }
  /// The place for files that lost their last name; not to be seen among the root's names.
  const FileRef& orphans() const { return orphans_; }
  /// Null: there is none (any more).
  FileRef find(std::uint64_t inode) const;
  static fs::Attributes attributes(const File& file);

  Result<FileRef> look_up(const File& folder, const std::string& name) const;
  /// Something new; with an empty name it has none.
  Result<FileRef> make(const FileRef& folder, const std::string& name, const fs::Caller& caller,
                       std::uint32_t mode);
  Result<void> link(const FileRef& file, File& folder, const std::string& name);
  Result<void> unlink(File& folder, const std::string& name);
  Result<void> remove_directory(File& folder, const std::string& name);
  Result<void> rename(const FileRef& from, const std::string& from_name, const FileRef& to,
                      const std::string& to_name, fs::RenameMode mode);

  void set_bytes(File& file, std::string bytes);
  void write(File& file, std::uint64_t offset, std::string_view data);
  void truncate(File& file, std::uint64_t size);
  /// A block of zeros takes no space. Where data, or a hole, begins, at `offset` or behind it;
  /// where the file ends, if none does.
  static std::uint64_t next_data(const File& file, std::uint64_t offset);
  static std::uint64_t next_hole(const File& file, std::uint64_t offset);
  void set_times(File& file, const std::optional<fs::TimeChange>& atime,
                 const std::optional<fs::TimeChange>& mtime);
  /// Attributes were changed by hand.
  void touched(File& file);
  /// As Linux does it (lib/errseq.c): who has the file open is told once of each loss since then,
  /// or since it was told; and who opens it, of the last one if nobody was told before.
  static std::uint64_t losses_known_at_open(const File& file) {
    return file.loss_told ? file.losses : 0;
  }
  Result<void> sync(File& file, std::uint64_t& losses_known);
  /// What was not synced cannot be written, and stays in memory alone.
  void lose(File& file);
  int failing_syncs = 0;
  /// Data that was not synced is gone; names stay, as with a journal. Returns what lost some.
  std::vector<FileRef> cut_power();
  /// And the journal had not got the names of new files: those that nobody synced are gone.
  void lose_new_files();

  /// What has changed since this was last asked.
  std::map<std::uint64_t, FileRef> take_changed() { return std::exchange(changed_, {}); }
  /// Hears of each file, and name in a folder, that changes from now on while `beside` is set: what
  /// programs on the server's machine do.
  using Watcher = std::function<void(const File&, const std::string& name)>;
  void watch(Watcher watcher) { watcher_ = std::move(watcher); }
  bool beside = false;
  /// After each change of what a file holds, also within an operation.
  std::function<void()> content_changed = [] {};

 private:
  fs::Timestamp stamp();
  void enter(File& folder, const std::string& name, const FileRef& file);
  void leave(File& folder, const std::string& name);
  void unlinked(File& file);
  void change(File& file, const std::string& name = "");
  Result<void> exchange(File& from, const std::string& from_name, File& to,
                        const std::string& to_name);
  Result<void> may_replace(const File& file, const File* replaced, const FileRef& to) const;

  const fs::LoopTime& time_;
  std::chrono::nanoseconds last_stamp_{};
  std::uint64_t next_inode_ = 2;
  std::map<std::uint64_t, std::weak_ptr<File>> files_;
  FileRef root_, orphans_;
  std::map<std::uint64_t, FileRef> changed_;
  Watcher watcher_;
};

}  // namespace rushfs::sim

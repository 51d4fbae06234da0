// Names: finding, making, moving and removing them. Every step takes one component of one
// directory that is held open, so that no rename elsewhere can lead it astray.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>

#include "fs/protocol/names.h"
#include "fs/server/caller_scope.h"
#include "fs/server/directory_node.h"
#include "fs/server/squash.h"

namespace rushfs::fs {
namespace {

/// 0 or -1 with errno, as a result.
Result<void> outcome(int returned) {
  if (returned != 0) return last_error();
  return boost::system::in_place_value;
}

}  // namespace

Result<Found> DirectoryStore::lookup(const Node& directory, const std::string& name) const {
  if (hidden(directory, name)) return errno_code(ENOENT);
  if (name == ".." && is_root(directory)) return root();
  Descriptor reached;
  if (is_dots(name)) {
    reached =
        Descriptor(::openat(reach(directory), name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  } else {
    reached = Descriptor(open_beneath(reach(directory), name.c_str(), O_PATH));
  }
  if (!reached) return last_error();
  auto result = found(std::move(reached));
  if (result && name == "..") {
    if (auto inside = check_inside(*result->node); !inside) return inside.error();
  }
  return result;
}

Result<Store::Created> DirectoryStore::create(const NewName& where, std::uint32_t mode) const {
  if (hidden(where.directory, where.name)) return errno_code(EPERM);
  if (!options_.preserve_identity && squash::grants(S_IFREG, mode)) return errno_code(EPERM);
  Descriptor opened;
  {
    const CallerScope scope(where.caller, options_.preserve_identity);
    // O_EXCL: only what this call makes is ever opened.
    opened = Descriptor(open_beneath(reach(where.directory), where.name.c_str(),
                                     O_RDWR | O_CREAT | O_EXCL, mode & 07777));
  }
  return created(std::move(opened));
}

Result<Store::Created> DirectoryStore::created(Descriptor opened) const {
  if (!opened) return last_error();
  Descriptor reached(::open(proc_path(opened.get()).c_str(), O_PATH | O_CLOEXEC));
  if (!reached) return last_error();
  auto result = found(std::move(reached));
  if (!result) return result.error();
  return Created{std::move(*result), std::make_shared<DirectoryFile>(std::move(opened))};
}

Result<Found> DirectoryStore::make_directory(const NewName& where, std::uint32_t mode) const {
  if (hidden(where.directory, where.name)) return errno_code(EPERM);
  {
    const CallerScope scope(where.caller, options_.preserve_identity);
    if (::mkdirat(reach(where.directory), where.name.c_str(), mode & 07777) != 0)
      return last_error();
  }
  return lookup(where.directory, where.name);
}

Result<Found> DirectoryStore::make_node(const NewName& where, std::uint32_t mode,
                                        std::uint32_t major, std::uint32_t minor) const {
  if (hidden(where.directory, where.name)) return errno_code(EPERM);
  const bool grants = squash::grants(mode & S_IFMT, mode) || squash::is_device(mode, major, minor);
  if (!options_.preserve_identity && grants) return errno_code(EPERM);
  {
    const CallerScope scope(where.caller, options_.preserve_identity);
    if (::mknodat(reach(where.directory), where.name.c_str(), mode & (S_IFMT | 07777),
                  makedev(major, minor)) != 0) {
      return last_error();
    }
  }
  return lookup(where.directory, where.name);
}

Result<Found> DirectoryStore::symlink(const NewName& where, const std::string& target) const {
  if (hidden(where.directory, where.name)) return errno_code(EPERM);
  {
    const CallerScope scope(where.caller, options_.preserve_identity);
    if (::symlinkat(target.c_str(), reach(where.directory), where.name.c_str()) != 0) {
      return last_error();
    }
  }
  return lookup(where.directory, where.name);
}

Result<void> DirectoryStore::change_link(const Node& node, int directory,
                                         const std::string& name) const {
  // Without CAP_DAC_READ_SEARCH an empty path is refused with ENOENT, and /proc is the way.
  if (::linkat(reach(node), "", directory, name.c_str(), AT_EMPTY_PATH) == 0) {
    return boost::system::in_place_value;
  }
  if (errno != ENOENT) return last_error();
  return outcome(::linkat(AT_FDCWD, proc_path(reach(node)).c_str(), directory, name.c_str(),
                          AT_SYMLINK_FOLLOW));
}

Result<void> DirectoryStore::link(const Node& node, const Node& directory,
                                  const std::string& name) const {
  if (hidden(directory, name)) return errno_code(EPERM);
  if (node.type() == S_IFDIR) return errno_code(EPERM);
  return change_link(node, reach(directory), name);
}

Result<void> DirectoryStore::unlink(const Node& directory, const std::string& name) const {
  if (hidden(directory, name)) return errno_code(ENOENT);
  return outcome(::unlinkat(reach(directory), name.c_str(), 0));
}

Result<void> DirectoryStore::remove_directory(const Node& directory,
                                              const std::string& name) const {
  if (hidden(directory, name)) return errno_code(ENOENT);
  return outcome(::unlinkat(reach(directory), name.c_str(), AT_REMOVEDIR));
}

Result<void> DirectoryStore::rename(const Node& from_directory, const std::string& from_name,
                                    const Node& to_directory, const std::string& to_name,
                                    RenameMode mode) const {
  if (hidden(from_directory, from_name)) return errno_code(ENOENT);
  if (hidden(to_directory, to_name)) return errno_code(EPERM);
  const auto flags = [mode]() -> unsigned {
    switch (mode) {
      case RenameMode::replace: return 0;
      case RenameMode::no_replace: return RENAME_NOREPLACE;
      case RenameMode::exchange: return RENAME_EXCHANGE;
      case RenameMode::whiteout: return RENAME_WHITEOUT;
      case RenameMode::no_replace_whiteout: return RENAME_NOREPLACE | RENAME_WHITEOUT;
    }
    return 0;
  }();
  return outcome(::renameat2(reach(from_directory), from_name.c_str(), reach(to_directory),
                             to_name.c_str(), flags));
}

Descriptor DirectoryStore::orphan_folder(bool make) const {
  if (make) static_cast<void>(::mkdirat(root_.get(), kOrphanFolder, 0700));
  return Descriptor(open_beneath(root_.get(), kOrphanFolder, O_RDONLY | O_DIRECTORY));
}

Result<void> DirectoryStore::keep_orphan(const Node& node, const std::string& orphan) const {
  const Descriptor folder = orphan_folder(true);
  if (!folder) return last_error();
  return change_link(node, folder.get(), orphan);
}

void DirectoryStore::drop_orphan(const std::string& orphan) const {
  const Descriptor folder = orphan_folder(false);
  if (folder) static_cast<void>(::unlinkat(folder.get(), orphan.c_str(), 0));
  // Succeeds when it was the last one.
  static_cast<void>(::unlinkat(root_.get(), kOrphanFolder, AT_REMOVEDIR));
}

std::vector<OrphanFile> DirectoryStore::orphans() const {
  std::vector<OrphanFile> out;
  Descriptor reached(open_beneath(root_.get(), kOrphanFolder, O_PATH | O_DIRECTORY));
  if (!reached) return out;
  auto folder = found(std::move(reached));
  if (!folder) return out;
  ReadDirectory request;
  request.max_bytes = kMaxTransfer;
  for (;;) {
    auto listed = list(request, *folder->node);
    if (!listed) return out;
    for (const DirectoryEntry& entry : listed->entries) {
      request.cookie = entry.cookie;
      if (!entry.entry) continue;
      auto file = lookup(*folder->node, entry.name);
      if (file && file->node->type() == S_IFREG) out.push_back({entry.name, file->node});
    }
    if (listed->end) return out;
  }
}

}  // namespace rushfs::fs

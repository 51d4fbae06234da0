// What a store that makes everything as its own user (DirectoryOptions::preserve_identity off) lets
// nobody do: what would give a client more on the server's machine than that user's files. Often
// the user is root, whom the kernel would refuse nothing. docs/semantics.md, "Owners and
// permissions". Pure.
#pragma once

#include <linux/fs.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>

namespace rushfs::fs::squash {

/// Programs that run as somebody else. (Of folders, set-group-id is about their files' group.)
inline bool grants(std::uint32_t type, std::uint32_t mode) {
  return type != S_IFDIR && (mode & (S_ISUID | S_ISGID)) != 0;
}

/// A whiteout is none.
inline bool is_device(std::uint32_t mode, std::uint32_t major, std::uint32_t minor) {
  return S_ISBLK(mode) || (S_ISCHR(mode) && (major != 0 || minor != 0));
}

/// Capabilities of programs, labels, and what only root may see.
inline bool is_of_root(const std::string& xattr) {
  return xattr.starts_with("security.") || xattr.starts_with("trusted.");
}

/// A file that not even its owner can remove.
inline bool pins(std::uint32_t flags_before, std::uint32_t flags) {
  return ((flags_before ^ flags) & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0;
}

}  // namespace rushfs::fs::squash

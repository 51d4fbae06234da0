// A directory of this machine as a Store. Nothing it does leaves the directory, whatever names,
// links, node ids or concurrent renames it meets: docs/semantics.md, "The exported tree".
//
// Needs /proc. As root (CAP_DAC_READ_SEARCH) node ids are opened by file handle; otherwise through
// remembered paths.
#pragma once

#include <array>
#include <filesystem>
#include <memory>

#include "fs/server/store.h"

namespace rushfs::fs {

struct DirectoryOptions {
  std::filesystem::path root;
  std::array<std::uint8_t, 16> node_key{};  // secret; the same after a restart, so that ids live on
  bool preserve_identity = false;           // root only: create as the caller; else as this process
};

/// The Linux file system hides nothing from this name at the root; the export does.
inline constexpr const char* kOrphanFolder = ".rushfs-orphans";

/// Throws std::system_error naming the directory: missing, not a directory, no permission.
std::shared_ptr<const Store> open_directory_store(const DirectoryOptions& options);

}  // namespace rushfs::fs

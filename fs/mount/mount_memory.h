// The cache folder of a mount, and what the mount remembers there of its server so that the next
// can come up while the server cannot be reached. docs/disk-format.md, "What a mount remembers".
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fs/protocol/messages.h"
#include "transport/address.h"

namespace rushfs::fs {

/// Makes the folder, for its owner alone. Throws std::system_error, or std::runtime_error where it
/// belongs to somebody else.
void make_cache_folder(const std::filesystem::path& cache_directory);
/// What waits for one export must never be sent to another. Throws std::runtime_error when
/// something is queued for one of another name.
void claim_cache_folder(const std::filesystem::path& cache_directory,
                        const std::string& export_name, bool queued);

struct MountMemory {
  std::vector<transport::Address> servers;  // as the name was looked up; never empty
  AttachReply attached;                     // what the server said last
};

/// Nothing: never connected, or the file is not what was written.
std::optional<MountMemory> recall(const std::filesystem::path& cache_directory);
/// Replaces what was remembered. A failure is logged: only a later mount would have been helped.
void remember(const std::filesystem::path& cache_directory, const MountMemory& memory);

/// What the transport learned of paths (Endpoint::save_paths()). Nothing: there is no such file.
std::optional<std::vector<std::uint8_t>> recall_paths(const std::filesystem::path& folder);
/// Replaces it. A failure is logged: the next connection starts more slowly.
void remember_paths(const std::filesystem::path& folder, const std::vector<std::uint8_t>& bytes);

}  // namespace rushfs::fs

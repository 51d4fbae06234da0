// Files that security hangs on: read only if no one else could have written them.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

namespace rushfs::transport {

/// What others may have been allowed to do with a file: SSH's rules.
enum class Privacy : std::uint8_t {
  secret,     // no one else may read or write it: private keys
  trustable,  // no one else may write it: trust files
};

/// Reads a whole regular file that belongs to us or root and is as private as asked. None: there is
/// no such file. Throws std::runtime_error that names the attempt and says what to do.
std::optional<std::string> read_private_file(const std::filesystem::path& path, Privacy privacy,
                                             std::size_t limit);

/// Creates a file of mode 0600 with this content, durably. Throws std::runtime_error, also if the
/// file exists already.
void create_private_file(const std::filesystem::path& path, std::string_view content);

/// Appends to a file, durably; creates it with mode 0600, and its directory with mode 0700.
void append_private_file(const std::filesystem::path& path, std::string_view content);

}  // namespace rushfs::transport

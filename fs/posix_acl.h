// What an access ACL (acl(5), in the form of system.posix_acl_access, linux/posix_acl_xattr.h) and
// a file's permission bits say about each other. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rushfs::fs {

inline constexpr std::string_view kAccessAcl = "system.posix_acl_access";
inline constexpr std::string_view kDefaultAcl = "system.posix_acl_default";

/// This extended attribute is one of them.
bool is_acl(std::string_view xattr);
/// Of the system's own, ACLs are what a client's kernel judges; others (NFSv4 ACLs, say) mean
/// something to the server's disk alone, and nobody there would ask who sets them.
bool may_be_set(std::string_view xattr);

/// The nine permission bits of a file with this ACL; none if it is not one.
std::optional<std::uint32_t> mode_of_acl(std::string_view acl);
/// It says nothing that the permission bits do not say: the kernel does not keep such an ACL.
bool acl_is_minimal(std::string_view acl);
/// The ACL after chmod(2) to `mode`.
std::string acl_with_mode(std::string acl, std::uint32_t mode);

}  // namespace rushfs::fs

#include "fs/posix_acl.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>

namespace rushfs::fs {
namespace {

constexpr std::size_t kHeader = 4;  // bytes: the version
constexpr std::size_t kEntry = 8;   // bytes: tag, permissions (16 bits each), id (32)

std::uint32_t number(std::string_view acl, std::size_t at, std::size_t bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value |= std::uint32_t{static_cast<std::uint8_t>(acl[at + i])} << (8 * i);
  }
  return value;
}

bool well_formed(std::string_view acl) {
  return acl.size() >= kHeader && (acl.size() - kHeader) % kEntry == 0 &&
         number(acl, 0, 4) == POSIX_ACL_XATTR_VERSION;
}

bool has_mask(std::string_view acl) {
  for (std::size_t at = kHeader; at < acl.size(); at += kEntry) {
    if (number(acl, at, 2) == ACL_MASK) return true;
  }
  return false;
}

/// Where in the mode an entry shows; none: nowhere. With a mask, the group's bits show the mask.
std::optional<unsigned> shift_of(std::uint32_t tag, bool masked) {
  switch (tag) {
    case ACL_USER_OBJ:
      return 6;
    case ACL_MASK:
      return 3;
    case ACL_GROUP_OBJ:
      return masked ? std::nullopt : std::optional<unsigned>(3);
    case ACL_OTHER:
      return 0;
    default:
      return std::nullopt;
  }
}

}  // namespace

bool is_acl(std::string_view xattr) { return xattr == kAccessAcl || xattr == kDefaultAcl; }

bool may_be_set(std::string_view xattr) { return !xattr.starts_with("system.") || is_acl(xattr); }

std::optional<std::uint32_t> mode_of_acl(std::string_view acl) {
  if (!well_formed(acl)) return std::nullopt;
  const bool masked = has_mask(acl);
  std::uint32_t mode = 0;
  for (std::size_t at = kHeader; at < acl.size(); at += kEntry) {
    const auto shift = shift_of(number(acl, at, 2), masked);
    if (shift) mode |= (number(acl, at + 2, 2) & 7) << *shift;
  }
  return mode;
}

bool acl_is_minimal(std::string_view acl) {
  constexpr std::size_t kOwnerGroupOther = kHeader + 3 * kEntry;
  return well_formed(acl) && acl.size() <= kOwnerGroupOther;
}

std::string acl_with_mode(std::string acl, std::uint32_t mode) {
  if (!well_formed(acl)) return acl;
  const bool masked = has_mask(acl);
  for (std::size_t at = kHeader; at < acl.size(); at += kEntry) {
    const auto shift = shift_of(number(acl, at, 2), masked);
    if (shift) acl[at + 2] = static_cast<char>((mode >> *shift) & 7);
  }
  return acl;
}

}  // namespace rushfs::fs

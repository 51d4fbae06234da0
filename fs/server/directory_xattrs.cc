// Extended attributes, ACLs among them: xattr(7). A node is reached through /proc, because its
// descriptor opens nothing.
#include <sys/xattr.h>

#include <array>
#include <string_view>

#include "fs/server/directory_node.h"
#include "fs/server/squash.h"

namespace rushfs::fs {
namespace {

std::string path_to(int at, const char* name) {
  return *name == '\0' ? proc_path(at) : proc_path(at) + "/" + name;
}

/// The call that does not follow the last link: what /proc/self/fd/N is, is not what N reaches.
ssize_t list_names(int at, const char* name, char* into, std::size_t size) {
  const std::string path = path_to(at, name);
  return *name == '\0' ? ::listxattr(path.c_str(), into, size)
                       : ::llistxattr(path.c_str(), into, size);
}

template <class Visit>
void each_name(std::string_view names, Visit visit) {
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find('\0'));
    visit(name);
    names.remove_prefix(std::min(name.size() + 1, names.size()));
  }
}

}  // namespace

std::uint32_t traits_of(int at, const char* name) {
  std::array<char, 1024> names;
  const ssize_t size = list_names(at, name, names.data(), names.size());
  if (size < 0 && errno == EOPNOTSUPP) return kNoXattrSupport;
  // More than fit: anything may be among them.
  if (size < 0 && errno == ERANGE) return kHasXattrs | kHasAcl | kHasDefaultAcl | kHasCapability;
  if (size <= 0) return 0;
  std::uint32_t traits = kHasXattrs;
  each_name({names.data(), static_cast<std::size_t>(size)}, [&](std::string_view each) {
    if (each == "system.posix_acl_access") traits |= kHasAcl;
    if (each == "system.posix_acl_default") traits |= kHasDefaultAcl;
    if (each == "security.capability") traits |= kHasCapability;
  });
  return traits;
}

Result<std::string> DirectoryStore::get_xattr(const Node& node, const std::string& name) const {
  const std::string path = proc_path(reach(node));
  std::string value(256, '\0');
  for (;;) {
    const ssize_t size = ::getxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (size < 0 && errno == ERANGE && value.size() < kMaxXattrValue) {
      value.resize(kMaxXattrValue);
      continue;
    }
    if (size < 0) return last_error();
    value.resize(static_cast<std::size_t>(size));
    return value;
  }
}

Result<std::vector<Xattr>> DirectoryStore::list_xattrs(const Node& node) const {
  std::string names(XATTR_LIST_MAX, '\0');
  const ssize_t size = list_names(reach(node), "", names.data(), names.size());
  if (size < 0) return last_error();
  std::vector<Xattr> xattrs;
  std::size_t bytes = 0;
  each_name(std::string_view(names).substr(0, static_cast<std::size_t>(size)),
            [&](std::string_view name) {
              Xattr xattr{std::string(name), std::nullopt};
              auto value = get_xattr(node, xattr.name);
              if (!value) return;  // gone since
              bytes += value->size();
              if (bytes <= kMaxXattrsListed) xattr.value = std::move(*value);
              xattrs.push_back(std::move(xattr));
            });
  return xattrs;
}

Result<void> DirectoryStore::set_xattr(const Node& node, const std::string& name,
                                       const std::optional<std::string>& value,
                                       XattrMode mode) const {
  if (!options_.preserve_identity && squash::is_of_root(name)) return errno_code(EPERM);
  const std::string path = proc_path(reach(node));
  const int flags = mode == XattrMode::create    ? XATTR_CREATE
                    : mode == XattrMode::replace ? XATTR_REPLACE
                                                 : 0;
  const int failed =
      value ? ::setxattr(path.c_str(), name.c_str(), value->data(), value->size(), flags)
            : ::removexattr(path.c_str(), name.c_str());
  if (failed != 0) return last_error();
  return boost::system::in_place_value;
}

}  // namespace rushfs::fs

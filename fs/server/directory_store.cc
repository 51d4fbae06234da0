// Opening the exported directory, and the way from a node id to the node: by file handle, or by the
// path where it was last seen. Every way ends in the question whether it lies beneath the root.
#include "fs/server/directory_store.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>

#include "fs/server/directory_node.h"
#include "fs/server/disk_watch.h"

namespace rushfs::fs {
namespace {

bool same_place(const struct statx& a, const struct statx& b) {
  return a.stx_ino == b.stx_ino && a.stx_mnt_id == b.stx_mnt_id && device_of(a) == device_of(b);
}

Descriptor open_root(const std::filesystem::path& path) {
  Descriptor root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    throw std::system_error(errno, std::generic_category(),
                            "cannot open the exported directory " + path.string());
  }
  return root;
}

struct HandleBuffer {
  alignas(file_handle) std::array<char, sizeof(file_handle) + MAX_HANDLE_SZ> bytes{};
  file_handle* get() { return reinterpret_cast<file_handle*>(bytes.data()); }
};

/// As open_by_handle_at(2). While a file is being made, the kernel says ENOMEM to a handle with its
/// inode number, that is to those of the files that had the number before: ESTALE once it is made.
int open_by_handle(int mount, file_handle* handle) {
  constexpr int kTries = 100;
  constexpr std::chrono::milliseconds kPause(1);
  for (int tried = 1;; ++tried) {
    const int fd = ::open_by_handle_at(mount, handle, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 || errno != ENOMEM || tried == kTries) return fd;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

bool status_of(int at, const char* name, struct statx& status) {
  constexpr unsigned kMask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name == '\0' ? AT_EMPTY_PATH : 0);
  return ::statx(at, name, flags, kMask, &status) == 0;
}

int open_beneath(int directory, const char* name, std::uint64_t flags, std::uint64_t mode) {
  struct open_how how {};
  how.flags = flags | O_NOFOLLOW | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  int fd = -1;
  // EAGAIN: a rename somewhere on the machine made the kernel unsure; it asks for another try.
  constexpr int kTries = 64;
  for (int i = 0; i < kTries; ++i) {
    fd = static_cast<int>(::syscall(SYS_openat2, directory, name, &how, sizeof(how)));
    if (fd >= 0 || errno != EAGAIN) break;
  }
  return fd;
}

int open_untouched(int directory, const char* path, int flags) {
  const int fd = ::openat(directory, path, flags | O_NOATIME | O_CLOEXEC);
  return fd < 0 && errno == EPERM ? ::openat(directory, path, flags | O_CLOEXEC) : fd;
}

std::shared_ptr<const Store> open_directory_store(const DirectoryOptions& options) {
  return std::make_shared<const DirectoryStore>(options);
}

DirectoryStore::DirectoryStore(const DirectoryOptions& options)
    : options_(options),
      root_(open_root(options.root)),
      mounts_(root_.get(), marks_),
      codec_(options.node_key) {
  struct statx parent;
  if (!status_of(root_.get(), "", root_status_) || !status_of(root_.get(), "..", parent)) {
    throw std::system_error(errno, std::generic_category(), "cannot stat " + options.root.string());
  }
  root_is_mount_ = parent.stx_mnt_id != root_status_.stx_mnt_id;
  auto id = identify(root_.get(), "", mounts_.own(), root_status_);
  if (!id) throw std::system_error(id.error().value(), std::generic_category(), "cannot name root");
  root_id_ = *id;
  const auto identity = codec_.open(root_id_);
  opens_handles_ = identity->by_handle && open_handle(*identity).has_value();
}

bool DirectoryStore::present() const {
  const Descriptor now(::open(options_.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct statx status;
  // Our own shortage says nothing about the disk.
  if (!now && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) return true;
  return now && status_of(now.get(), "", status) && same_place(status, root_status_);
}

Result<std::shared_ptr<const Store>> DirectoryStore::reopen() const {
  try {
    auto fresh = std::make_shared<const DirectoryStore>(options_);
    // Where a disk was mounted, the empty mount point beneath it is not what is exported.
    if (root_is_mount_ && !fresh->root_is_mount_) return errno_code(ENODEV);
    return std::shared_ptr<const Store>(std::move(fresh));
  } catch (const std::system_error& error) {
    return errno_code(error.code().value());
  }
}

Result<std::unique_ptr<StoreWatch>> DirectoryStore::watch() const {
  if (!opens_handles_) return errno_code(EPERM);
  if (!mounts_.own().watched) return mounts_.own().watched.error();
  return DiskWatch::open(marks_, path_of(root_.get()), options_.node_key);
}

Result<Found> DirectoryStore::root() const {
  Descriptor again(::openat(root_.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!again) return last_error();
  return found(std::move(again));
}

Result<NodeId> DirectoryStore::identify(int at, const char* name, const FileSystem& file_system,
                                        const struct statx& status) const {
  NodeIdentity identity;
  identity.file_system = file_system.id;
  HandleBuffer handle;
  handle.get()->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  const int flags = *name == '\0' ? AT_EMPTY_PATH : 0;
  if (::name_to_handle_at(at, name, handle.get(), &mount, flags) == 0) {
    identity.by_handle = true;
    identity.handle_type = handle.get()->handle_type;
    identity.handle.assign(reinterpret_cast<const char*>(handle.get()->f_handle),
                           handle.get()->handle_bytes);
  } else if (errno == EOPNOTSUPP || errno == EOVERFLOW || errno == ENOSYS || errno == EPERM) {
    identity.inode = status.stx_ino;
    identity.birth = {status.stx_btime.tv_sec, status.stx_btime.tv_nsec};
  } else {
    return last_error();
  }
  return codec_.seal(identity);
}

Result<Found> DirectoryStore::found(Descriptor reach) const {
  struct statx status;
  if (!status_of(reach.get(), "", status)) return last_error();
  const FileSystem& file_system = mounts_.of(reach.get(), status);
  auto id = identify(reach.get(), "", file_system, status);
  if (!id) return id.error();
  const Attributes attributes = describe(status, file_system, reach.get(), "");
  return Found{
      std::make_shared<DirectoryNode>(std::move(*id), status.stx_mode & S_IFMT, std::move(reach)),
      attributes};
}

Result<Descriptor> DirectoryStore::open_handle(const NodeIdentity& identity) const {
  HandleBuffer handle;
  handle.get()->handle_bytes = static_cast<unsigned>(identity.handle.size());
  handle.get()->handle_type = identity.handle_type;
  std::memcpy(handle.get()->f_handle, identity.handle.data(), identity.handle.size());
  int error = ESTALE;
  for (const bool again : {false, true}) {
    if (again) mounts_.add_mounts();
    for (const FileSystem* each = mounts_.first(); each != nullptr; each = each->next) {
      if (each->id != identity.file_system || each->directory < 0) continue;
      Descriptor opened(open_by_handle(each->directory, handle.get()));
      if (opened) return opened;
      error = errno;
      if (error == EPERM) return errno_code(EPERM);
    }
    if (identity.file_system == mounts_.own().id) return errno_code(error);
    if (Descriptor opened = open_in_subvolume(identity, handle.get())) return opened;
  }
  return errno_code(error);
}

/// Of a subvolume that was not met yet: the handle names it, so that any mount of its disk will do.
Descriptor DirectoryStore::open_in_subvolume(const NodeIdentity& identity,
                                             file_handle* handle) const {
  for (const FileSystem* each = mounts_.first(); each != nullptr; each = each->next) {
    if (each->id == identity.file_system) return {};
  }
  for (const FileSystem* each = mounts_.first(); each != nullptr; each = each->next) {
    if (!each->root) continue;
    Descriptor opened(open_by_handle(each->directory, handle));
    struct statx status;
    if (!opened || !status_of(opened.get(), "", status)) continue;
    if (mounts_.of(opened.get(), status).id == identity.file_system) return opened;
  }
  return {};
}

Result<NodeRef> DirectoryStore::resolve(const NodeId& id, const NamePath* path) const {
  const auto identity = codec_.open(id);
  if (!identity) return errno_code(ESTALE);
  if (id == root_id_) {
    auto top = root();
    if (!top) return top.error();
    return top->node;
  }
  if (identity->by_handle && opens_handles_) {
    auto opened = open_handle(*identity);
    if (!opened) return opened.error();
    struct statx status;
    if (!status_of(opened->get(), "", status)) return last_error();
    auto node = std::make_shared<DirectoryNode>(id, status.stx_mode & S_IFMT, std::move(*opened));
    if (auto inside = check_inside(*node); !inside) return inside.error();
    return NodeRef(std::move(node));
  }
  if (path == nullptr) return errno_code(ESTALE);
  return walk(id, *path);
}

Result<NodeRef> DirectoryStore::walk(const NodeId& id, const NamePath& path) const {
  Descriptor at(::openat(root_.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const std::string& name : path) {
    at = Descriptor(open_beneath(at.get(), name.c_str(), O_PATH));
    if (!at) return errno_code(errno == ENOENT || errno == ENOTDIR ? ESTALE : errno);
  }
  auto reached = found(std::move(at));
  if (!reached) return reached.error();
  if (reached->node->id() != id) return errno_code(ESTALE);
  return reached->node;
}

Result<void> DirectoryStore::check_inside(const Node& node) const {
  const std::string top = path_of(root_.get());
  const std::string path = path_of(reach(node));
  if (top == "/" || path == top) return boost::system::in_place_value;
  if (path.starts_with(top) && path[top.size()] == '/') return boost::system::in_place_value;
  // Longer than a page, or a file whose directory the kernel has not met since it started: a
  // directory can be followed upwards, of other files only their id says that they were inside.
  const bool no_path = path.empty() || path == "/";
  if (!no_path) return errno_code(ESTALE);
  if (node.type() == S_IFDIR && !beneath_by_walking_up(reach(node))) return errno_code(ESTALE);
  return boost::system::in_place_value;
}

bool DirectoryStore::beneath_by_walking_up(int directory) const {
  constexpr int kDeepest = 1 << 16;  // levels
  Descriptor at(::openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct statx here, above;
  if (!at || !status_of(at.get(), "", here)) return false;
  for (int level = 0; level < kDeepest; ++level) {
    if (same_place(here, root_status_)) return true;
    at = Descriptor(::openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!at || !status_of(at.get(), "", above) || same_place(above, here)) return false;
    here = above;
  }
  return false;
}

bool DirectoryStore::hidden(const Node& directory, const std::string& name) const {
  return name == kOrphanFolder && is_root(directory);
}

}  // namespace rushfs::fs

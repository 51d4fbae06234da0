// Operations beyond names, bytes and classic attributes: extended attributes, space, holes, copies,
// flags; and requests of the kernel that this libfuse does not know.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fs/mount/fuse_kernel.h"
#include "fs/mount/host.h"
#include "fs/posix_acl.h"

namespace rushfs::fs {

using Kernel = FuseSession::Kernel;

namespace {

// linux/fuse.h of protocol 7.39 on.
constexpr std::uint32_t kTmpfile = 51;  // FUSE_TMPFILE: laid out and answered as FUSE_CREATE
constexpr std::uint32_t kStatx = 52;    // FUSE_STATX: begins as FUSE_GETATTR
struct StatxTime {                      // struct fuse_sx_time
  std::int64_t seconds;
  std::uint32_t nanoseconds;
  std::int32_t reserved;
};
struct StatxReply {  // struct fuse_statx_out
  std::uint64_t valid_seconds;
  std::uint32_t valid_nanoseconds, flags;
  std::uint64_t spare[2];
  std::uint32_t mask, block_size;
  std::uint64_t attributes;
  std::uint32_t links, uid, gid;
  std::uint16_t mode, spare_mode;
  std::uint64_t inode, size, blocks, attributes_mask;
  StatxTime atime, btime, ctime, mtime;
  std::uint32_t device_major, device_minor, on_major, on_minor;
  std::uint64_t spare_end[14];
};
static_assert(sizeof(StatxReply) == 288);

StatxTime to_statx(const Timestamp& time) {
  return {time.seconds, time.nanoseconds, 0};
}

/// The flags both forms have (fileattr_fill_xflags() of the kernel).
constexpr std::pair<std::uint32_t, std::uint32_t> kInBothForms[] = {
    {FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE}, {FS_APPEND_FL, FS_XFLAG_APPEND},
    {FS_SYNC_FL, FS_XFLAG_SYNC},           {FS_NOATIME_FL, FS_XFLAG_NOATIME},
    {FS_NODUMP_FL, FS_XFLAG_NODUMP},       {FS_DAX_FL, FS_XFLAG_DAX},
    {FS_PROJINHERIT_FL, FS_XFLAG_PROJINHERIT}};

fsxattr to_fsxattr(std::uint32_t flags) {
  fsxattr extended{};
  for (const auto& [flag, xflag] : kInBothForms) {
    if ((flags & flag) != 0) extended.fsx_xflags |= xflag;
  }
  return extended;
}

/// What `flags` become. What only the extended form has is ignored, as ext4 does.
std::uint32_t with_fsxattr(std::uint32_t flags, const fsxattr& extended) {
  for (const auto& [flag, xflag] : kInBothForms) {
    flags = (extended.fsx_xflags & xflag) != 0 ? flags | flag : flags & ~flag;
  }
  return flags;
}

bool may_see(fuse_req_t request, const std::string& name) {
  return fuse_req_ctx(request)->uid == 0 || name.compare(0, 8, "trusted.") != 0;
}

// ---- Extended attributes ----

void getxattr(fuse_req_t request, fuse_ino_t node, const char* name, std::size_t room) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().get_xattr({node}, name, [&kernel, r = kernel.begin(request), room](auto value) {
    kernel.value(*r, value, room);
  });
}

void listxattr(fuse_req_t request, fuse_ino_t node, std::size_t room) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().list_xattrs(
      {node}, [&kernel, r = kernel.begin(request), room](Result<std::vector<std::string>> names) {
        if (!names) return kernel.fail(*r, names.error().value());
        std::string joined;
        for (const std::string& name : *names) {
          if (r->handle && may_see(r->handle, name)) joined.append(name).push_back('\0');
        }
        kernel.value(*r, joined, room);
      });
}

/// Whether the caller may set the set-group-ID bit of a file with this group.
bool keeps_set_group_id(fuse_req_t request, std::uint32_t group) {
  if (fuse_req_ctx(request)->gid == group) return true;
  // Not fuse_req_getgroups(), which searches what it has read beyond its end.
  const auto groups = groups_of(fuse_req_ctx(request)->pid);
  if (!groups) return true;  // of a process we cannot see
  return std::find(groups->begin(), groups->end(), group) != groups->end();
}

void set(fuse_req_t request, fuse_ino_t node, const char* name, std::optional<std::string> value,
         int flags) {
  Kernel& kernel = kernel_of(request);
  const XattrMode mode = (flags & XATTR_CREATE) != 0    ? XattrMode::create
                         : (flags & XATTR_REPLACE) != 0 ? XattrMode::replace
                                                        : XattrMode::any;
  const bool access_acl = name == kAccessAcl && value;
  kernel.volume().set_xattr(
      {node}, name, std::move(value), mode,
      [&kernel, node, access_acl, r = kernel.begin(request)](Result<void> result) {
        if (!result || !access_acl) return kernel.done(*r, result);
        kernel.without_set_group_id(r, {node}, [&kernel, r] { kernel.done(*r, {}); });
      });
}

void setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value,
              std::size_t size, int flags) {
  set(request, node, name, std::string(value, size), flags);
}

void removexattr(fuse_req_t request, fuse_ino_t node, const char* name) {
  set(request, node, name, std::nullopt, 0);
}

// ---- Space, holes, copies ----

void fallocate(fuse_req_t request, fuse_ino_t node, int mode, off_t offset, off_t length,
               fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().allocate(
      handle_of(file), static_cast<std::uint32_t>(mode), static_cast<std::uint64_t>(offset),
      static_cast<std::uint64_t>(length),
      [&kernel, node, r = kernel.begin(request)](Result<void> result) {
        if (!result) return kernel.done(*r, result);
        kernel.without_set_group_id(r, {node}, [&kernel, r] { kernel.done(*r, {}); });
      });
}

void lseek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* file) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return void(fuse_reply_err(request, EINVAL));
  Kernel& kernel = kernel_of(request);
  kernel.volume().seek(
      handle_of(file), static_cast<std::uint64_t>(offset),
      whence == SEEK_DATA ? Seek::data : Seek::hole,
      [&kernel, r = kernel.begin(request)](auto position) { kernel.position(*r, position); });
}

void copy_file_range(fuse_req_t request, fuse_ino_t, off_t from_offset, fuse_file_info* from,
                     fuse_ino_t, off_t to_offset, fuse_file_info* to, std::size_t length,
                     int /*flags*/) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().copy_range(
      handle_of(from), static_cast<std::uint64_t>(from_offset), handle_of(to),
      static_cast<std::uint64_t>(to_offset), length,
      [&kernel, r = kernel.begin(request)](auto copied) { kernel.written(*r, copied); });
}

// ---- Flags ----

/// `wanted`: none, if they are only asked for.
void file_flags(Kernel& kernel, FuseRequestRef request, NodeNumber node, unsigned command,
                std::optional<std::uint32_t> wanted) {
  kernel.volume().file_flags(node, wanted, [&kernel, node, command, wanted, request](auto flags) {
    if (wanted) kernel.invalidate(node);  // the kernel does not know that this changes attributes
    kernel.after_invalidation(node, [&kernel, request, flags, command] {
      kernel.flags(*request, flags, command);
    });
  });
}

void set_extended_flags(Kernel& kernel, FuseRequestRef request, NodeNumber node,
                        const fsxattr& extended) {
  kernel.volume().file_flags(node, std::nullopt, [&kernel, node, extended, request](auto flags) {
    if (!flags) return kernel.fail(*request, flags.error().value());
    if (extended.fsx_projid != 0) return kernel.fail(*request, EOPNOTSUPP);
    file_flags(kernel, request, node, FS_IOC_FSSETXATTR, with_fsxattr(*flags, extended));
  });
}

// The kernel asks FS_IOC_FSGETXATTR before it sets flags in either form.
void ioctl(fuse_req_t request, fuse_ino_t node, unsigned command, void*, fuse_file_info*, unsigned,
           const void* in, std::size_t in_size, std::size_t) {
  Kernel& kernel = kernel_of(request);
  if (command == FS_IOC_GETFLAGS || command == FS_IOC_FSGETXATTR) {
    file_flags(kernel, kernel.begin(request), {node}, command, std::nullopt);
  } else if (command == FS_IOC_SETFLAGS && in_size >= sizeof(std::uint32_t)) {
    std::uint32_t wanted = 0;
    std::memcpy(&wanted, in, sizeof(wanted));
    file_flags(kernel, kernel.begin(request), {node}, command, wanted);
  } else if (command == FS_IOC_FSSETXATTR && in_size >= sizeof(fsxattr)) {
    fsxattr wanted{};
    std::memcpy(&wanted, in, sizeof(wanted));
    set_extended_flags(kernel, kernel.begin(request), {node}, wanted);
  } else {
    const bool known = command == FS_IOC_SETFLAGS || command == FS_IOC_FSSETXATTR;
    fuse_reply_err(request, known ? EINVAL : ENOTTY);
  }
}

}  // namespace

void add_extended_operations(fuse_lowlevel_ops& operations) {
  operations.getxattr = getxattr;
  operations.listxattr = listxattr;
  operations.setxattr = setxattr;
  operations.removexattr = removexattr;
  operations.fallocate = fallocate;
  operations.lseek = lseek;
  operations.copy_file_range = copy_file_range;
  operations.ioctl = ioctl;
}

// Requests libfuse does not know, but whose older siblings are laid out alike: it is shown those.
void Kernel::translate() {
  asked_statx_ = false;
  if (buffer_.size < sizeof(fuse_in_header)) return;
  auto* header = static_cast<fuse_in_header*>(buffer_.mem);
  if (header->opcode == kTmpfile) header->opcode = FUSE_CREATE;
  asked_statx_ = header->opcode == kStatx;
  if (asked_statx_) header->opcode = FUSE_GETATTR;
}

// The kernel takes the bit away itself where the group may execute the file; not elsewhere.
void Kernel::without_set_group_id(const FuseRequestRef& request, NodeNumber number,
                                  absl::AnyInvocable<void() &&> answer) {
  if (!request->handle || fuse_req_ctx(request->handle)->uid == 0) return std::move(answer)();
  volume_.get_attributes(number, [this, request, number,
                                  answer = std::move(answer)](Result<Attributes> now) mutable {
    const bool stays = !now || (now->mode & S_ISGID) == 0 || !request->handle ||
                       keeps_set_group_id(request->handle, now->gid);
    if (stays) return std::move(answer)();
    AttributeChange change;
    change.mode = now->mode & 07777 & ~std::uint32_t{S_ISGID};
    volume_.set_attributes(number, change,
                           [this, number, answer = std::move(answer)](Result<Attributes>) mutable {
                             std::move(answer)();
                             invalidate(number);  // after it: who writes has pages locked
                           });
  });
}

void Kernel::status(FuseRequest& request, const Result<Attributes>& attributes) {
  if (!attributes) return fail(request, attributes.error().value());
  const auto handle = take(request);
  if (!handle) return;
  const Attributes& now = *attributes;
  StatxReply reply{};
  reply.valid_seconds = kValidity.count();
  const bool born = now.btime != Timestamp{};
  reply.mask = STATX_BASIC_STATS | (born ? STATX_BTIME : 0);
  reply.block_size = buffer_size(now);
  reply.links = now.links;
  reply.uid = now.uid;
  reply.gid = now.gid;
  reply.mode = static_cast<std::uint16_t>(now.mode);
  reply.inode = now.inode;
  reply.size = now.size;
  reply.blocks = now.blocks;
  reply.atime = to_statx(now.atime);
  reply.btime = to_statx(now.btime);
  reply.ctime = to_statx(now.ctime);
  reply.mtime = to_statx(now.mtime);
  reply.device_major = now.device_major;
  reply.device_minor = now.device_minor;
  fuse_reply_buf(handle, reinterpret_cast<const char*>(&reply), sizeof(reply));
}

void Kernel::value(FuseRequest& request, const Result<std::string>& value, std::size_t room) {
  if (!value) return fail(request, value.error().value());
  if (room != 0 && value->size() > room) return fail(request, ERANGE);
  const auto handle = take(request);
  if (!handle) return;
  if (room == 0) {
    fuse_reply_xattr(handle, value->size());
  } else {
    fuse_reply_buf(handle, value->data(), value->size());
  }
}

void Kernel::position(FuseRequest& request, const Result<std::uint64_t>& position) {
  if (!position) return fail(request, position.error().value());
  if (const auto handle = take(request)) fuse_reply_lseek(handle, static_cast<off_t>(*position));
}

void Kernel::flags(FuseRequest& request, const Result<std::uint32_t>& flags, unsigned command) {
  if (!flags) return fail(request, flags.error().value());
  const auto handle = take(request);
  if (!handle) return;
  if (command == FS_IOC_FSGETXATTR) {
    const fsxattr extended = to_fsxattr(*flags);
    fuse_reply_ioctl(handle, 0, &extended, sizeof(extended));
  } else {
    fuse_reply_ioctl(handle, 0, &*flags, command == FS_IOC_GETFLAGS ? sizeof(*flags) : 0);
  }
}

}  // namespace rushfs::fs

// The table of operations libfuse calls, each a translation of arguments.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "fs/mount/fuse_kernel.h"
#include "fs/mount/fuse_replay.h"

namespace rushfs::fs {

namespace {

using Kernel = FuseSession::Kernel;

Caller caller_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return {context->uid, context->gid, static_cast<std::uint32_t>(context->umask)};
}

OpenFlags flags_of(fuse_req_t request, const fuse_file_info* file) {
  OpenFlags flags;
  const int access = file->flags & O_ACCMODE;
  flags.read = access != O_WRONLY;
  flags.write = access != O_RDONLY;
  flags.append = file->flags & O_APPEND;
  flags.truncate = file->flags & O_TRUNC;
  flags.exclusive = file->flags & O_EXCL;
  flags.drop_set_id = fuse_req_ctx(request)->uid != 0;
  flags.sync = file->flags & (O_SYNC | O_DSYNC);
  flags.untouched = file->flags & O_NOATIME;
  return flags;
}

void init(void* kernel, fuse_conn_info* connection) {
  static_cast<Kernel*>(kernel)->initialise(*connection);
}

// ---- Names ----

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().lookup({parent}, name, [&kernel, r = kernel.begin(request)](auto found) {
    const NodeNumber number = found ? found->number : NodeNumber{};
    kernel.after_invalidation(number, [&kernel, r, found] { kernel.entry(*r, found); });
  });
}

void forget(fuse_req_t request, fuse_ino_t node, std::uint64_t count) {
  kernel_of(request).volume().forget({node}, count);
  fuse_reply_none(request);
}

void forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) {
    kernel_of(request).volume().forget({forgets[i].ino}, forgets[i].nlookup);
  }
  fuse_reply_none(request);
}

void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().make_node(
      {parent}, name, caller_of(request), mode, major(device), minor(device),
      [&kernel, r = kernel.begin(request)](auto found) { kernel.entry(*r, found); });
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().make_directory(
      {parent}, name, caller_of(request), mode,
      [&kernel, r = kernel.begin(request)](auto found) { kernel.entry(*r, found); });
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().symlink(
      {parent}, name, caller_of(request), target,
      [&kernel, r = kernel.begin(request)](auto found) { kernel.entry(*r, found); });
}

void link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().link({node}, {parent}, name, [&kernel, r = kernel.begin(request)](auto found) {
    kernel.entry(*r, found);
  });
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().unlink({parent}, name, [&kernel, r = kernel.begin(request)](auto result) {
    kernel.done(*r, result);
  });
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().remove_directory(
      {parent}, name,
      [&kernel, r = kernel.begin(request)](auto result) { kernel.done(*r, result); });
}

void rename(fuse_req_t request, fuse_ino_t from_parent, const char* from, fuse_ino_t to_parent,
            const char* to, unsigned flags) {
  Kernel& kernel = kernel_of(request);
  RenameMode mode = RenameMode::replace;
  switch (flags) {
    case 0: break;
    case RENAME_NOREPLACE: mode = RenameMode::no_replace; break;
    case RENAME_EXCHANGE: mode = RenameMode::exchange; break;
    case RENAME_WHITEOUT: mode = RenameMode::whiteout; break;
    case RENAME_WHITEOUT | RENAME_NOREPLACE: mode = RenameMode::no_replace_whiteout; break;
    default: return void(fuse_reply_err(request, EINVAL));
  }
  kernel.volume().rename(
      {from_parent}, from, {to_parent}, to, mode,
      [&kernel, r = kernel.begin(request)](auto result) { kernel.done(*r, result); });
}

void readlink(fuse_req_t request, fuse_ino_t node) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().read_link({node}, [&kernel, r = kernel.begin(request)](auto target) {
    kernel.target(*r, target);
  });
}

// ---- Attributes ----

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  Kernel& kernel = kernel_of(request);
  kernel.attributes_asked({node});
  kernel.volume().get_attributes({node}, [&kernel, node, r = kernel.begin(request),
                                          statx = kernel.asked_statx()](auto attributes) {
    kernel.after_invalidation({node}, [&kernel, node, r, statx, attributes] {
      if (statx) {
        kernel.status(*r, attributes);
      } else {
        kernel.attributes(*r, attributes);
      }
      kernel.attributes_answered({node});
    });
  });
}

std::optional<TimeChange> time_change(int to_set, int given, int now, const timespec& time) {
  if (to_set & now) return TimeChange{true, {}};
  if (to_set & given) {
    return TimeChange{false, {time.tv_sec, static_cast<std::uint32_t>(time.tv_nsec)}};
  }
  return std::nullopt;
}

void setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int to_set,
             fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  // What is changed through a descriptor may be a conflict copy by now.
  const NodeNumber target =
      file ? kernel.volume().behind(handle_of(file)).value_or(NodeNumber{node}) : NodeNumber{node};
  AttributeChange change;
  if (to_set & FUSE_SET_ATTR_MODE) change.mode = wanted->st_mode & 07777;
  if (to_set & FUSE_SET_ATTR_UID) change.uid = wanted->st_uid;
  if (to_set & FUSE_SET_ATTR_GID) change.gid = wanted->st_gid;
  if (to_set & FUSE_SET_ATTR_SIZE) change.size = static_cast<std::uint64_t>(wanted->st_size);
  change.atime =
      time_change(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, wanted->st_atim);
  change.mtime =
      time_change(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, wanted->st_mtim);
  kernel.volume().set_attributes(
      target, std::move(change),
      [&kernel, r = kernel.begin(request), node, target](auto attributes) {
        kernel.attributes(*r, attributes);
        if (target.value != node) kernel.invalidate({node});  // it is not like that
      });
}

void statfs(fuse_req_t request, fuse_ino_t node) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().stat_fs({node ? node : FUSE_ROOT_ID},
                          [&kernel, r = kernel.begin(request)](auto space) {
                            kernel.space(*r, space);
                          });
}

// ---- Open files ----

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  auto done = [&kernel, r = kernel.begin(request), info = *file](auto created) {
    kernel.created(*r, created, info);
  };
  const Caller caller = caller_of(request);
  if (std::strcmp(name, kUnnamed) == 0) {
    OpenFlags flags = flags_of(request, file);
    flags.exclusive = false;
    return kernel.volume().create_unnamed({parent}, caller, mode, flags, std::move(done));
  }
  kernel.volume().create({parent}, name, caller, mode, flags_of(request, file), std::move(done));
}

void open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().open({node}, flags_of(request, file),
                       [&kernel, r = kernel.begin(request), info = *file](auto opened) {
                         kernel.opened(*r, opened, info);
                       });
}

Through through(const fuse_file_info* file) {
  if (file->writepage) return Through::mapping;
  return (file->flags & O_DIRECT) != 0 ? Through::nothing : Through::pages;
}

FuseRequestRef begin(Kernel& kernel, fuse_req_t request, const fuse_file_info* file) {
  return through(file) == Through::nothing ? kernel.begin_direct(request) : kernel.begin(request);
}

void read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().read(
      handle_of(file), static_cast<std::uint64_t>(offset), size,
      [&kernel, r = begin(kernel, request, file)](auto slices) { kernel.bytes(*r, slices); },
      through(file));
}

void write(fuse_req_t request, fuse_ino_t node, const char* bytes, std::size_t size, off_t offset,
           fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  // Behind an asynchronous direct write the kernel keeps pages that were read meanwhile.
  const bool direct = through(file) == Through::nothing;
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes);  // a char would be copied alone
  kernel.volume().write(
      handle_of(file), static_cast<std::uint64_t>(offset), Buffer(data, data + size),
      [&kernel, direct, node, r = begin(kernel, request, file)](auto length) {
        kernel.without_set_group_id(r, {node}, [&kernel, direct, node, r, length] {
          if (!direct) return kernel.written(*r, length);
          kernel.invalidate({node});
          kernel.after_quick_invalidation({node},
                                          [&kernel, r, length] { kernel.written(*r, length); });
        });
      },
      through(file));
}

void flush(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  const HandleNumber handle = handle_of(file);
  kernel.volume().flush(
      handle, [&kernel, handle, owner = file->lock_owner, r = kernel.begin(request)](auto result) {
        kernel.volume().unlock_closed(handle, owner, [&kernel, r, result](auto unlocked) {
          kernel.done(*r, result ? unlocked : result);
        });
      });
}

void fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().sync(handle_of(file), [&kernel, r = kernel.begin(request)](auto result) {
    kernel.done(*r, result);
  });
}

void release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  kernel_of(request).volume().release(handle_of(file));
  fuse_reply_err(request, 0);
}

// ---- Folders ----

void opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().open_directory({node},
                                 [&kernel, r = kernel.begin(request), info = *file](auto handle) {
                                   kernel.opened_directory(*r, handle, info);
                                 });
}

void list(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t cookie,
          fuse_file_info* file, bool with_attributes) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().read_directory(
      handle_of(file), static_cast<std::uint64_t>(cookie),
      [&kernel, r = kernel.begin(request), node, size, with_attributes](auto listed) {
        kernel.listed(*r, {node}, listed, size, with_attributes);
      });
}

void readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t cookie,
             fuse_file_info* file) {
  list(request, node, size, cookie, file, false);
}

void readdirplus(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t cookie,
                 fuse_file_info* file) {
  list(request, node, size, cookie, file, true);
}

void releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  kernel_of(request).volume().release_directory(handle_of(file));
  fuse_reply_err(request, 0);
}

void fsyncdir(fuse_req_t request, fuse_ino_t node, int, fuse_file_info*) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().sync_directory({node}, [&kernel, r = kernel.begin(request)](auto result) {
    kernel.done(*r, result);
  });
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops operations{};
  operations.init = init;
  operations.lookup = lookup;
  operations.forget = forget;
  operations.forget_multi = forget_multi;
  operations.mknod = mknod;
  operations.mkdir = mkdir;
  operations.symlink = symlink;
  operations.link = link;
  operations.unlink = unlink;
  operations.rmdir = rmdir;
  operations.rename = rename;
  operations.readlink = readlink;
  operations.getattr = getattr;
  operations.setattr = setattr;
  operations.statfs = statfs;
  operations.create = create;
  operations.open = open;
  operations.read = read;
  operations.write = write;
  operations.flush = flush;
  operations.fsync = fsync;
  operations.release = release;
  operations.opendir = opendir;
  operations.readdir = readdir;
  operations.readdirplus = readdirplus;
  operations.releasedir = releasedir;
  operations.fsyncdir = fsyncdir;
  add_extended_operations(operations);
  operations.getlk = get_lock;
  operations.setlk = set_lock;
  operations.flock = whole_lock;
  add_replay(operations);
  return operations;
}

}  // namespace

const fuse_lowlevel_ops& fuse_operations() {
  static const fuse_lowlevel_ops operations = make_operations();
  return operations;
}

}  // namespace rushfs::fs

// fcntl(2) and flock(2) as the kernel asks for them.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "fs/mount/fuse_kernel.h"

namespace rushfs::fs {
namespace {

using Kernel = FuseSession::Kernel;

LockType type_of(int type) {
  return type == F_RDLCK ? LockType::shared
         : type == F_WRLCK ? LockType::exclusive
                           : LockType::none;
}

/// The kernel has made the range absolute; a length of 0 reaches to the end of any file.
LockAsk ask_of(const fuse_file_info* file, const struct flock& lock) {
  LockAsk ask;
  ask.owner = file->lock_owner;
  ask.process = static_cast<std::uint32_t>(lock.l_pid);
  ask.span.type = type_of(lock.l_type);
  ask.span.first = static_cast<std::uint64_t>(lock.l_start);
  if (lock.l_len > 0) ask.span.last = ask.span.first + static_cast<std::uint64_t>(lock.l_len) - 1;
  return ask;
}

void lock(fuse_req_t request, fuse_file_info* file, const LockAsk& ask) {
  Kernel& kernel = kernel_of(request);
  const auto r = kernel.begin(request);
  // A signal ends the wait, whatever it is: as on a local disk.
  if (ask.ticket != 0) {
    r->on_signal = [&kernel, ticket = ask.ticket] { kernel.volume().cancel_lock(ticket); };
  }
  kernel.volume().lock(
      {file->fh}, ask, [&kernel, r, handle = file->fh, ask](auto result) {
        const bool too_late = result && !r->handle;
        kernel.done(*r, result);
        if (!too_late || ask.span.type == LockType::none) return;
        LockAsk undo = ask;  // whoever asked is gone
        undo.span.type = LockType::none;
        undo.ticket = 0;
        kernel.volume().lock({handle}, undo, [](auto) {});
      });
}

}  // namespace

void set_lock(fuse_req_t request, fuse_ino_t, fuse_file_info* file, struct flock* lock_asked,
              int sleep) {
  LockAsk ask = ask_of(file, *lock_asked);
  if (sleep != 0 && ask.span.type != LockType::none) ask.ticket = kernel_of(request).lock_ticket();
  lock(request, file, ask);
}

void get_lock(fuse_req_t request, fuse_ino_t, fuse_file_info* file, struct flock* lock_asked) {
  Kernel& kernel = kernel_of(request);
  kernel.volume().test_lock(
      {file->fh}, ask_of(file, *lock_asked),
      [&kernel, r = kernel.begin(request)](auto found) { kernel.lock_found(*r, found); });
}

void whole_lock(fuse_req_t request, fuse_ino_t, fuse_file_info* file, int operation) {
  LockAsk ask;
  ask.owner = file->lock_owner;
  ask.span.kind = LockKind::whole;
  const int what = operation & ~LOCK_NB;
  ask.span.type = what == LOCK_SH   ? LockType::shared
                  : what == LOCK_EX ? LockType::exclusive
                                    : LockType::none;
  if ((operation & LOCK_NB) == 0 && ask.span.type != LockType::none) {
    ask.ticket = kernel_of(request).lock_ticket();
  }
  lock(request, file, ask);
}

}  // namespace rushfs::fs

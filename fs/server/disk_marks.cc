#include "fs/server/disk_marks.h"

#include <fcntl.h>
#include <sys/fanotify.h>

#include <cerrno>

namespace rushfs::fs {
namespace {

constexpr unsigned kClass = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_FID |
                            FAN_REPORT_DIR_FID | FAN_REPORT_NAME;
constexpr std::uint64_t kEvents = FAN_MODIFY | FAN_ATTRIB | FAN_CREATE | FAN_DELETE |
                                  FAN_MOVED_FROM | FAN_MOVED_TO | FAN_ONDIR;

}  // namespace

DiskMarks::DiskMarks() : group_(::fanotify_init(kClass, O_RDONLY | O_CLOEXEC)) {
  if (!group_) error_ = errno;
}

Result<void> DiskMarks::add(int fd) const {
  if (!group_) return errno_code(error_);
  const unsigned how = FAN_MARK_ADD | FAN_MARK_FILESYSTEM;
  if (::fanotify_mark(group_.get(), how, kEvents, AT_FDCWD, proc_path(fd).c_str()) == 0) return {};
  return errno_code(errno);
}

Result<Descriptor> DiskMarks::events() const {
  if (!group_) return errno_code(error_);
  Descriptor again(::fcntl(group_.get(), F_DUPFD_CLOEXEC, 0));
  if (!again) return errno_code(errno);
  return again;
}

}  // namespace rushfs::fs

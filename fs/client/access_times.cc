#include "fs/client/access_times.h"

namespace rushfs::fs {

bool AccessTimes::due(const Inode& inode) const {
  constexpr std::int64_t kDay = 24 * 60 * 60;  // seconds
  if (read_only_ || !inode.known()) return false;
  if (inode.directory() && !options_.folders) return false;
  if (options_.rule != AccessRule::relative) return options_.rule == AccessRule::always;
  const Attributes seen = inode.view();
  return seen.atime <= seen.mtime || seen.atime <= seen.ctime ||
         wall_time(time_).seconds - seen.atime.seconds >= kDay;
}

void AccessTimes::read(Inode& inode) const {
  if (!due(inode)) return;
  inode.read_at = wall_time(time_);
  inode.read_untold = true;
}

// The server reads the file too, for setting the time would change the file. From then on its time
// is shown, as others see it, but where it is earlier: its disk keeps none, or its clock is behind.
void AccessTimes::tell(const InodeRef& inode) const {
  if (!inode->read_untold || inode->local.operations > 0 || !remote_.reachable()) return;
  inode->read_untold = false;
  ask(
      remote_, Priority::urgent, Touch{inode->node},
      [inode, told = inode->read_at](Result<Answer<AttributesReply>> answer) {
        if (!answer) return;
        inode->server.atime = (*answer)->attributes.atime;
        if (inode->read_at == told && told < inode->server.atime) inode->read_at.reset();
      },
      Patience::patient);
}

}  // namespace rushfs::fs

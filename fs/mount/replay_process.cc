#include "fs/mount/replay_process.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "fs/protocol/names.h"

namespace rushfs::fs {
namespace {

/// Two paths, two names and what else an order has.
constexpr std::size_t kLargestOrder = 4 * 4096;

/// Numbers first, as they are in memory: both ends are one program.
struct Numbers {
  ReplayOrder::What what;
  std::uint32_t mode, device_major, device_minor;
  std::uint64_t size;
};

int open_beneath_mount(const std::string& mount_point, const ReplayOrder& order,
                       const std::string& path) {
  // No request goes to the mount for these two.
  const Descriptor root(::open(mount_point.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct statx facts {};
  if (!root || statx(root.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &facts) != 0) return -1;
  // Unmounted meanwhile: what is beneath is somebody else's.
  if (facts.stx_dev_major != order.device_major || facts.stx_dev_minor != order.device_minor) {
    errno = ENODEV;
    return -1;
  }
  struct open_how how {};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return static_cast<int>(syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how));
}

int create(int folder, const ReplayOrder& order) {
  const char* name = order.name.c_str();
  const mode_t mode = order.mode & 07777;
  if (S_ISDIR(order.mode)) return mkdirat(folder, name, mode);
  if (S_ISLNK(order.mode)) return symlinkat("-", folder, name);
  if (!S_ISREG(order.mode)) return mknodat(folder, name, S_IFIFO | mode, 0);
  const Descriptor made(
      openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode));
  return made ? 0 : -1;
}

/// What has the name in the folder, and not what it leads to: neither a symbolic link nor what else
/// is mounted there may take it out of the mount.
Descriptor open_itself(int folder, const std::string& name) {
  struct open_how how {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return Descriptor(static_cast<int>(syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how)));
}

int change(int folder, const ReplayOrder& order) {
  const Descriptor found = open_itself(folder, order.name);
  struct stat status {};
  if (!found || fstat(found.get(), &status) != 0) return -1;
  if (!S_ISREG(status.st_mode)) {
    errno = ECANCELED;
    return -1;
  }
  const Descriptor file(open(proc_path(found.get()).c_str(), O_WRONLY | O_CLOEXEC));
  return file ? ftruncate(file.get(), static_cast<off_t>(order.size)) : -1;
}

int change_attributes(int folder, const ReplayOrder& order) {
  const Descriptor found = open_itself(folder, order.name);
  return found ? chmod(proc_path(found.get()).c_str(), order.mode & 07777) : -1;
}

int carry_out(const std::string& mount_point, const ReplayOrder& order) {
  const Descriptor folder(open_beneath_mount(mount_point, order, order.folder));
  if (!folder) return -1;
  switch (order.what) {
    case ReplayOrder::What::create:
      return create(folder.get(), order);
    case ReplayOrder::What::change:
      return change(folder.get(), order);
    case ReplayOrder::What::attributes:
      return change_attributes(folder.get(), order);
    case ReplayOrder::What::remove:
      return unlinkat(folder.get(), order.name.c_str(), S_ISDIR(order.mode) ? AT_REMOVEDIR : 0);
    case ReplayOrder::What::rename:
      break;
  }
  const Descriptor to(open_beneath_mount(mount_point, order, order.to_folder));
  if (!to) return -1;
  return renameat(folder.get(), order.name.c_str(), to.get(), order.to_name.c_str());
}

[[noreturn]] void serve(int channel, const std::string& mount_point) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NAME, "rushfs-replay");
  // The terminal's signals are for the mount.
  setsid();
  umask(0);
  std::vector<char> bytes(kLargestOrder);
  for (;;) {
    const auto length = recv(channel, bytes.data(), bytes.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) _exit(0);
    const auto order = decode_replay_order(bytes.data(), static_cast<std::size_t>(length));
    std::int32_t error = EINVAL;
    if (order) error = carry_out(mount_point, *order) == 0 ? 0 : errno;
    if (send(channel, &error, sizeof error, MSG_NOSIGNAL) < 0) _exit(0);
  }
}

}  // namespace

std::vector<char> encode(const ReplayOrder& order) {
  const Numbers numbers{order.what, order.mode, order.device_major, order.device_minor,
                        order.size};
  std::vector<char> bytes(sizeof numbers);
  std::memcpy(bytes.data(), &numbers, sizeof numbers);
  for (const auto* text : {&order.folder, &order.name, &order.to_folder, &order.to_name}) {
    bytes.insert(bytes.end(), text->c_str(), text->c_str() + text->size() + 1);
  }
  return bytes;
}

std::optional<ReplayOrder> decode_replay_order(const char* bytes, std::size_t length) {
  Numbers numbers{};
  if (length < sizeof numbers) return std::nullopt;
  std::memcpy(&numbers, bytes, sizeof numbers);
  ReplayOrder order;
  order.what = numbers.what;
  order.mode = numbers.mode;
  order.device_major = numbers.device_major;
  order.device_minor = numbers.device_minor;
  order.size = numbers.size;
  const char* at = bytes + sizeof numbers;
  for (auto* text : {&order.folder, &order.name, &order.to_folder, &order.to_name}) {
    const auto* end = static_cast<const char*>(
        std::memchr(at, 0, static_cast<std::size_t>(bytes + length - at)));
    if (end == nullptr) return std::nullopt;
    text->assign(at, end);
    at = end + 1;
  }
  // Names come from a server, and what is carried out here may be carried out as root.
  if (leads_away(order.name)) return std::nullopt;
  if (order.what == ReplayOrder::What::rename && leads_away(order.to_name)) return std::nullopt;
  return order;
}

ReplayProcess::ReplayProcess(const std::string& mount_point)
    : process_("replay", [mount_point](int channel) { serve(channel, mount_point); }) {}

}  // namespace rushfs::fs

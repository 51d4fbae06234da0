#include "tools/control_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tools/default_files.h"
#include "tools/error.h"

namespace rushfs::tools {
namespace {

namespace file = std::filesystem;

CommandError gone(const std::string& mount_point) {
  return {ExitCode::not_mounted,
          fmt::format("The rushfs process of {0} is gone; {0} answers nobody. What was written is "
                      "kept in the cache. To go on: rushfs unmount {0}, then mount it again.",
                      mount_point)};
}

/// Runtime directories a mount of this user may have used.
std::array<file::path, 3> runtime_directories(unsigned user) {
  if (user == 0) return {"/run/rushfs", runtime_directory(), runtime_directory()};
  return {fmt::format("/run/user/{}/rushfs", user), fmt::format("/tmp/rushfs-{}", user),
          runtime_directory()};
}

/// Its socket is in a folder that only its owner, and root, can look into.
void require_owner(const MountEntry& mount) {
  if (geteuid() == 0 || geteuid() == mount.user_id) return;
  throw CommandError(ExitCode::failure,
                     fmt::format("{} was mounted by another user (uid {}): only that user and "
                                 "root may ask about it.", mount.mount_point.string(),
                                 mount.user_id));
}

/// Anybody may make a folder of any name in /tmp.
bool is_of_owner(int connected, const MountEntry& mount) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(connected, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == mount.user_id || peer.uid == 0);
}

}  // namespace

file::path control_socket(const MountEntry& mount) {
  const std::string name = fmt::format("{}-{}.sock", mount.device_major, mount.device_minor);
  std::error_code ignored;
  for (const file::path& directory : runtime_directories(mount.user_id)) {
    if (file::exists(directory / name, ignored)) return directory / name;
  }
  return runtime_directory() / name;
}

ControlCall::ControlCall(const MountEntry& mount, const nlohmann::json& request)
    : mount_point_(mount.mount_point.string()) {
  require_owner(mount);
  const std::string path = control_socket(mount).string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    throw CommandError(ExitCode::failure, "The socket's path is too long: " + path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const std::string line = request.dump() + '\n';
  const bool connected =
      socket_ >= 0 &&
      ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  if (connected && !is_of_owner(socket_, mount)) {
    ::close(socket_);
    throw CommandError(ExitCode::failure, path + " is not of the user who mounted " +
                                              mount_point_ + "; what it says is not believed.");
  }
  const bool sent =
      connected &&
      ::send(socket_, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size());
  if (sent) return;
  if (socket_ >= 0) ::close(socket_);
  throw gone(mount_point_);
}

ControlCall::~ControlCall() { ::close(socket_); }

std::optional<nlohmann::json> ControlCall::reply(transport::Duration patience) {
  const auto end = transport::Clock::now() + patience;
  for (;;) {
    if (const auto newline = received_.find('\n'); newline != std::string::npos) {
      return nlohmann::json::parse(received_.substr(0, newline));
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - transport::Clock::now());
    pollfd waiting{socket_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::max<long>(left.count(), 0)));
    if (ready == 0) return std::nullopt;
    std::array<char, 16384> piece;
    const ssize_t count = ready < 0 ? -1 : ::read(socket_, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw gone(mount_point_);
    received_.append(piece.data(), static_cast<std::size_t>(count));
  }
}

nlohmann::json ask_mount(const MountEntry& mount, const nlohmann::json& request) {
  ControlCall call(mount, request);
  if (auto reply = call.reply(std::chrono::seconds(10))) return std::move(*reply);
  throw CommandError(ExitCode::failure,
                     fmt::format("The rushfs process of {} does not answer; it may wait for its "
                                 "cache disk.", mount.mount_point.string()));
}

MountEntry require_mount(const file::path& path) {
  const auto entries = read_mount_table();
  if (auto entry = find_mount(entries, absolute_path(path, entries))) return *entry;
  throw CommandError(ExitCode::not_mounted,
                     fmt::format("{} is not in a rushfs mount. rushfs status lists them.",
                                 path.string()));
}

}  // namespace rushfs::tools

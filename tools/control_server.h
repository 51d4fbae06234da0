// A running mount's door for the other commands: a Unix socket on which each connection carries one
// request and one reply, each one line of JSON. Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>

namespace rushfs::tools {

class ControlServer {
 public:
  using Reply = absl::AnyInvocable<void(nlohmann::json) &&>;
  /// Called on the loop; the reply may be given later, also after the ControlServer is gone. Throws
  /// nlohmann::json::exception, before it replies, for fields that are not what they should be.
  using Handler = std::function<void(const nlohmann::json& request, Reply reply)>;

  /// Listens at `path` with mode 0600, in a directory of mode 0700 that it makes; a socket left by
  /// a process that died is replaced. Throws CommandError naming the path.
  ControlServer(boost::asio::io_context& loop, const std::filesystem::path& path, Handler handler);
  ~ControlServer();  // removes the socket, unless its name is another's by now
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  class Listener;
  std::shared_ptr<Listener> listener_;
};

/// Creates `directory` (mode 0700) or checks that it is ours and closed to others. Throws
/// CommandError.
void make_private_directory(const std::filesystem::path& directory);

}  // namespace rushfs::tools

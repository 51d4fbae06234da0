#include "tools/mount_control.h"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "tools/error.h"
#include "tools/options.h"
#include "tools/status_json.h"

namespace rushfs::tools {
namespace {

using nlohmann::json;
using Reply = ControlServer::Reply;

/// Turns the outcome of something that takes a while into a reply.
auto answer_with(Reply reply) {
  return [reply = std::move(reply)](fs::Result<void> result) mutable {
    if (result.has_value()) return std::move(reply)(json{{"done", true}});
    std::move(reply)(json{{"error", result.error().message()}, {"errno", result.error().value()}});
  };
}

/// `rate` is what holds now; what the request does not name stays.
void set_rate(fs::Mount& mount, transport::RateLimits& rate, const json& request, Reply reply) {
  try {
    rate = change_rate(rate, request.at("options").get<std::vector<std::string>>());
    mount.set_rate(rate);
    std::move(reply)(json{{"done", true}});
  } catch (const std::exception& error) {
    std::move(reply)(json{{"error", error.what()}});
  }
}

}  // namespace

ControlServer::Handler mount_control(fs::Mount& mount, transport::RateLimits rate) {
  return [&mount, rate](const json& request, Reply reply) mutable {
    const std::string command = request.value("command", "");
    if (command == "status") {
      mount.status([reply = std::move(reply)](const fs::MountStatus& found) mutable {
        json status = to_json(found);
        status["pid"] = getpid();
        std::move(reply)(std::move(status));
      });
    } else if (command == "wait" && request.contains("file")) {
      mount.wait_file(request.value("file", ""), answer_with(std::move(reply)));
    } else if (command == "wait") {
      mount.wait_all(answer_with(std::move(reply)));
    } else if (command == "retry") {
      mount.retry_now();
      std::move(reply)(json{{"done", true}});
    } else if (command == "discard") {
      mount.discard_parked(request.value("operation", std::uint64_t{0}),
                           answer_with(std::move(reply)));
    } else if (command == "rate") {
      set_rate(mount, rate, request, std::move(reply));
    } else {
      std::move(reply)(json{{"error", "unknown command: " + command}});
    }
  };
}

}  // namespace rushfs::tools

#include "tools/credentials.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <array>

#include "tools/default_files.h"
#include "tools/error.h"

namespace rushfs::tools {

transport::HostTrust Credentials::trust(const transport::HostPort& server,
                                        const transport::PublicKey& key) const {
  return known_hosts.look_up(transport::host_port(server.host, server.port), key);
}

transport::KeyJudge Credentials::expect(const transport::HostPort& server) const {
  return [hosts = known_hosts, name = transport::host_port(server.host, server.port)](
             const transport::PublicKey& key) {
    return hosts.look_up(name, key) == transport::HostTrust::known;
  };
}

std::shared_ptr<const transport::Identity> load_identity(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) {
    throw CommandError(
        ExitCode::failure,
        fmt::format("There is no identity at {}. Make one: rushfs keygen --out {}", path.string(),
                    path.string()));
  }
  try {
    return std::make_shared<const transport::Identity>(transport::Identity::load(path));
  } catch (const std::exception& problem) {
    throw CommandError(ExitCode::failure, problem.what());
  }
}

Credentials load_credentials(const ConnectOptions& options) {
  Credentials result;
  result.identity_file =
      options.identity ? std::filesystem::path(*options.identity) : default_identity();
  result.known_hosts_file = options.known_hosts ? std::filesystem::path(*options.known_hosts)
                                                 : default_known_hosts();
  result.identity = load_identity(result.identity_file);
  try {
    result.known_hosts = transport::KnownHosts::load(result.known_hosts_file);
  } catch (const std::exception& problem) {
    throw CommandError(ExitCode::failure, problem.what());
  }
  return result;
}

std::string key_comment() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host = {"localhost"};
  const passwd* user = getpwuid(geteuid());
  return fmt::format("{}@{}", user == nullptr ? "user" : user->pw_name, host.data());
}

}  // namespace rushfs::tools

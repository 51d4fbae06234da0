#include "tools/explain.h"

#include <catch2/catch.hpp>
#include <cerrno>

namespace rushfs::tools {
namespace {

using transport::CloseCode;
using transport::Identity;

const transport::HostPort kServer{"studio.example", 7874};

Identity identity(std::uint8_t seed) {
  std::array<std::uint8_t, 32> bytes{};
  bytes[0] = seed;
  return Identity::from_seed(bytes);
}

Credentials credentials(const std::string& known_hosts) {
  Credentials result;
  result.identity_file = "/keys/id";
  result.known_hosts_file = "/keys/known_hosts";
  result.identity = std::make_shared<const Identity>(identity(1));
  result.known_hosts = transport::KnownHosts::parse(known_hosts);
  return result;
}

CommandError explain(CloseCode code, const std::string& known_hosts = {}, int network_error = 0) {
  ConnectOutcome outcome;
  outcome.failure = {code, false, "a reason"};
  outcome.server_key = identity(2).public_key();
  outcome.network_error = network_error;
  outcome.waited = std::chrono::seconds(10);
  return explain_failure(kServer, outcome, credentials(known_hosts), "anna@edit1");
}

}  // namespace

TEST_CASE("an unknown client is given the very line that authorized_keys lacks") {
  const CommandError error = explain(CloseCode::unknown_client);
  CHECK(error.exit_code() == ExitCode::refused);
  CHECK_THAT(error.what(),
             Catch::Contains(transport::to_openssh_line(identity(1).public_key(), "anna@edit1")));
}

TEST_CASE("an unknown server is shown with its fingerprint and the command that trusts it") {
  const CommandError error = explain(CloseCode::wrong_server_key);
  CHECK(error.exit_code() == ExitCode::refused);
  CHECK_THAT(error.what(), Catch::Contains(transport::fingerprint(identity(2).public_key())) &&
                               Catch::Contains("rushfs trust studio.example:7874"));
}

TEST_CASE("a server with another key than the trusted one is a hard stop") {
  const std::string line = "studio.example:7874 ssh-ed25519 " +
                           transport::to_openssh_base64(identity(3).public_key()) + "\n";
  CHECK_THAT(explain(CloseCode::wrong_server_key, line).what(),
             Catch::StartsWith("STOP") && Catch::Contains("/keys/known_hosts"));
}

TEST_CASE("silence says for how long, and names the port that a firewall may block") {
  const CommandError error = explain(CloseCode::handshake_timeout);
  CHECK(error.exit_code() == ExitCode::unreachable);
  CHECK_THAT(error.what(), Catch::Contains("UDP port 7874") && Catch::Contains("10.0 s"));
  CHECK_THAT(explain(CloseCode::handshake_timeout, {}, ECONNREFUSED).what(),
             Catch::Contains("refused"));
}

TEST_CASE("every close code has a sentence that names the server") {
  constexpr int kLastCode = static_cast<int>(CloseCode::forgotten);
  for (int code = 0; code <= kLastCode; ++code) {
    CHECK_THAT(explain(static_cast<CloseCode>(code)).what(), Catch::Contains("studio.example"));
  }
}

}  // namespace rushfs::tools

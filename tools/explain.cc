#include "tools/explain.h"

#include <fmt/format.h>

#include <cstring>

#include "tools/quantity.h"

namespace rushfs::tools {
namespace {

using transport::CloseCode;
using transport::HostTrust;

std::string untrusted_server(const transport::HostPort& server, const transport::PublicKey& key,
                             HostTrust trust, const std::string& known_hosts) {
  const std::string name = transport::to_string(server);
  const std::string print = transport::fingerprint(key);
  switch (trust) {
    case HostTrust::changed:
      return fmt::format(
          "STOP: the key of {0} is not the one you trusted. Either the server has a new key, or "
          "somebody answers in its place.\nIts key now: {1}\nIf the server's owner confirms the "
          "change, remove the line of {0} from {2} and run: rushfs trust {0}",
          name, print, known_hosts);
    case HostTrust::revoked:
      return fmt::format("STOP: the key of {} ({}) is marked as revoked in {}.", name, print,
                         known_hosts);
    default:
      return fmt::format(
          "The server {0} is not known here yet. Its key is {1}\nCompare that with what the "
          "server's owner tells you, then run: rushfs trust {0}\n({2} has no line for it.)",
          name, print, known_hosts);
  }
}

std::string no_answer(const transport::HostPort& server, const ConnectOutcome& outcome) {
  const std::string hint = fmt::format(
      "Is `rushfs serve` running there, and do the firewalls on the way let UDP port {} through?",
      server.port);
  if (outcome.network_error != 0) {
    return fmt::format("Nothing answers at {}: {}. {}", transport::to_string(server),
                       std::strerror(outcome.network_error), hint);
  }
  return fmt::format("Nothing answers at {}: silence for {}. {}", transport::to_string(server),
                     format_duration(outcome.waited), hint);
}

}  // namespace

CommandError explain_failure(const transport::HostPort& server, const ConnectOutcome& outcome,
                             const Credentials& credentials, const std::string& comment) {
  const std::string name = transport::to_string(server);
  const transport::CloseReason& reason = outcome.failure;
  switch (reason.code) {
    case CloseCode::wrong_server_key:
      if (outcome.server_key) {
        return {ExitCode::refused,
                untrusted_server(server, *outcome.server_key,
                                 credentials.trust(server, *outcome.server_key),
                                 credentials.known_hosts_file.string())};
      }
      return {ExitCode::refused, fmt::format("The key of {} is not the trusted one.", name)};
    case CloseCode::unknown_client:
    case CloseCode::key_revoked:
      return {ExitCode::refused,
              fmt::format("The server {} does not accept the key {}. Ask its owner to add this "
                          "line to authorized_keys there:\n{}",
                          name, credentials.identity_file.string(),
                          transport::to_openssh_line(credentials.identity->public_key(), comment))};
    case CloseCode::version_mismatch:
      return {ExitCode::unreachable,
              fmt::format("The server {} speaks another version of the protocol: update rushfs "
                          "on the older side. {}", name, reason.text)};
    case CloseCode::handshake_timeout:
    case CloseCode::idle_timeout:
      return {ExitCode::unreachable, no_answer(server, outcome)};
    case CloseCode::server_busy:
      return {ExitCode::unreachable,
              fmt::format("The server {} has as many clients as it can take. Try again later.",
                          name)};
    default:
      return {ExitCode::refused, fmt::format("The server {} {} the connection: {} (code {}).", name,
                                             reason.by_peer ? "closed" : "failed",
                                             reason.text, static_cast<int>(reason.code))};
  }
}

}  // namespace rushfs::tools

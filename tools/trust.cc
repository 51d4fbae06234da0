// rushfs trust: look at a server's key, and remember it.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "tools/command.h"
#include "tools/credentials.h"
#include "tools/default_files.h"
#include "tools/explain.h"
#include "tools/server_connection.h"

namespace rushfs::tools {
namespace {

struct Arguments {
  std::string server;
  std::string fingerprint;
  std::vector<std::string> options;
};

/// A server shows its key before it looks at ours, so any key of ours will do.
Credentials credentials_or_throwaway(const ConnectOptions& options) {
  if (options.identity || std::filesystem::exists(default_identity())) {
    return load_credentials(options);
  }
  Credentials result;
  result.known_hosts_file = options.known_hosts ? std::filesystem::path(*options.known_hosts)
                                                 : default_known_hosts();
  result.known_hosts = transport::KnownHosts::load(result.known_hosts_file);
  result.identity =
      std::make_shared<const transport::Identity>(transport::Identity::generate());
  return result;
}

transport::PublicKey key_of(const transport::HostPort& server, const Credentials& credentials,
                            transport::Duration timeout) {
  ServerConnection connection(credentials.identity, {});
  const auto patience = std::min<transport::Duration>(timeout, kConnectPatience);
  const ConnectOutcome outcome = connection.connect(
      resolve_server(server), [](const transport::PublicKey&) { return true; }, patience);
  if (outcome.address) connection.close();
  if (outcome.server_key) return *outcome.server_key;
  throw explain_failure(server, outcome, credentials, key_comment());
}

void ask(const transport::HostPort& server) {
  if (isatty(STDIN_FILENO) != 1) {
    throw CommandError(ExitCode::refused,
                       "There is no terminal to ask on. If that is the right key, say so: "
                       "rushfs trust " + transport::to_string(server) +
                           " --fingerprint SHA256:...");
  }
  std::cout << "Is that the fingerprint the server's owner told you? Type yes to trust it: "
            << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != "yes") throw CommandError(ExitCode::refused, "Not trusted; nothing was changed.");
}

ExitCode trust(const Arguments& arguments) {
  const transport::HostPort server = parse_server(arguments.server);
  const ConnectOptions options = parse_connect_options(arguments.options);
  const Credentials credentials = credentials_or_throwaway(options);
  const transport::PublicKey key = key_of(server, credentials, options.timeout);
  const std::string fingerprint = transport::fingerprint(key);
  const std::string name = transport::to_string(server);
  fmt::print("{} has the key\n  {}\n  {}\n", name, transport::to_openssh_line(key, name),
             fingerprint);
  std::fflush(stdout);
  switch (credentials.trust(server, key)) {
    case transport::HostTrust::known:
      fmt::print("It is trusted already.\n");
      return ExitCode::success;
    case transport::HostTrust::unknown:
      break;
    default:
      throw CommandError(
          ExitCode::refused,
          fmt::format("STOP: {0} was trusted with another key, or this one was revoked. If the "
                      "server's owner confirms the change, remove its line from {1} first.",
                      name, credentials.known_hosts_file.string()));
  }
  if (arguments.fingerprint.empty()) {
    ask(server);
  } else if (arguments.fingerprint != fingerprint) {
    throw CommandError(ExitCode::refused,
                       fmt::format("That is not {}: nothing was changed.", arguments.fingerprint));
  }
  transport::KnownHosts::add(credentials.known_hosts_file,
                             transport::host_port(server.host, server.port), key);
  fmt::print("Added to {}.\n", credentials.known_hosts_file.string());
  return ExitCode::success;
}

}  // namespace

void add_trust(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "trust",
      "Connect to a server, show its key and fingerprint, and after a yes add it to known_hosts.\n"
      "Compare the fingerprint with what the server's owner tells you: serve prints it.");
  command->footer(
      "Examples:\n"
      "  rushfs trust studio.example\n"
      "  rushfs trust studio.example:9000 --fingerprint SHA256:...     without a question\n"
      "  rushfs trust [2001:db8::7] -o known_hosts=./hosts");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("server", arguments->server, "HOST[:PORT]")->required();
  command->add_option("--fingerprint", arguments->fingerprint,
                      "trust this key and no other, without asking");
  command
      ->add_option("-o", arguments->options, "identity=FILE,known_hosts=FILE,timeout=TIME")
      ->allow_extra_args(false);
  command->callback([&action, arguments] { action = [arguments] { return trust(*arguments); }; });
}

}  // namespace rushfs::tools

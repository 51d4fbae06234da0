// rushfs serve: exports directories.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "tools/command.h"
#include "tools/default_files.h"
#include "tools/error.h"
#include "tools/log.h"
#include "tools/process.h"
#include "tools/quantity.h"
#include "tools/server.h"
#include "transport/heap.h"

namespace rushfs::tools {
namespace {

struct Arguments {
  std::string config, listen, identity, authorized_keys, state, max_rate, max_rate_per_client;
  std::vector<std::string> exports;
};

/// The file first, if one is named or nothing is exported on the command line; then the command
/// line, which wins.
ServerConfig gather(const Arguments& arguments) {
  ServerConfig config = default_server_config();
  const auto usual = default_server_configuration();
  if (!arguments.config.empty()) {
    config = load_server_config(arguments.config);
  } else if (arguments.exports.empty() && std::filesystem::exists(usual)) {
    config = load_server_config(usual);
  }
  if (!arguments.listen.empty()) config.listen = arguments.listen;
  if (!arguments.identity.empty()) config.identity = arguments.identity;
  if (!arguments.authorized_keys.empty()) config.authorized_keys = arguments.authorized_keys;
  if (!arguments.state.empty()) config.state = arguments.state;
  if (!arguments.max_rate.empty()) config.max_rate = parse_rate(arguments.max_rate);
  if (!arguments.max_rate_per_client.empty()) {
    config.max_rate_per_client = parse_rate(arguments.max_rate_per_client);
  }
  for (const std::string& text : arguments.exports) config.exports.push_back(parse_export(text));
  if (config.exports.empty()) {
    throw usage_error(fmt::format("Nothing to export. Give --export NAME=DIR, or write {}.",
                                  usual.string()));
  }
  for (auto a = config.exports.begin(); a != config.exports.end(); ++a) {
    for (auto b = std::next(a); b != config.exports.end(); ++b) {
      if (a->name == b->name) throw usage_error("Two exports are named " + a->name + ".");
    }
  }
  return config;
}

ExitCode serve(const Arguments& arguments) {
  log_to_terminal();
  const ServerConfig config = gather(arguments);
  protect_process();
  raise_file_limit();
  Server server(config);
  notify_service_manager("READY=1");
  transport::give_back_idle_memory();
  server.run();
  return ExitCode::success;
}

}  // namespace

void add_serve(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "serve",
      "Export directories to clients whose keys are in authorized_keys; that file is read again\n"
      "when it changes, and a key taken out of it is cut off at once. As root, files belong to\n"
      "those who made them; as another user, everything belongs to that user.");
  command->footer(
      "authorized_keys has one line per client, as rushfs keygen prints it, after options or not:\n"
      "  ssh-ed25519 AAAA... anna@edit1\n"
      "  export=\"footage\",ro ssh-ed25519 AAAA... guest@lab\n"
      "\n"
      "Examples:\n"
      "  rushfs serve --export footage=/srv/footage --export archive=/srv/archive,ro\n"
      "  rushfs serve --listen 192.0.2.7:9000 --export footage=. --identity ./key "
      "--authorized-keys ./keys\n"
      "  rushfs serve --config /etc/rushfs/server.toml      as the systemd service does\n"
      "The firewall must let UDP port 7874 in.");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("--listen", arguments->listen, "ADDR:PORT; *:7874 if not given");
  command->add_option("--export", arguments->exports, "NAME=DIR[,ro]; as often as needed")
      ->allow_extra_args(false);
  command->add_option("--identity", arguments->identity, "our private key");
  command->add_option("--authorized-keys", arguments->authorized_keys, "who may connect");
  command->add_option("--state", arguments->state, "where to remember answers over a restart");
  command->add_option("--max-rate", arguments->max_rate,
                      "of all clients together, each way, shared fairly: 500M is 500 Mbit/s");
  command->add_option("--max-rate-per-client", arguments->max_rate_per_client,
                      "of each client, each way; max-rate= in authorized_keys sets it for one");
  command->add_option("--config", arguments->config, "read all this from a file");
  command->callback([&action, arguments] { action = [arguments] { return serve(*arguments); }; });
}

}  // namespace rushfs::tools

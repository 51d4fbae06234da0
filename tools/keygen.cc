// rushfs keygen: a new identity for this machine or person.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "tools/command.h"
#include "tools/credentials.h"
#include "tools/default_files.h"
#include "tools/error.h"
#include "transport/security/identity.h"

namespace rushfs::tools {
namespace {

ExitCode keygen(const std::string& out) {
  const std::filesystem::path path = out.empty() ? default_identity() : std::filesystem::path(out);
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    throw CommandError(
        ExitCode::failure,
        fmt::format("{} exists and is left alone: whoever trusts that key would no longer know "
                    "you. Choose another file with --out, or move it away.", path.string()));
  }
  if (path.has_parent_path() && std::filesystem::create_directories(path.parent_path(), error)) {
    std::filesystem::permissions(path.parent_path(), std::filesystem::perms::owner_all, error);
  }
  const transport::Identity identity = transport::Identity::generate();
  identity.save(path);
  fmt::print("{}\n{}\n", transport::to_openssh_line(identity.public_key(), key_comment()),
             transport::fingerprint(identity.public_key()));
  return ExitCode::success;
}

}  // namespace

void add_keygen(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "keygen",
      "Make a new Ed25519 identity. Prints its public line, which belongs into the other side's\n"
      "authorized_keys, and on a second line its fingerprint, which is what people compare.\n"
      "An existing file is never overwritten.");
  command->footer(
      "Examples:\n"
      "  rushfs keygen                         /etc/rushfs/id_ed25519 for root, else\n"
      "                                        ~/.config/rushfs/id_ed25519\n"
      "  rushfs keygen --out ./throwaway_key   anywhere else");
  auto out = std::make_shared<std::string>();
  command->add_option("--out", *out, "file of the private key, created with mode 0600");
  command->callback([&action, out] { action = [out] { return keygen(*out); }; });
}

}  // namespace rushfs::tools

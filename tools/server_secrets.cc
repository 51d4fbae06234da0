#include "tools/server_secrets.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <fstream>
#include <span>

#include "tools/error.h"
#include "transport/security/key_schedule.h"

namespace rushfs::tools {
namespace {

/// HMAC-SHA256 of the text under the private key.
transport::Secret keyed_digest(const transport::Identity& identity, const std::string& text) {
  transport::Secret key(32);
  std::size_t size = key.size();
  if (EVP_PKEY_get_raw_private_key(identity.private_key(), key.bytes().data(), &size) != 1) {
    throw CommandError(ExitCode::failure, "OpenSSL cannot derive a key from the identity.");
  }
  return transport::hkdf_extract(
      key.bytes(), {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::uint64_t number_of(std::span<const std::uint8_t> bytes) {
  std::uint64_t number = 0;
  for (const std::uint8_t byte : bytes) number = number << 8 | byte;
  return number;
}

}  // namespace

std::array<std::uint8_t, 16> node_key(const transport::Identity& identity,
                                      const std::string& export_name) {
  const auto digest = keyed_digest(identity, "rushfs node ids of export " + export_name);
  std::array<std::uint8_t, 16> key{};
  std::copy_n(digest.bytes().begin(), key.size(), key.begin());
  return key;
}

fs::InstanceId new_instance(const transport::Identity& identity) {
  std::array<std::uint8_t, 8> random{};
  if (RAND_bytes(random.data(), random.size()) != 1) {
    throw CommandError(ExitCode::failure, "The system has no randomness.");
  }
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  if (boot.empty()) return {number_of(random)};
  const auto digest = keyed_digest(identity, "boot " + boot);
  return {number_of(digest.bytes().last(4)) << 32 | number_of(std::span(random).first(4))};
}

std::filesystem::path state_folder(const ServerConfig& config, const ExportConfig& exported,
                                   const transport::Identity& identity) {
  const auto digest = keyed_digest(
      identity, "state " + exported.name + '\0' +
                    std::filesystem::absolute(exported.directory).lexically_normal().string());
  return config.state /
         fmt::format("{}-{:016x}", exported.name, number_of(digest.bytes().first(8)));
}

}  // namespace rushfs::tools

#include "fs/mount/mount_memory.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "fs/descriptor.h"
#include "transport/udp/resolve.h"

namespace rushfs::fs {

namespace {

constexpr const char* kServer = "server";
constexpr const char* kPaths = "paths";

/// All of it or nothing of it, whatever happens meanwhile. False: it could not be written.
bool replace(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path fresh = path.string() + ".new";
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  out << content;
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(fresh, path, error);
  return out && !error;
}

}  // namespace

void make_cache_folder(const std::filesystem::path& cache_directory) {
  std::filesystem::create_directories(cache_directory.parent_path());
  const bool made = ::mkdir(cache_directory.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) {
    throw std::system_error(errno, std::generic_category(),
                            "cannot make '" + cache_directory.string() + "'");
  }
  const Descriptor folder(
      ::open(cache_directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat facts {};
  if (!folder || ::fstat(folder.get(), &facts) != 0 || facts.st_uid != geteuid() ||
      ::fchmod(folder.get(), 0700) != 0) {
    throw std::runtime_error("the cache folder '" + cache_directory.string() +
                             "' is not a folder of ours: whoever it belongs to could read and "
                             "change what is kept in it. Give another cache_dir");
  }
}

void claim_cache_folder(const std::filesystem::path& cache_directory,
                        const std::string& export_name, bool queued) {
  const auto path = cache_directory / "export";
  std::string last;
  std::getline(std::ifstream(path), last);
  if (!last.empty() && last != export_name && queued) {
    throw std::runtime_error("'" + cache_directory.string() +
                             "' holds changes that wait to be sent to export '" + last +
                             "'; mount that one first, or give another cache_dir");
  }
  if (last != export_name) replace(path, export_name + "\n");
}

std::optional<MountMemory> recall(const std::filesystem::path& cache_directory) {
  std::ifstream in(cache_directory / kServer, std::ios::binary);
  MountMemory memory;
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  try {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      memory.servers.push_back(transport::parse_address(word));
    }
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
  const Buffer rest(std::istreambuf_iterator<char>(in), {});
  auto reply = decode_reply<AttachReply>(rest);
  if (!reply || memory.servers.empty()) return std::nullopt;
  memory.attached = std::move(*reply);
  return memory;
}

void remember(const std::filesystem::path& cache_directory, const MountMemory& memory) {
  std::ostringstream out;
  for (const auto& server : memory.servers) out << transport::to_string(server) << ' ';
  out << '\n';
  const Buffer reply = encode_reply(memory.attached);
  out.write(reinterpret_cast<const char*>(reply.data()),
            static_cast<std::streamsize>(reply.size()));
  if (!replace(cache_directory / kServer, std::move(out).str())) {
    spdlog::warn("'{}' could not be written: a mount without connection will not be possible",
                 (cache_directory / kServer).string());
  }
}

std::optional<std::vector<std::uint8_t>> recall_paths(const std::filesystem::path& folder) {
  std::ifstream in(folder / kPaths, std::ios::binary);
  if (!in) return std::nullopt;
  return std::vector<std::uint8_t>(std::istreambuf_iterator<char>(in), {});
}

void remember_paths(const std::filesystem::path& folder, const std::vector<std::uint8_t>& bytes) {
  if (!replace(folder / kPaths, {reinterpret_cast<const char*>(bytes.data()), bytes.size()})) {
    spdlog::warn("'{}' could not be written: the next mount will not know the way",
                 (folder / kPaths).string());
  }
}

}  // namespace rushfs::fs

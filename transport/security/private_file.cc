#include "transport/security/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace rushfs::transport {
namespace {

constexpr mode_t kOthersMayRead = 0044;
constexpr mode_t kOthersMayWrite = 0022;
constexpr mode_t kOthersMayExecute = 0011;

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

std::system_error failed(const char* attempt, const std::filesystem::path& path) {
  return std::system_error(errno, std::generic_category(),
                           std::string(attempt) + " " + path.string());
}

void check_privacy(const struct stat& status, Privacy privacy, const std::filesystem::path& path) {
  if (!S_ISREG(status.st_mode)) {
    throw std::runtime_error("read " + path.string() + ": not a regular file");
  }
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    throw std::runtime_error("read " + path.string() + ": it belongs to another user (uid " +
                             std::to_string(status.st_uid) + ")");
  }
  const mode_t forbidden = privacy == Privacy::secret
                               ? kOthersMayRead | kOthersMayWrite | kOthersMayExecute
                               : kOthersMayWrite;
  if (status.st_mode & forbidden) {
    throw std::runtime_error("read " + path.string() +
                             ": its permissions are too open; run: chmod " +
                             (privacy == Privacy::secret ? "600 " : "go-w ") + path.string());
  }
}

void write_all(const Descriptor& file, std::string_view content,
               const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(file.value(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw failed("write", path);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(file.value()) != 0) throw failed("sync", path);
}

}  // namespace

std::optional<std::string> read_private_file(const std::filesystem::path& path, Privacy privacy,
                                             std::size_t limit) {
  // Non-blocking, so that a FIFO in its place cannot hang us.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.value() < 0 && errno == ENOENT) return std::nullopt;
  if (file.value() < 0) throw failed("read", path);
  struct stat status {};
  if (::fstat(file.value(), &status) != 0) throw failed("read", path);
  check_privacy(status, privacy, path);

  std::string content(limit + 1, '\0');
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = ::read(file.value(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw failed("read", path);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > limit) {
    throw std::runtime_error("read " + path.string() + ": larger than " + std::to_string(limit) +
                             " bytes");
  }
  content.resize(size);
  return content;
}

void create_private_file(const std::filesystem::path& path, std::string_view content) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.value() < 0) throw failed("create", path);
  if (::fchmod(file.value(), 0600) != 0) throw failed("create", path);
  write_all(file, content, path);
}

void append_private_file(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path directory = path.parent_path();
  if (!directory.empty() && std::filesystem::create_directories(directory)) {
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all);
  }
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (file.value() < 0) throw failed("open", path);
  write_all(file, content, path);
}

}  // namespace rushfs::transport

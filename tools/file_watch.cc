#include "tools/file_watch.h"

#include <sys/inotify.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <system_error>

namespace rushfs::tools {
namespace {

// Writing a file is several events; reading it between two of them would show half of it.
constexpr auto kBurst = std::chrono::milliseconds(200);

int watch_directory(const std::filesystem::path& directory) {
  const int descriptor = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  const auto mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB;
  if (descriptor < 0 || inotify_add_watch(descriptor, directory.c_str(), mask) < 0) {
    throw std::system_error(errno, std::generic_category(), "cannot watch " + directory.string());
  }
  return descriptor;
}

std::filesystem::path directory_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

}  // namespace

class FileWatch::Watcher : public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(boost::asio::io_context& loop, const std::filesystem::path& path,
          std::function<void()> changed)
      : events_(loop, watch_directory(directory_of(path))),
        timer_(loop),
        changed_(std::move(changed)) {}

  void read() {
    events_.async_read_some(
        boost::asio::buffer(buffer_),
        [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
          if (error) return;
          self->restart_timer();
          self->read();
        });
  }
  void stop() {
    changed_ = nullptr;
    boost::system::error_code ignored;
    events_.close(ignored);
    timer_.cancel();
  }

 private:
  /// Any event in the directory will do: looking once too often costs nothing.
  void restart_timer() {
    timer_.expires_after(kBurst);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && self->changed_) self->changed_();
    });
  }

  boost::asio::posix::stream_descriptor events_;
  boost::asio::steady_timer timer_;
  std::function<void()> changed_;
  std::array<char, 4096> buffer_{};
};

FileWatch::FileWatch(boost::asio::io_context& loop, const std::filesystem::path& path,
                     std::function<void()> changed)
    : watcher_(std::make_shared<Watcher>(loop, path, std::move(changed))) {
  watcher_->read();
}

FileWatch::~FileWatch() { watcher_->stop(); }

}  // namespace rushfs::tools

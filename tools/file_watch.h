// Tells when a file was changed, replaced, created or removed: inotify(7) on its directory, because
// editors replace files.
#pragma once

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <functional>
#include <memory>

namespace rushfs::tools {

class FileWatch {
 public:
  /// `changed` runs on the loop, a moment after the last of a burst of changes. Throws
  /// std::system_error when the directory cannot be watched.
  FileWatch(boost::asio::io_context& loop, const std::filesystem::path& path,
            std::function<void()> changed);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  class Watcher;
  std::shared_ptr<Watcher> watcher_;
};

}  // namespace rushfs::tools

#include "tools/control_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <cstring>
#include <functional>
#include <istream>
#include <nlohmann/json.hpp>
#include <utility>

#include "fs/descriptor.h"
#include "tools/error.h"

namespace rushfs::tools {
namespace {

using Protocol = boost::asio::local::stream_protocol;

constexpr std::size_t kLongestRequest = 64 << 10;  // bytes: a path and a few words

/// One connection: lives until its reply was written.
class Conversation : public std::enable_shared_from_this<Conversation> {
 public:
  Conversation(Protocol::socket socket, ControlServer::Handler handler)
      : socket_(std::move(socket)), handler_(std::move(handler)), input_(kLongestRequest) {}

  void start() {
    boost::asio::async_read_until(
        socket_, input_, '\n',
        [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
          if (!error) self->answer();
        });
  }

 private:
  void answer() {
    std::string line;
    std::istream in(&input_);
    std::getline(in, line);
    const auto request = nlohmann::json::parse(line, nullptr, false);
    if (!request.is_object()) return write({{"error", "not a JSON object"}});
    try {
      handler_(request, [self = shared_from_this()](nlohmann::json reply) { self->write(reply); });
    } catch (const nlohmann::json::exception& error) {
      write({{"error", error.what()}});
    }
  }

  void write(const nlohmann::json& reply) {
    output_ = reply.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
    boost::asio::async_write(
        socket_, boost::asio::buffer(output_),
        [self = shared_from_this()](const boost::system::error_code&, std::size_t) {});
  }

  Protocol::socket socket_;
  ControlServer::Handler handler_;
  boost::asio::streambuf input_;
  std::string output_;
};

/// Names of sockets come and go under this lock only. Device numbers, and so names, are used again:
/// a mount that ends slowly may find the next one's socket under its own former name.
class NamesLock {
 public:
  explicit NamesLock(const std::filesystem::path& directory)
      : descriptor_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
        held_(descriptor_ && ::flock(descriptor_.get(), LOCK_EX) == 0) {}

  bool held() const { return held_; }

 private:
  fs::Descriptor descriptor_;
  bool held_;
};

/// Takes away what killed processes left behind: sockets on which nobody listens.
void remove_dead_sockets(const std::filesystem::path& directory) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (entry.path().extension() != ".sock") continue;
    boost::asio::io_context own;
    Protocol::socket probe(own);
    boost::system::error_code error;
    probe.open(Protocol(), error);
    probe.non_blocking(true, error);  // one whose queue of callers is full is alive
    probe.connect(Protocol::endpoint(entry.path().string()), error);
    if (error == boost::asio::error::connection_refused) ::unlink(entry.path().c_str());
  }
}

}  // namespace

class ControlServer::Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(boost::asio::io_context& loop, const std::filesystem::path& path, Handler handler)
      : acceptor_(loop), path_(path), handler_(std::move(handler)) {
    // It gets its name when it listens: a caller may look any time.
    const std::string unready = path.string() + ".new";
    ::unlink(unready.c_str());
    const mode_t before = umask(0177);
    boost::system::error_code error;
    acceptor_.open(Protocol(), error);
    if (!error) acceptor_.bind(Protocol::endpoint(unready), error);
    if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
    umask(before);
    if (!error && ::rename(unready.c_str(), path.c_str()) != 0) {
      error.assign(errno, boost::system::generic_category());
    }
    if (error) {
      throw CommandError(ExitCode::failure, fmt::format("Cannot listen at {}: {}", path.string(),
                                                        error.message()));
    }
    struct stat facts {};
    if (::lstat(path.c_str(), &facts) == 0) inode_ = facts.st_ino;
  }

  void accept() {
    acceptor_.async_accept([self = shared_from_this()](const boost::system::error_code& error,
                                                       Protocol::socket socket) {
      if (error == boost::asio::error::operation_aborted) return;
      if (!error) std::make_shared<Conversation>(std::move(socket), self->handler_)->start();
      self->accept();
    });
  }

  void stop() {
    const NamesLock names(path_.parent_path());
    struct stat facts {};
    // While we listen nobody else's socket has our inode. What stays is taken away by the next.
    if (names.held() && ::lstat(path_.c_str(), &facts) == 0 && facts.st_ino == inode_) {
      ::unlink(path_.c_str());
    }
    boost::system::error_code ignored;
    acceptor_.close(ignored);
  }

 private:
  Protocol::acceptor acceptor_;
  std::filesystem::path path_;
  ino_t inode_ = 0;
  Handler handler_;
};

ControlServer::ControlServer(boost::asio::io_context& loop, const std::filesystem::path& path,
                             Handler handler) {
  make_private_directory(path.parent_path());
  const NamesLock names(path.parent_path());
  if (!names.held()) {
    throw CommandError(ExitCode::failure, fmt::format("Cannot lock {}: {}",
                                                      path.parent_path().string(),
                                                      std::strerror(errno)));
  }
  remove_dead_sockets(path.parent_path());
  listener_ = std::make_shared<Listener>(loop, path, std::move(handler));
  listener_->accept();
}

ControlServer::~ControlServer() { listener_->stop(); }

void make_private_directory(const std::filesystem::path& directory) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    throw CommandError(ExitCode::failure, fmt::format("Cannot create {}: {}", directory.string(),
                                                      std::strerror(errno)));
  }
  struct stat facts {};
  if (::lstat(directory.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode) ||
      facts.st_uid != geteuid() || (facts.st_mode & 0022) != 0) {
    throw CommandError(ExitCode::failure,
                       fmt::format("{} must be a directory of ours that nobody else can write to.",
                                   directory.string()));
  }
}

}  // namespace rushfs::tools

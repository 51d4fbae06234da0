// A running server: owns the loops, the socket, the exports and the sessions, and joins them. It
// decides nothing: that is Endpoint's, Export's and ClientBook's business.
//
// Threads: the one that calls run() is the file loop; the network loop and the workers have their
// own.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "fs/asio_loop.h"
#include "fs/server/server_sessions.h"
#include "tools/client_book.h"
#include "tools/file_watch.h"
#include "tools/server_config.h"
#include "tools/worker_pool.h"
#include "transport/udp/udp_driver.h"

namespace rushfs::tools {

class Server : private fs::ConnectionOutput {
 public:
  /// Opens keys, exports and the socket. Throws naming what it could not open.
  explicit Server(const ServerConfig& config);
  ~Server() override;

  /// Serves until SIGTERM or SIGINT; says farewell to the clients.
  void run();
  transport::Address address() const { return driver_->local_address(); }

 private:
  void reply(transport::ConnectionHandle, transport::RequestId, transport::Buffer body) override;
  void request(transport::ConnectionHandle, transport::Priority, transport::Buffer body) override;
  void close(transport::ConnectionHandle, transport::CloseReason) override;
  void later(transport::Duration, fs::Loop::Job job) override;

  void open_exports(const ServerConfig& config, const transport::Identity& identity);
  void open_socket(const ServerConfig& config,
                   std::shared_ptr<const transport::Identity> identity);
  void on_network_event(transport::DriverEvent event);
  void on_event(transport::DriverEvent event);
  void on_connected(transport::ConnectionHandle, const transport::PublicKey&);
  void watch_disk(fs::Export& exported);
  void reload_keys();
  void tick_later();
  void stop();

  std::filesystem::path keys_file_;
  boost::asio::io_context network_loop_{1};
  boost::asio::io_context file_loop_{1};
  fs::AsioLoop home_{file_loop_, [] {}};
  std::list<WorkerPool> workers_;  // of each export, so that none waits for another's disk
  std::shared_ptr<SharedKeys> network_keys_;  // the network loop's own copy
  ClientBook clients_;
  std::vector<std::unique_ptr<fs::Export>> exports_;
  std::unique_ptr<fs::ServerSessions> sessions_;
  std::list<boost::asio::posix::stream_descriptor> disk_watches_;
  std::unique_ptr<transport::UdpDriver> driver_;
  std::unique_ptr<FileWatch> keys_watch_;
  boost::asio::steady_timer timer_{file_loop_};
  boost::asio::signal_set signals_{file_loop_};
};

}  // namespace rushfs::tools

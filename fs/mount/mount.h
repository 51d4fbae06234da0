// Mount is a running mount: it owns the loops and the objects on them (architecture.md, "Loops"),
// joins them, and nothing else. tools/mount.cc builds a MountConfig, and then:
//
//   Mount mount(config);      // opens cache and queue; throws if they cannot be used
//   mount.connect(30s);       // throws, with the reason; retried for ever afterwards
//   mount.start();            // the file system is there; throws if it cannot be mounted
//   mount.run();              // until unmounted or stop()
//
// Threads: the constructor, connect(), start() and run() belong to one thread, which is the file
// loop while run() runs; it must be created after any fork(). stop() may be called from anywhere.
// Everything under "Control" belongs to the file loop: post to file_loop() to get there.
#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fs/client/access_times.h"
#include "fs/client/mount_status.h"
#include "fs/client/remote.h"
#include "transport/address.h"
#include "transport/endpoint.h"
#include "transport/security/identity.h"
#include "transport/udp/udp_driver.h"

namespace rushfs::fs {

struct MountConfig {
  std::vector<transport::Address> servers;  // of one server, tried at once; at least one
  std::string server_name;                  // as the user wrote it: messages, source column
  std::string export_name;
  std::string subdirectory;                 // of the export, "" for all of it
  std::filesystem::path mount_point;

  transport::EndpointConfig endpoint;       // identity and rate limits
  transport::UdpOptions udp;
  transport::KeyJudge expected_server;      // true for the pinned key

  std::filesystem::path cache_directory;    // this mount's own: made when missing, mode 0700
  std::uint64_t cache_size = 10ULL << 30;   // bytes of blocks that were read
  std::chrono::seconds timeout{60};         // of one operation: then ETIMEDOUT

  bool allow_other = false;
  bool read_only = false;
  AccessTimes::Options access_times;
  bool tell_watchers = true;                // of changes by others (inotify)
  std::vector<std::string> fuse_options;    // generic ones, passed on as -o: noexec, nodev ...
};

/// Why connect() failed, in parts that can be explained to people.
struct ConnectFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
  transport::CloseReason reason;                   // code handshake_timeout: no answer
  std::optional<transport::PublicKey> server_key;  // that was not the expected one
  int network_error = 0;                           // errno of the network's last refusal, or 0
};

class Mount {
 public:
  /// Opens block cache and write queue. Throws cache::FolderInUse (by another mount), or
  /// std::system_error or std::runtime_error naming the path: not writable, full, or of another
  /// export.
  explicit Mount(MountConfig config);
  /// Unmounts if still mounted, tells the server, closes the queue (what it holds stays for the
  /// next mount of the same cache directory).
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  /// Connects and attaches to the export: true. False: the server cannot be reached now, but this
  /// mount was attached to it before; it comes up with what it remembers and goes on trying.
  /// Throws ConnectFailure: no answer and nothing remembered, unknown client, other server key,
  /// other version; std::runtime_error with a sentence: no such export.
  bool connect(std::chrono::milliseconds patience);
  /// Mounts. Throws std::runtime_error naming mount point and reason. When this returns, programs
  /// see the file system, and are answered as soon as run() runs.
  void start();
  /// Runs the file loop on the calling thread until the file system was unmounted (by anyone) or
  /// stop() was called; then says farewell to the server.
  void run();
  /// Unmounts, and makes run() return. From any thread; not from a signal handler.
  void stop();

  boost::asio::io_context& file_loop();

  // Control: on the file loop.

  using StatusHandler = absl::AnyInvocable<void(MountStatus) &&>;
  /// How full the cache is may be as it was a second ago while its disk is busy.
  void status(StatusHandler done);
  /// `done` once everything written before this call, or only what was written to the file at
  /// `path` (relative to the mount's root), is on the server's stable storage. ENOENT: no such.
  void wait_all(absl::AnyInvocable<void(Result<void>) &&> done);
  void wait_file(std::string path, absl::AnyInvocable<void(Result<void>) &&> done);
  /// Tries to send at once what is waiting for a retry (server disk full, ...), and to reconnect.
  void retry_now();
  /// Drops a parked operation and those that depend on it: the only way data is ever given up.
  void discard_parked(std::uint64_t operation, absl::AnyInvocable<void(Result<void>) &&> done);
  void set_rate(transport::RateLimits limits);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rushfs::fs

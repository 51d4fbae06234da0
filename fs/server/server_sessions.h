// The server's side of every connection: who it is, which export it is attached to, and the way of
// each request to that export and of the answer back. Knows no sockets: whoever pumps the endpoint
// calls the on_...() functions, and implements ConnectionOutput.
//
// Owner: the server's file loop, together with the exports.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/server/export.h"
#include "transport/endpoint.h"
#include "transport/security/identity.h"

namespace rushfs::fs {

/// Where answers go, and where time comes from. Called on the file loop.
class ConnectionOutput {
 public:
  virtual ~ConnectionOutput() = default;
  virtual void reply(transport::ConnectionHandle, transport::RequestId, Buffer body) = 0;
  /// Asks the client; ServerSessions::on_answered() follows.
  virtual void request(transport::ConnectionHandle, Priority, Buffer body) = 0;
  virtual void close(transport::ConnectionHandle, transport::CloseReason) = 0;
  /// Runs the job after this time, on the file loop.
  virtual void later(transport::Duration, Loop::Job job) = 0;
};

/// What a key may do with an export.
struct ExportGrant {
  bool read_only = false;
};
/// None: not for this key; answered as if there were no such export (ENOENT).
using ExportJudge = std::function<std::optional<ExportGrant>(const transport::PublicKey&,
                                                             const std::string& export_name)>;

class ServerSessions {
 public:
  /// `output` outlives this; `home` is the file loop.
  ServerSessions(ExportJudge judge, ConnectionOutput& output, Loop& home);
  ~ServerSessions();

  /// Exports may be added at any time; they outlive this, or are used no more.
  void add(Export& served);

  void on_connected(transport::ConnectionHandle, const transport::PublicKey&,
                    transport::TimePoint now);
  void on_request(transport::ConnectionHandle, transport::RequestId, Priority, Buffer body,
                  transport::TimePoint now);
  void on_answered(transport::ConnectionHandle);
  void on_cancelled(transport::ConnectionHandle, transport::RequestId);
  /// `last_heard`: of the client; its leases begin then.
  void on_closed(transport::ConnectionHandle, transport::TimePoint last_heard,
                 transport::TimePoint now);
  /// Every few seconds: ends leases, closes what lies open unused.
  void tick(transport::TimePoint now);

  /// For `rushfs serve` to show.
  struct Attached {
    transport::PublicKey key;
    std::string hostname, export_name, subpath;
    bool read_only = false;
  };
  std::vector<Attached> attached() const;

 private:
  struct Connection;
  void attach(transport::ConnectionHandle, transport::RequestId, const Attach&,
              transport::TimePoint now);
  void measure(transport::ConnectionHandle, transport::RequestId, const Measure&);
  void answer_measure_later();
  void answer(transport::ConnectionHandle, transport::RequestId, Buffer body);
  void done(transport::ConnectionHandle, transport::RequestId, Buffer body);
  void close(transport::ConnectionHandle, transport::CloseCode code, const std::string& why);

  ExportJudge judge_;
  ConnectionOutput& output_;
  Loop& home_;
  std::map<std::string, Export*> exports_;
  std::map<transport::ConnectionHandle, std::shared_ptr<Connection>> connections_;
  // Who is attached, or attaching.
  std::map<std::pair<Export*, ClientTag>, transport::ConnectionHandle> by_client_;
  std::deque<transport::ConnectionHandle> measuring_;  // have Measures that wait for their turn
  std::shared_ptr<bool> alive_;  // answers that arrive after our end find this false
};

}  // namespace rushfs::fs

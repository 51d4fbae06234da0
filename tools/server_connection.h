// One connection to a server, driven on the calling thread: for trust, bench and mount.
#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "tools/credentials.h"
#include "transport/path_report.h"
#include "transport/security/identity.h"
#include "transport/udp/resolve.h"
#include "transport/udp/udp_driver.h"

namespace rushfs::tools {

/// Nobody waits longer than this for a first answer, whatever the deadline of file operations.
inline constexpr auto kConnectPatience = std::chrono::seconds(10);

/// Looks up the server's name. Throws CommandError (unreachable).
std::vector<transport::Address> resolve_server(const transport::HostPort& server);

/// What became of an attempt to connect.
struct ConnectOutcome {
  std::optional<transport::Address> address;       // connected to this one; none: see `failure`
  std::optional<transport::PublicKey> server_key;  // as the server proved or at least showed it
  transport::CloseReason failure;
  int network_error = 0;  // errno of the network's last refusal, 0: it was silent
  transport::Duration waited{};  // for an answer
};

class ServerConnection {
 public:
  using Answer = absl::AnyInvocable<void(transport::Buffer) &&>;

  /// Throws std::system_error when no socket can be had.
  ServerConnection(std::shared_ptr<const transport::Identity> identity,
                   transport::RateLimits limits, std::uint8_t dscp = 0);
  ~ServerConnection();

  /// Tries the addresses one after the other, the next after a short while without waiting for the
  /// one before (RFC 8305), until one is connected, all failed, or `patience` is over.
  ConnectOutcome connect(const std::vector<transport::Address>& addresses,
                         transport::KeyJudge expected, transport::Duration patience);

  /// Once connected. Answers arrive inside run_for().
  void request(transport::Priority priority, transport::Buffer body, Answer answer);
  /// Handles what happens for so long; returns early when the connection is closed or `enough`
  /// (asked after every event) says so.
  void run_for(transport::Duration time, absl::AnyInvocable<bool()> enough);
  const std::optional<transport::CloseReason>& closed() const { return closed_; }
  /// The path as the connection knows it; none when closed.
  std::optional<transport::PathReport> report();
  transport::UdpReport udp_report() const { return driver_->report(); }
  void close();

 private:
  struct Attempt {
    transport::Address address;
    std::optional<transport::CloseReason> failure;
  };

  void handle(transport::DriverEvent event);
  void ended(const transport::DriverEvent& event, const transport::CloseReason& reason);
  bool nobody_listens();

  boost::asio::io_context loop_;
  std::map<std::uint64_t, Attempt> attempts_;             // by call token
  std::map<transport::ConnectionHandle, std::uint64_t> connecting_;  // to call tokens
  std::map<std::uint64_t, Answer> waiting_;               // by call token
  std::uint64_t next_token_ = 1;
  std::optional<transport::ConnectionHandle> connection_;
  std::optional<transport::Address> address_;
  std::optional<transport::PublicKey> server_key_;
  std::optional<transport::CloseReason> closed_;
  std::unique_ptr<transport::UdpDriver> driver_;
};

/// Connects with these keys within `timeout`, at most kConnectPatience, or throws what
/// explain_failure() says.
transport::Address connect_or_explain(ServerConnection& connection,
                                      const transport::HostPort& server,
                                      const Credentials& credentials,
                                      transport::Duration timeout);

}  // namespace rushfs::tools

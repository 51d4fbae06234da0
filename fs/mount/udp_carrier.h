// UdpCarrier carries a Session's messages over a UdpDriver: one connection at a time. A server may
// have several addresses; all are tried at once, and the first that answers stays. The driver works
// on the network loop; its events are posted to the file loop, where everything here runs.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "fs/client/session.h"
#include "transport/udp/udp_driver.h"

namespace rushfs::fs {

class UdpCarrier : public Carrier {
 public:
  /// `servers` is not empty. The driver's events must be passed to on_event().
  UdpCarrier(std::vector<transport::Address> servers, transport::KeyJudge expected_server)
      : servers_(std::move(servers)), expected_server_(std::move(expected_server)) {}

  void attach(transport::UdpDriver& driver, Session& session) {
    driver_ = &driver;
    session_ = &session;
  }
  void on_event(transport::DriverEvent event);

  /// The connection calls go over now.
  std::optional<transport::ConnectionHandle> connection() const { return connection_; }

  void connect() override;
  void request(std::uint64_t token, Priority, transport::Body body) override;
  void cancel(std::uint64_t token) override;
  void reply(transport::RequestId, transport::Body body) override;
  void disconnect(transport::CloseReason) override;

 private:
  void give_up(const transport::CloseReason& reason);
  void on_connection(transport::DriverEvent event);
  void on_attempt(const transport::DriverEvent& event);

  std::vector<transport::Address> servers_;
  transport::KeyJudge expected_server_;
  transport::UdpDriver* driver_ = nullptr;
  Session* session_ = nullptr;
  std::uint64_t last_token_ = 0;
  std::map<std::uint64_t, std::optional<transport::ConnectionHandle>> attempts_;  // by token
  std::optional<transport::ConnectionHandle> connection_;  // that was established
  transport::CloseReason failure_;  // of the attempts that failed, the one that says most
};

}  // namespace rushfs::fs

#include "fs/udp_carrier.h"

namespace rushfs::fs {

namespace {

/// Tokens of connections, apart from those of calls.
constexpr std::uint64_t kConnectionToken = 1ULL << 63;

}  // namespace

void UdpCarrier::connect() {
  const auto& server = servers_[attempt_ % servers_.size()];
  ++attempt_;
  wanted_ = true;
  up_ = false;
  connection_.reset();
  driver_->connect(server, expected_server_, {kConnectionToken | attempt_});
}

void UdpCarrier::request(std::uint64_t token, Priority priority, Buffer body) {
  if (connection_) driver_->request(*connection_, priority, std::move(body), {token});
}

void UdpCarrier::cancel(std::uint64_t token) {
  if (connection_) driver_->cancel(*connection_, {token});
}

void UdpCarrier::reply(transport::RequestId id, Buffer body) {
  if (connection_) driver_->reply(*connection_, id, std::move(body));
}

void UdpCarrier::disconnect(transport::CloseReason reason) {
  wanted_ = false;
  up_ = false;
  if (connection_) driver_->close(*connection_, std::move(reason));
}

void UdpCarrier::on_event(transport::DriverEvent event) {
  if (const auto* started = std::get_if<transport::Connecting>(&event.body)) {
    if (started->token.value != (kConnectionToken | attempt_)) return;
    connection_ = event.connection;
    if (!wanted_) driver_->close(event.connection, {});
    return;
  }
  if (!connection_ || event.connection != *connection_) return;  // of an earlier connection
  if (auto* closed = std::get_if<transport::Closed>(&event.body)) return on_closed(closed->reason);
  if (!wanted_) return;
  if (std::holds_alternative<transport::Connected>(event.body)) {
    up_ = true;
    session_->connected();
  } else if (auto* answer = std::get_if<transport::CallAnswered>(&event.body)) {
    session_->answered(answer->token.value, std::move(answer->body));
  } else if (auto* asked = std::get_if<transport::RequestArrived>(&event.body)) {
    session_->asked(asked->id, std::move(asked->body));
  }
}

void UdpCarrier::on_closed(const transport::CloseReason& reason) {
  connection_.reset();
  up_ = false;
  if (!wanted_) return;
  wanted_ = false;
  session_->closed(reason);
}

}  // namespace rushfs::fs

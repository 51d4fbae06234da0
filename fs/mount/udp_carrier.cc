#include "fs/mount/udp_carrier.h"

namespace rushfs::fs {

namespace {

/// Tokens of connections, apart from those of calls.
constexpr std::uint64_t kConnectionToken = 1ULL << 63;

bool says_more(const transport::CloseReason& reason) {
  return reason.code != transport::CloseCode::handshake_timeout &&
         reason.code != transport::CloseCode::none;
}

}  // namespace

void UdpCarrier::connect() {
  give_up({});
  failure_ = {transport::CloseCode::handshake_timeout, false, ""};
  for (const auto& server : servers_) {
    const std::uint64_t token = kConnectionToken | ++last_token_;
    attempts_[token] = std::nullopt;
    driver_->connect(server, expected_server_, {token});
  }
}

void UdpCarrier::request(std::uint64_t token, Priority priority, transport::Body body) {
  if (connection_) driver_->request(*connection_, priority, std::move(body), {token});
}

void UdpCarrier::cancel(std::uint64_t token) {
  if (connection_) driver_->cancel(*connection_, {token});
}

void UdpCarrier::reply(transport::RequestId id, transport::Body body) {
  if (connection_) driver_->reply(*connection_, id, std::move(body));
}

void UdpCarrier::disconnect(transport::CloseReason reason) {
  give_up(reason);
}

// Attempts whose handle is not known yet are closed when it comes.
void UdpCarrier::give_up(const transport::CloseReason& reason) {
  for (const auto& [token, handle] : attempts_) {
    if (handle) driver_->close(*handle, reason);
  }
  attempts_.clear();
  if (connection_) driver_->close(*connection_, reason);
  connection_.reset();
}

void UdpCarrier::on_event(transport::DriverEvent event) {
  if (const auto* started = std::get_if<transport::Connecting>(&event.body)) {
    const auto attempt = attempts_.find(started->token.value);
    if (attempt == attempts_.end()) return driver_->close(event.connection, {});
    attempt->second = event.connection;
  } else if (connection_ && event.connection == *connection_) {
    on_connection(std::move(event));
  } else {
    on_attempt(event);
  }
}

void UdpCarrier::on_connection(transport::DriverEvent event) {
  if (auto* closed = std::get_if<transport::Closed>(&event.body)) {
    connection_.reset();
    session_->closed(closed->reason);
  } else if (auto* answer = std::get_if<transport::CallAnswered>(&event.body)) {
    session_->answered(answer->token.value, std::move(answer->body));
  } else if (auto* asked = std::get_if<transport::RequestArrived>(&event.body)) {
    session_->asked(asked->id, std::move(asked->body));
  }
}

void UdpCarrier::on_attempt(const transport::DriverEvent& event) {
  auto attempt = attempts_.begin();
  while (attempt != attempts_.end() && attempt->second != event.connection) ++attempt;
  if (attempt == attempts_.end()) return;  // given up
  if (std::holds_alternative<transport::Connected>(event.body)) {
    attempts_.erase(attempt);
    give_up({transport::CloseCode::none, false, "another address was faster"});
    connection_ = event.connection;
    session_->connected();
  } else if (const auto* closed = std::get_if<transport::Closed>(&event.body)) {
    attempts_.erase(attempt);
    if (says_more(closed->reason)) failure_ = closed->reason;
    if (!attempts_.empty()) return;
    session_->closed(failure_);
  }
}

}  // namespace rushfs::fs

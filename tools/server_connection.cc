#include "tools/server_connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tools/explain.h"

namespace rushfs::tools {
namespace {

using transport::CloseCode;
using transport::CloseReason;

// RFC 8305, section 5: the recommended delay between attempts.
constexpr auto kNextAddressAfter = std::chrono::milliseconds(250);
// A refusal (ICMP port unreachable) can be forged or pass; so many mean it.
constexpr std::uint64_t kRefusalsBelieved = 3;

transport::EndpointConfig endpoint_config(std::shared_ptr<const transport::Identity> identity,
                                          transport::RateLimits limits) {
  transport::EndpointConfig config;
  config.identity = std::move(identity);
  config.rate = limits;
  return config;
}

transport::UdpOptions udp_options(std::uint8_t dscp) {
  transport::UdpOptions options;
  options.dscp = dscp;
  return options;
}

}  // namespace

ServerConnection::ServerConnection(std::shared_ptr<const transport::Identity> identity,
                                   transport::RateLimits limits, std::uint8_t dscp)
    : driver_(std::make_unique<transport::UdpDriver>(
          loop_, endpoint_config(std::move(identity), limits), udp_options(dscp),
          [this](transport::DriverEvent event) { handle(std::move(event)); })) {}

ServerConnection::~ServerConnection() = default;

void ServerConnection::handle(transport::DriverEvent event) {
  if (auto* connecting = std::get_if<transport::Connecting>(&event.body)) {
    connecting_[event.connection] = connecting->token.value;
  } else if (std::holds_alternative<transport::Connected>(event.body)) {
    if (connection_) {  // another address was faster
      driver_->close(event.connection, {CloseCode::none, false, "another address was faster"});
      return;
    }
    connection_ = event.connection;
    address_ = attempts_[connecting_[event.connection]].address;
  } else if (auto* answered = std::get_if<transport::CallAnswered>(&event.body)) {
    auto waiting = waiting_.extract(answered->token.value);
    if (!waiting.empty()) std::move(waiting.mapped())(std::move(answered->body));
  } else if (auto* request = std::get_if<transport::RequestArrived>(&event.body)) {
    driver_->reply(event.connection, request->id, {});  // notices are for mounts
  } else if (auto* over = std::get_if<transport::Closed>(&event.body)) {
    ended(event, over->reason);
  }
}

void ServerConnection::ended(const transport::DriverEvent& event, const CloseReason& reason) {
  if (connection_ == event.connection) closed_ = reason;
  const auto attempt = connecting_.find(event.connection);
  if (attempt != connecting_.end()) attempts_[attempt->second].failure = reason;
}

void ServerConnection::run_for(transport::Duration time, absl::AnyInvocable<bool()> enough) {
  const auto end = transport::Clock::now() + time;
  loop_.restart();
  while (!enough() && !closed_ && transport::Clock::now() < end) {
    if (loop_.run_one_until(end) == 0) break;
  }
}

bool ServerConnection::nobody_listens() {
  const auto report = driver_->report();
  return report.last_error && report.last_error->error == ECONNREFUSED &&
         report.last_error->count >= kRefusalsBelieved * attempts_.size();
}

ConnectOutcome ServerConnection::connect(const std::vector<transport::Address>& addresses,
                                         transport::KeyJudge expected,
                                         transport::Duration patience) {
  ConnectOutcome outcome;
  const auto judge = [this, expected = std::move(expected)](const transport::PublicKey& key) {
    server_key_ = key;
    return expected(key);
  };
  const auto begin = transport::Clock::now();
  const auto end = begin + patience;
  const auto settled = [this, &addresses] {
    std::size_t failed = 0;
    for (const auto& [token, attempt] : attempts_) failed += attempt.failure ? 1 : 0;
    return connection_.has_value() || failed == addresses.size();
  };
  std::size_t started = 0;
  while (!settled() && transport::Clock::now() < end && !nobody_listens()) {
    if (started < addresses.size()) {
      const std::uint64_t token = next_token_++;
      attempts_[token] = {addresses[started], std::nullopt};
      driver_->connect(addresses[started++], judge, {token});
    }
    run_for(kNextAddressAfter, settled);
  }
  outcome.waited = transport::Clock::now() - begin;
  outcome.address = address_;
  outcome.server_key = server_key_;
  if (const auto error = driver_->report().last_error) outcome.network_error = error->error;
  if (connection_) return outcome;
  outcome.failure = {CloseCode::handshake_timeout, false, "no answer"};
  for (const auto& [token, attempt] : attempts_) {
    if (attempt.failure && attempt.failure->code != CloseCode::handshake_timeout) {
      outcome.failure = *attempt.failure;  // says more than silence
    }
  }
  return outcome;
}

void ServerConnection::request(transport::Priority priority, transport::Buffer body,
                               Answer answer) {
  const std::uint64_t token = next_token_++;
  waiting_.emplace(token, std::move(answer));
  driver_->request(connection_.value(), priority, std::move(body), {token});
}

std::optional<transport::PathReport> ServerConnection::report() {
  if (!connection_ || closed_) return std::nullopt;
  return driver_->endpoint().report(*connection_, transport::Clock::now());
}

void ServerConnection::close() {
  bool done = false;
  driver_->shutdown({CloseCode::none, false, "done"}, [&done] { done = true; });
  closed_.reset();
  run_for(std::chrono::seconds(1), [&done] { return done; });
}

std::vector<transport::Address> resolve_server(const transport::HostPort& server) {
  try {
    return transport::resolve_now(server);
  } catch (const std::runtime_error& error) {
    throw CommandError(ExitCode::unreachable, error.what());
  }
}

transport::Address connect_or_explain(ServerConnection& connection,
                                      const transport::HostPort& server,
                                      const Credentials& credentials,
                                      transport::Duration timeout) {
  const auto patience = std::min<transport::Duration>(timeout, kConnectPatience);
  const ConnectOutcome outcome =
      connection.connect(resolve_server(server), credentials.expect(server), patience);
  if (!outcome.address) throw explain_failure(server, outcome, credentials, key_comment());
  return *outcome.address;
}

}  // namespace rushfs::tools

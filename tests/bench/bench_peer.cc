#include "tests/bench/bench_peer.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace rushfs::bench {

namespace {

using transport::CallToken;
using transport::Priority;

constexpr std::size_t kHeader = 5;

/// A pattern whose every stretch differs, cheap to make and to check at many Gbit/s.
void fill(std::span<std::uint8_t> bytes) {
  std::uint64_t word = 0x9e3779b97f4a7c15u;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8, word += 0x9e3779b97f4a7c15u) {
    std::memcpy(&bytes[i], &word, 8);
  }
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(i), bytes.end(), std::uint8_t{0x5a});
}

bool is_filled(std::span<const std::uint8_t> bytes) {
  std::uint64_t word = 0x9e3779b97f4a7c15u, difference = 0;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8, word += 0x9e3779b97f4a7c15u) {
    std::uint64_t there = 0;
    std::memcpy(&there, &bytes[i], 8);
    difference |= there ^ word;
  }
  return difference == 0 && std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(i), bytes.end(),
                                        [](std::uint8_t b) { return b == 0x5a; });
}

Buffer make_upload(std::size_t size) {
  Buffer body(size);
  body[0] = 'u';
  fill(std::span(body).subspan(1));
  return body;
}

std::uint32_t length_field(const Buffer& body) {
  return std::uint32_t{body[1]} << 24 | body[2] << 16 | body[3] << 8 | body[4];
}

}  // namespace

std::shared_ptr<const transport::Identity> bench_identity(std::uint8_t seed) {
  std::array<std::uint8_t, 32> bytes{};
  bytes.fill(seed);
  return std::make_shared<const transport::Identity>(transport::Identity::from_seed(bytes));
}

BenchServer::BenchServer(boost::asio::io_context& loop, transport::EndpointConfig config,
                         transport::UdpOptions options)
    : driver_(loop, std::move(config), options,
              [this](transport::DriverEvent event) { on_event(std::move(event)); }) {}

void BenchServer::on_event(transport::DriverEvent event) {
  if (const auto* request = std::get_if<transport::RequestArrived>(&event.body)) {
    answer(event.connection, *request);
  }
}

void BenchServer::answer(transport::ConnectionHandle connection,
                         const transport::RequestArrived& request) {
  Buffer reply;
  if (request.body.size() == kHeader && request.body[0] == 'd') {
    reply.resize(length_field(request.body));
    fill(reply);
  } else if (request.body.empty() || request.body[0] != 'u' ||
             !is_filled(std::span(request.body).subspan(1))) {
    ++damaged_;
  }
  driver_.endpoint().reply(connection, request.id, std::move(reply));
}

BenchClient::BenchClient(boost::asio::io_context& loop, transport::EndpointConfig config,
                         transport::UdpOptions options)
    : driver_(loop, std::move(config), options,
              [this](transport::DriverEvent event) { on_event(std::move(event)); }) {}

void BenchClient::start(const Address& server, const Load& load, Done done) {
  load_ = load;
  upload_ = make_upload(std::max<std::size_t>(1, load.message.count));
  done_ = std::move(done);
  driver_.connect(server, [](const transport::PublicKey&) { return true; }, CallToken{0});
}

void BenchClient::on_event(transport::DriverEvent event) {
  if (std::holds_alternative<transport::Connected>(event.body)) {
    connection_ = event.connection;
    connected_at_ = transport::Clock::now();
    ask_more();
  } else if (const auto* answer = std::get_if<transport::CallAnswered>(&event.body)) {
    answered(*answer);
  } else if (const auto* closed = std::get_if<transport::Closed>(&event.body)) {
    connection_.reset();
    finish("connection closed, code " + std::to_string(static_cast<int>(closed->reason.code)) +
           ": " + closed->reason.text);
  }
}

void BenchClient::ask_more() {
  const auto size_of_next = [&](Bytes asked, Bytes done, Bytes all) {
    if (asked - done >= load_.outstanding) return Bytes{0};
    return std::min(load_.message, all - asked);
  };
  while (const auto n = size_of_next(upload_asked_, uploaded_, load_.up).count) {
    Buffer body = upload_.size() == n ? upload_ : make_upload(n);
    upload_asked_ += Bytes{n};
    driver_.request(*connection_, Priority::behind, std::move(body), {kUpload | next_token_++});
  }
  while (const auto n = size_of_next(download_asked_, downloaded_, load_.down).count) {
    Buffer body{'d', static_cast<std::uint8_t>(n >> 24), static_cast<std::uint8_t>(n >> 16),
                static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)};
    download_asked_ += Bytes{n};
    driver_.request(*connection_, Priority::ahead, std::move(body), {next_token_++});
  }
}

void BenchClient::answered(const transport::CallAnswered& answer) {
  if (answer.token.value & kUpload) {
    uploaded_ += std::min(load_.message, load_.up - uploaded_);  // one of them was the shorter
  } else {
    downloaded_ += Bytes{answer.body.size()};
    if (!is_filled(answer.body)) ++damaged_;
  }
  if (uploaded_ >= load_.up && downloaded_ >= load_.down) {
    finish("");
  } else {
    ask_more();
  }
}

void BenchClient::finish(std::string failure) {
  if (!done_) return;
  failure_ = std::move(failure);
  std::exchange(done_, nullptr)();
}

transport::PathReport BenchClient::path_report(transport::TimePoint now) {
  return connection_ ? driver_.endpoint().report(*connection_, now) : transport::PathReport{};
}

}  // namespace rushfs::bench

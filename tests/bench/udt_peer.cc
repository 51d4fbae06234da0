// rushfs-udt-peer: moves bytes from memory to memory over UDT4, to be measured beside rushfs.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <udt/udt.h>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kChunk = 1 << 18;  // bytes per call
// A link of 1 Gbit/s and 550 ms holds 69 MB; UDT sends no more than its buffers and window take.
constexpr int kBuffer = 128 << 20;
constexpr int kUdpBuffer = 8 << 20;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] void fail(const char* attempt) {
  throw std::runtime_error(std::string(attempt) + ": " + UDT::getlasterror().getErrorMessage());
}

UDTSOCKET make_socket() {
  const UDTSOCKET made = UDT::socket(AF_INET, SOCK_STREAM, 0);
  if (made == UDT::INVALID_SOCK) fail("make a UDT socket");
  const auto set = [made](UDT::SOCKOPT option, int value) {
    if (UDT::setsockopt(made, 0, option, &value, sizeof value) == UDT::ERROR) fail("set an option");
  };
  set(UDT_FC, kBuffer / 1400);
  set(UDT_SNDBUF, kBuffer);
  set(UDT_RCVBUF, kBuffer);
  set(UDP_SNDBUF, kUdpBuffer);
  set(UDP_RCVBUF, kUdpBuffer);
  const linger none{1, 0};  // what was not sent in time does not count
  if (UDT::setsockopt(made, 0, UDT_LINGER, &none, sizeof none) == UDT::ERROR) fail("set linger");
  return made;
}

sockaddr_in address_of(const std::string& host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    throw std::runtime_error(host + " is no IPv4 address");
  }
  return address;
}

/// The stream is the 64-bit numbers from 0 on, so that the receiver can tell whether it is intact.
void fill(std::vector<std::uint64_t>& chunk, std::uint64_t next) {
  for (std::uint64_t& word : chunk) word = next++;
}

void send(const std::string& host, std::uint16_t port, double seconds) {
  const UDTSOCKET socket = make_socket();
  const sockaddr_in address = address_of(host, port);
  if (UDT::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
      UDT::ERROR) {
    fail("connect");
  }
  std::vector<std::uint64_t> chunk(kChunk / sizeof(std::uint64_t));
  const auto start = Clock::now();
  for (std::uint64_t next = 0; seconds_since(start) < seconds; next += chunk.size()) {
    fill(chunk, next);
    const char* data = reinterpret_cast<const char*>(chunk.data());
    for (int sent = 0; sent < static_cast<int>(kChunk);) {
      const int timeout = 100;  // ms: looks at the clock also where nothing moves
      UDT::setsockopt(socket, 0, UDT_SNDTIMEO, &timeout, sizeof timeout);
      const int n = UDT::send(socket, data + sent, static_cast<int>(kChunk) - sent, 0);
      if (n == UDT::ERROR && UDT::getlasterror().getErrorCode() != CUDTException::ETIMEOUT) {
        fail("send");
      }
      if (n > 0) sent += n;
      if (seconds_since(start) >= seconds) break;
    }
  }
  UDT::close(socket);
}

/// Prints the bytes that came in order, and the seconds from the connection to the last of them.
void receive(std::uint16_t port) {
  const UDTSOCKET listener = make_socket();
  const sockaddr_in address = address_of("0.0.0.0", port);
  if (UDT::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
          UDT::ERROR ||
      UDT::listen(listener, 1) == UDT::ERROR) {
    fail("listen");
  }
  const UDTSOCKET socket = UDT::accept(listener, nullptr, nullptr);
  if (socket == UDT::INVALID_SOCK) fail("accept");
  const auto start = Clock::now();
  std::vector<char> chunk(kChunk);
  std::uint64_t received = 0;
  double last = 0;
  bool intact = true;
  std::array<char, 8> word{};
  while (true) {
    const int n = UDT::recv(socket, chunk.data(), static_cast<int>(chunk.size()), 0);
    if (n <= 0) break;  // the sender has closed
    last = seconds_since(start);
    for (int i = 0; i < n; ++i, ++received) {
      word[received % 8] = chunk[static_cast<std::size_t>(i)];
      std::uint64_t value = 0;
      if (received % 8 != 7) continue;
      std::memcpy(&value, word.data(), sizeof value);
      intact = intact && value == received / 8;
    }
  }
  std::printf("{\"bytes\": %llu, \"seconds\": %.3f, \"intact\": %s}\n",
              static_cast<unsigned long long>(received), last, intact ? "true" : "false");
  UDT::close(socket);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Moves bytes from memory to memory over UDT4.");
  std::uint16_t port = 7875;
  std::string host;
  double seconds = 10;
  app.add_option("--port", port)->capture_default_str();
  app.add_option("--send", host, "IPv4 address of the receiver; without: be the receiver");
  app.add_option("--seconds", seconds, "to send for")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    UDT::startup();
    if (host.empty()) {
      receive(port);
    } else {
      send(host, port, seconds);
    }
    UDT::cleanup();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rushfs-udt-peer: %s\n", error.what());
    return 1;
  }
}

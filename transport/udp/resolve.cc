#include "transport/udp/resolve.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <boost/asio/ip/udp.hpp>
#include <charconv>
#include <cstring>
#include <stdexcept>

#include "transport/udp/socket_address.h"

namespace rushfs::transport {

namespace {

using boost::asio::ip::udp;

[[noreturn]] void complain(std::string_view text, const std::string& what) {
  throw std::runtime_error("\"" + std::string(text) + "\": " + what);
}

std::uint16_t parse_port(std::string_view whole, std::string_view text) {
  unsigned port = 65536;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port > 65535) {
    complain(whole, "the port must be a number from 0 to 65535");
  }
  return static_cast<std::uint16_t>(port);
}

Address to_address(const udp::endpoint& endpoint) {
  sockaddr_storage storage{};
  std::memcpy(&storage, endpoint.data(), endpoint.size());
  return from_sockaddr(storage);
}

std::vector<Address> to_addresses(const udp::resolver::results_type& results) {
  std::vector<Address> addresses;
  for (const auto& entry : results) {
    const Address address = to_address(entry.endpoint());
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
      addresses.push_back(address);
    }
  }
  return addresses;
}

std::string sentence(const HostPort& host_port, const boost::system::error_code& error) {
  return "cannot find the address of " + host_port.host + ": " + error.message();
}

}  // namespace

HostPort parse_host_port(std::string_view text) {
  HostPort result;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) complain(text, "\"]\" is missing");
    result.host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') complain(text, "expected \":PORT\" behind \"]\"");
    if (!rest.empty()) result.port = parse_port(text, rest.substr(1));
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    const auto colon = text.find(':');
    result.host = text.substr(0, colon);
    result.port = parse_port(text, text.substr(colon + 1));
  } else {
    result.host = text;  // a name, or an IPv6 address without a port
  }
  if (result.host.empty()) complain(text, "a host name or address is missing");
  return result;
}

Address parse_address(std::string_view text) {
  HostPort host_port = parse_host_port(text);
  Address address;
  address.port = host_port.port;
  if (host_port.host == "*") return address;
  boost::system::error_code error;
  const auto ip = boost::asio::ip::make_address(host_port.host, error);
  if (error) complain(text, "not a numeric IPv4 or IPv6 address");
  return to_address(udp::endpoint(ip, host_port.port));
}

std::string to_string(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (is_ipv4(address)) {
    ::inet_ntop(AF_INET, &address.ip[12], text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(address.port);
  }
  ::inet_ntop(AF_INET6, address.ip.data(), text.data(), text.size());
  const std::string scope = address.scope != 0 ? "%" + std::to_string(address.scope) : "";
  return "[" + std::string(text.data()) + scope + "]:" + std::to_string(address.port);
}

std::string to_string(const HostPort& host_port) {
  const bool literal = host_port.host.find(':') != std::string::npos;
  return (literal ? "[" + host_port.host + "]" : host_port.host) + ":" +
         std::to_string(host_port.port);
}

void resolve(boost::asio::io_context& loop, const HostPort& host_port,
             absl::AnyInvocable<void(Resolution) &&> handler) {
  auto resolver = std::make_shared<udp::resolver>(loop);
  resolver->async_resolve(host_port.host, std::to_string(host_port.port),
                          [resolver, host_port, handler = std::move(handler)](
                              const boost::system::error_code& error,
                              const udp::resolver::results_type& results) mutable {
                            Resolution resolution;
                            if (error) {
                              resolution.error = sentence(host_port, error);
                            } else {
                              resolution.addresses = to_addresses(results);
                            }
                            std::move(handler)(std::move(resolution));
                          });
}

std::vector<Address> resolve_now(const HostPort& host_port) {
  boost::asio::io_context unused;
  udp::resolver resolver(unused);
  boost::system::error_code error;
  const auto results = resolver.resolve(host_port.host, std::to_string(host_port.port), error);
  if (error) throw std::runtime_error(sentence(host_port, error));
  return to_addresses(results);
}

}  // namespace rushfs::transport

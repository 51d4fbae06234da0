// Names to addresses: the HOST[:PORT] people type, and addresses as people read them.
#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/asio/io_context.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "transport/address.h"

namespace rushfs::transport {

inline constexpr std::uint16_t kDefaultPort = 7874;

struct HostPort {
  std::string host;  // name, IPv4 or IPv6 without brackets
  std::uint16_t port = kDefaultPort;
  auto operator<=>(const HostPort&) const = default;
};

/// Reads HOST, HOST:PORT, [IPV6], [IPV6]:PORT or a bare IPv6 address. Throws std::runtime_error
/// that quotes the text and says what is wrong. Port 0, "of the system's choice", makes sense for
/// listening alone.
HostPort parse_host_port(std::string_view text);

/// Numeric address and port, no lookup: an IPv4 or IPv6 literal or "*" for any. For --listen.
/// Throws std::runtime_error as above.
Address parse_address(std::string_view text);

/// "192.0.2.1:7874" or "[2001:db8::1]:7874".
std::string to_string(const Address& address);
/// "host:7874", with brackets around an IPv6 literal.
std::string to_string(const HostPort& host_port);

/// What a lookup found, in the order to try; never empty on success. On failure `error` is a
/// sentence naming the host and the resolver's reason.
struct Resolution {
  std::vector<Address> addresses;
  std::string error;
};

/// Looks the name up without blocking the loop; `handler` is called once, on `loop`.
void resolve(boost::asio::io_context& loop, const HostPort& host_port,
             absl::AnyInvocable<void(Resolution) &&> handler);

/// The same, blocking: for start-up. Throws std::runtime_error with the sentence.
std::vector<Address> resolve_now(const HostPort& host_port);

}  // namespace rushfs::transport

// Address to and from the system's sockaddr.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "transport/address.h"

namespace rushfs::transport {

/// 0.0.0.0 in the form of IPv6.
inline constexpr LocalIp kAnyIpv4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/// ::ffff:0:0/96
bool is_ipv4(const Address& address);

/// The form a socket of `family` (AF_INET6, or AF_INET for IPv4 addresses only) takes; the result
/// is its length, or 0 if the address cannot be expressed in that family.
socklen_t to_sockaddr(const Address& address, int family, sockaddr_storage& out);

/// From AF_INET or AF_INET6.
Address from_sockaddr(const sockaddr_storage& in);

}  // namespace rushfs::transport

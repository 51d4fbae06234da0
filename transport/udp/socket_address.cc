#include "transport/udp/socket_address.h"

#include <algorithm>
#include <cstring>

namespace rushfs::transport {

bool is_ipv4(const Address& address) {
  return std::equal(kAnyIpv4.begin(), kAnyIpv4.begin() + 12, address.ip.begin());
}

socklen_t to_sockaddr(const Address& address, int family, sockaddr_storage& out) {
  if (family == AF_INET) {
    if (!is_ipv4(address)) return 0;
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&v4.sin_addr, &address.ip[12], 4);
    std::memcpy(&out, &v4, sizeof v4);
    return sizeof v4;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  v6.sin6_scope_id = address.scope;
  std::memcpy(&v6.sin6_addr, address.ip.data(), 16);
  std::memcpy(&out, &v6, sizeof v6);
  return sizeof v6;
}

Address from_sockaddr(const sockaddr_storage& in) {
  Address address;
  if (in.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &in, sizeof v4);
    address.ip = kAnyIpv4;
    std::memcpy(&address.ip[12], &v4.sin_addr, 4);
    address.port = ntohs(v4.sin_port);
  } else if (in.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &in, sizeof v6);
    std::memcpy(address.ip.data(), &v6.sin6_addr, 16);
    address.port = ntohs(v6.sin6_port);
    address.scope = v6.sin6_scope_id;
  }
  return address;
}

}  // namespace rushfs::transport

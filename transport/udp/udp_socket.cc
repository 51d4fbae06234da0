#include "transport/udp/udp_socket.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "transport/udp/resolve.h"
#include "transport/udp/socket_address.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace rushfs::transport {

namespace {

/// GRO hands over up to 64 KiB in one message.
constexpr std::size_t kReceiveBuffer = 65536;
/// Messages per system call: 1 MiB with GRO, which still fits a core's second-level cache.
constexpr std::size_t kReceiveMessages = 16;
/// ICMP errors looked at per wake-up; a flood of them must not hold up the turn.
constexpr int kErrorsPerTurn = 16;

void set_int(int fd, int level, int option, int value) {
  // What an old kernel does not know it does not do: every caller can do without.
  (void)::setsockopt(fd, level, option, &value, sizeof value);
}

int get_int(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, option, &value, &size) == 0 ? value : 0;
}

}  // namespace

struct UdpSocket::Received {
  static constexpr std::size_t kControl = 128;
  std::array<mmsghdr, kReceiveMessages> messages{};
  std::array<iovec, kReceiveMessages> parts{};
  std::array<sockaddr_storage, kReceiveMessages> from{};
  std::array<std::array<std::uint8_t, kControl>, kReceiveMessages> control{};
  std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(kReceiveMessages * kReceiveBuffer);

  void prepare() {
    for (std::size_t i = 0; i < kReceiveMessages; ++i) {
      parts[i] = {&bytes[i * kReceiveBuffer], kReceiveBuffer};
      msghdr& header = messages[i].msg_hdr;
      header = {};
      header.msg_name = &from[i];
      header.msg_namelen = sizeof from[i];
      header.msg_iov = &parts[i];
      header.msg_iovlen = 1;
      header.msg_control = control[i].data();
      header.msg_controllen = kControl;
    }
  }
};

UdpSocket::UdpSocket(const UdpOptions& options) : received_(std::make_unique<Received>()) {
  try {
    open(options);
  } catch (...) {
    if (fd_ >= 0) ::close(fd_);
    throw;
  }
}

UdpSocket::~UdpSocket() { ::close(fd_); }

void UdpSocket::open_descriptor(const Address& listen) {
  constexpr int kType = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  family_ = listen.ip == kAnyIpv4 ? AF_INET : AF_INET6;
  fd_ = ::socket(family_, kType, 0);
  if (fd_ < 0 && family_ == AF_INET6) {  // a host without IPv6
    family_ = AF_INET;
    fd_ = ::socket(family_, kType, 0);
  }
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "open a UDP socket");
  if (family_ == AF_INET6) set_int(fd_, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

void UdpSocket::open(const UdpOptions& options) {
  Address listen = options.listen.value_or(Address{});
  const std::string attempt = "listen on UDP " + to_string(listen);
  open_descriptor(listen);
  set_options(options);

  const bool any = listen.ip == Address{}.ip || listen.ip == kAnyIpv4;
  if (any && family_ == AF_INET) listen.ip = kAnyIpv4;
  many_addresses_ = options.listen && any;
  if (many_addresses_ && family_ == AF_INET6) set_int(fd_, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  if (many_addresses_ && family_ == AF_INET) set_int(fd_, IPPROTO_IP, IP_PKTINFO, 1);
  sockaddr_storage address{};
  socklen_t size = to_sockaddr(listen, family_, address);
  if (size == 0) throw std::system_error(EAFNOSUPPORT, std::generic_category(), attempt);
  if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) < 0) {
    throw std::system_error(errno, std::generic_category(), attempt);
  }
  size = sizeof address;
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) < 0) {
    throw std::system_error(errno, std::generic_category(), "getsockname");
  }
  local_ = from_sockaddr(address);
}

void UdpSocket::set_options(const UdpOptions& options) {
  report_.receive_buffer =
      set_buffer(SO_RCVBUFFORCE, SO_RCVBUF, options.receive_buffer, options.force_buffers);
  report_.send_buffer =
      set_buffer(SO_SNDBUFFORCE, SO_SNDBUF, options.send_buffer, options.force_buffers);
  set_int(fd_, SOL_SOCKET, SO_RXQ_OVFL, 1);
  constexpr int kDscpShift = 2;  // above the two bits of ECN
  set_int(fd_, IPPROTO_IP, IP_TOS, options.dscp << kDscpShift);
  if (family_ == AF_INET6) {
    set_int(fd_, IPPROTO_IPV6, IPV6_TCLASS, options.dscp << kDscpShift);
  }
  // Probe: never fragment, and let our own search decide on sizes, not the kernel's cache of
  // unauthenticated ICMP messages.
  set_int(fd_, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  set_int(fd_, IPPROTO_IP, IP_RECVERR, 1);
  if (family_ == AF_INET6) {
    set_int(fd_, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    set_int(fd_, IPPROTO_IPV6, IPV6_RECVERR, 1);
  }
  if (options.receive_offload) {
    const int on = 1;
    report_.receive_offload = ::setsockopt(fd_, SOL_UDP, UDP_GRO, &on, sizeof on) == 0;
  }
  if (options.segmentation_offload) {
    const int off = 0;  // a kernel that knows the option accepts it
    report_.segmentation_offload = ::setsockopt(fd_, SOL_UDP, UDP_SEGMENT, &off, sizeof off) == 0;
  }
}

SocketBuffer UdpSocket::set_buffer(int force_option, int option, Bytes asked, bool force) {
  const int value = static_cast<int>(std::min<std::uint64_t>(asked.count, 1u << 30));
  if (!force || ::setsockopt(fd_, SOL_SOCKET, force_option, &value, sizeof value) < 0) {
    set_int(fd_, SOL_SOCKET, option, value);
  }
  const int doubled = get_int(fd_, SOL_SOCKET, option);  // socket(7): for bookkeeping
  return {asked, Bytes{static_cast<std::uint64_t>(doubled) / 2}};
}

bool UdpSocket::receive(TimePoint now, Sink sink) {
  received_->prepare();
  ++report_.receive_calls;
  const int n =
      ::recvmmsg(fd_, received_->messages.data(), kReceiveMessages, MSG_DONTWAIT, nullptr);
  if (n <= 0) {
    // Woken without a datagram, or an error of the socket: an ICMP message was the cause.
    const bool drained = n == 0 || errno == EAGAIN;
    read_errors(now);
    return !drained;
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    const mmsghdr& message = received_->messages.at(i);
    const Told told = read_control(message.msg_hdr);
    const Address from = from_sockaddr(received_->from[i]);
    std::span<std::uint8_t> rest(&received_->bytes[i * kReceiveBuffer], message.msg_len);
    report_.bytes_received += Bytes{rest.size()};
    bool from_peer = false;
    do {
      const std::size_t size = told.segment_size == 0
                                   ? rest.size()
                                   : std::min<std::size_t>(told.segment_size, rest.size());
      ++report_.datagrams_received;
      from_peer |= sink(rest.first(size), from, told.local);
      rest = rest.subspan(size);
    } while (!rest.empty());
    if (told.local && from_peer) return_paths_.learn(from, *told.local);
  }
  if (errors_left_) read_errors(now);  // they take room in the receive buffer
  return static_cast<std::size_t>(n) == kReceiveMessages;
}

UdpSocket::Told UdpSocket::read_control(const msghdr& header) {
  Told told;
  auto& mutable_header = const_cast<msghdr&>(header);
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&mutable_header, c)) {
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      int size = 0;
      std::memcpy(&size, CMSG_DATA(c), sizeof size);
      told.segment_size = static_cast<std::uint16_t>(size);
    } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
      std::uint32_t drops = 0;
      std::memcpy(&drops, CMSG_DATA(c), sizeof drops);
      report_.dropped_by_kernel += static_cast<std::uint32_t>(drops - kernel_drops_);
      kernel_drops_ = drops;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      std::memcpy(told.local.emplace().data(), &info.ipi6_addr, sizeof info.ipi6_addr);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      std::memcpy(&told.local.emplace(kAnyIpv4)[12], &info.ipi_addr, sizeof info.ipi_addr);
    }
  }
  return told;
}

void UdpSocket::read_errors(TimePoint now) {
  for (int i = 0; i < kErrorsPerTurn; ++i) {
    sockaddr_storage to{};
    std::array<std::uint8_t, 512> control{};
    std::uint8_t payload = 0;
    iovec part{&payload, sizeof payload};
    msghdr header{};
    header.msg_name = &to;
    header.msg_namelen = sizeof to;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    errors_left_ = ::recvmsg(fd_, &header, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0;
    if (!errors_left_) return;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
      const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
      if (!v4 && !v6) continue;
      sock_extended_err error{};
      std::memcpy(&error, CMSG_DATA(c), sizeof error);
      // A datagram over the interface's MTU: the path MTU search asks that question on purpose.
      if (error.ee_errno == EMSGSIZE) continue;
      note_error(static_cast<int>(error.ee_errno), from_sockaddr(to), now);
    }
  }
  // To read one makes the next one pending, which would be blamed on what is sent next.
  (void)get_int(fd_, SOL_SOCKET, SO_ERROR);
}

void UdpSocket::note_error(int error, const Address& to, TimePoint now) {
  const std::uint64_t before = report_.last_error ? report_.last_error->count : 0;
  report_.last_error = NetworkError{error, to, now, before + 1};
}

}  // namespace rushfs::transport

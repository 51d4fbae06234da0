// Sockets and drivers on interfaces as they are in the world: of small MTU, full, wide. Each test
// has a network namespace of its own, which needs root; without it the tests say so and pass.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>

#include "tests/bench/bench_peer.h"
#include "transport/udp/resolve.h"
#include "transport/udp/socket_address.h"

using namespace rushfs;
using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

void run(const char* command) {
  INFO(command);
  REQUIRE(std::system(command) == 0);
}

/// Runs `body` where `commands` have made the network; the caller waits.
void in_own_network(const std::vector<const char*>& commands, const std::function<void()>& body) {
  bool permitted = true;
  std::thread thread([&] {
    permitted = ::unshare(CLONE_NEWNET) == 0;  // of this thread and what it starts
    if (!permitted) return;
    for (const char* command : commands) run(command);
    body();
  });
  thread.join();
  if (!permitted) WARN("not tested: a network namespace needs root");
}

UdpOptions listening(const char* address) {
  UdpOptions options;
  options.listen = parse_address(address);
  return options;
}

TransmitBatch datagrams(const Address& to, std::size_t count, std::uint16_t size) {
  return {to, size, std::vector<std::uint8_t>(count * size, 7)};
}

/// Reads what has come, for half a second at most; the result says how many datagrams.
std::size_t receive_some(UdpSocket& socket, std::size_t count, Address* from = nullptr) {
  const TimePoint end = Clock::now() + 500ms;
  std::size_t got = 0;
  while (got < count && Clock::now() < end) {
    socket.receive(Clock::now(), [&](std::span<std::uint8_t>, const Address& address,
                                     const std::optional<LocalIp>&) {
      ++got;
      if (from != nullptr) *from = address;
      return true;
    });
  }
  return got;
}

/// Somebody says that a datagram of `sender`, on this host, did not reach a third party.
void inject_unreachable(const Address& sender, std::uint8_t code) {
  struct {
    icmphdr icmp{};
    iphdr ip{};
    udphdr udp{};
  } message;
  message.icmp.type = ICMP_DEST_UNREACH;
  message.icmp.code = code;
  if (code == ICMP_FRAG_NEEDED) message.icmp.un.frag.mtu = htons(1300);
  message.ip.version = 4;
  message.ip.ihl = sizeof message.ip / 4;
  message.ip.protocol = IPPROTO_UDP;
  message.ip.saddr = htonl(INADDR_LOOPBACK);
  message.ip.daddr = inet_addr("127.0.0.9");
  message.udp.source = htons(sender.port);
  message.udp.dest = htons(9);
  std::array<std::uint16_t, sizeof message / 2> words;
  std::memcpy(words.data(), &message, sizeof message);
  std::uint32_t sum = 0;
  for (const std::uint16_t word : words) sum += word;
  sum = (sum & 0xffff) + (sum >> 16);
  message.icmp.checksum = static_cast<std::uint16_t>(~(sum + (sum >> 16)));
  const int raw = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
  REQUIRE(raw >= 0);
  sockaddr_storage to{};
  const socklen_t size = to_sockaddr(parse_address("127.0.0.1:0"), AF_INET, to);
  CHECK(::sendto(raw, &message, sizeof message, 0, reinterpret_cast<sockaddr*>(&to), size) > 0);
  ::close(raw);
}

bool writable_within(const UdpSocket& socket, std::chrono::milliseconds time) {
  pollfd descriptor{socket.descriptor(), POLLOUT, 0};
  return ::poll(&descriptor, 1, static_cast<int>(time.count())) > 0;
}

EndpointConfig config(std::uint8_t seed) {
  EndpointConfig result;
  result.identity = bench::bench_identity(seed);
  result.accept_client = [](const PublicKey&, const Address&) { return true; };
  return result;
}

struct Outcome {
  std::string failure;
  PathReport path;
};

/// Sends up until datagrams have the wanted size, ten seconds at most, and a little longer.
Outcome send_until(const char* address, Bytes wanted) {
  boost::asio::io_context loop(1);
  bench::BenchServer server(loop, config(1), listening(address));
  bench::BenchClient client(loop, config(2), {});
  client.start(server.driver().local_address(), {Bytes{1ull << 40}, Bytes{0}}, [] {});
  loop.run_for(20ms);
  for (int i = 0; i < 500 && client.path_report(Clock::now()).datagram_size != wanted; ++i) {
    loop.run_for(20ms);
  }
  loop.run_for(200ms);
  return {client.failure(), client.path_report(Clock::now())};
}

}  // namespace

TEST_CASE("sending goes on where it stopped when the send buffer was full") {
  // What waits for a neighbour's link address counts against the socket that sent it.
  in_own_network({"ip link add full0 type veth peer name full1",
                  "ip link set full0 up && ip link set full1 up",
                  "ip addr add 10.9.0.1/24 dev full0"},
                 [] {
    UdpOptions options;
    options.send_buffer = 16_KiB;
    options.force_buffers = false;
    options.segmentation_offload = GENERATE(true, false);
    UdpSocket socket(options);
    std::vector<TransmitBatch> batch;
    for (int i = 0; i < 200; ++i) batch.push_back(datagrams(parse_address("10.9.0.2:9"), 1, 1400));
    socket.send(batch, Clock::now());
    REQUIRE(socket.blocked());
    CHECK(socket.report().send_blocked == 1);
    const std::uint64_t sent = socket.report().datagrams_sent;
    CHECK(sent > 0);
    CHECK(sent < 200);
    CHECK_FALSE(writable_within(socket, 50ms));
    socket.resume(Clock::now());  // too early: nothing is lost and nothing sent twice
    CHECK(socket.blocked());
    run("ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev full0");
    while (socket.blocked()) {
      REQUIRE(writable_within(socket, 1000ms));
      socket.resume(Clock::now());
    }
    CHECK(socket.report().datagrams_sent == 200);
    CHECK(socket.report().bytes_sent == Bytes{200 * 1400});
    CHECK_FALSE(socket.report().last_error);
    run("ip neigh del 10.9.0.2 dev full0");
  });
}

TEST_CASE("the size that an interface does not take is told, once, with its address") {
  in_own_network({"ip link set lo up mtu 1500"}, [] {
    UdpSocket socket{UdpOptions{}};
    const Address to = parse_address("127.0.0.1:9");
    std::vector<TransmitBatch> batch{datagrams(to, 5, 8972), datagrams(to, 1, 1472)};
    socket.send(batch, Clock::now());
    REQUIRE(socket.too_large().size() == 1);
    CHECK(socket.too_large()[0] == UdpSocket::TooLarge{to, 8972_B});
    CHECK(socket.report().too_large == 5);
    CHECK(socket.report().datagrams_sent == 1);
    std::vector<TransmitBatch> small{datagrams(to, 1, 100)};
    socket.send(small, Clock::now());
    CHECK(socket.too_large().empty());
  });
}

TEST_CASE("news of one peer's datagram is not taken for a refusal of another's") {
  in_own_network({"ip link set lo up"}, [] {
    UdpSocket sender(listening(GENERATE("127.0.0.1:0", "*:0", "0.0.0.0:0")));
    UdpSocket receiver(listening("127.0.0.1:0"));
    const int pending = GENERATE(1, 40);
    Address from;
    const auto send = [&](std::size_t count, std::uint16_t size) {
      for (int i = 0; i < pending; ++i) {
        inject_unreachable(sender.local_address(), ICMP_FRAG_NEEDED);
      }
      std::vector<TransmitBatch> batch{datagrams(receiver.local_address(), count, size)};
      sender.send(batch, Clock::now());
      CHECK(receive_some(receiver, count, &from) == count);
      CHECK(sender.too_large().empty());
      CHECK(sender.report().segmentation_offload);
    };
    send(5, 1200);
    send(1, 60);
    CHECK(sender.report().too_large == 0);
    for (int i = 0; i < 4; ++i) {  // what is still unread counts against the receive buffer
      std::vector<TransmitBatch> back{datagrams(from, 1, 100)};
      receiver.send(back, Clock::now());
      CHECK(receive_some(sender, 1) == 1);
    }
    pollfd errors{sender.descriptor(), 0, 0};
    CHECK(::poll(&errors, 1, 0) == 0);
  });
}

TEST_CASE("news of one peer's network does not make another's way back forgotten") {
  in_own_network({"ip link set lo up"}, [] {
    UdpSocket server(listening(GENERATE("*:0", "0.0.0.0:0")));
    UdpSocket client(listening("127.0.0.1:0"));
    Address asked = parse_address("127.0.0.2:0");
    asked.port = server.local_address().port;
    std::vector<TransmitBatch> question{datagrams(asked, 1, 100)};
    client.send(question, Clock::now());
    Address from;
    REQUIRE(receive_some(server, 1, &from) == 1);
    inject_unreachable(server.local_address(), ICMP_NET_UNREACH);
    std::vector<TransmitBatch> answer{datagrams(from, 1, 100)};
    server.send(answer, Clock::now());
    REQUIRE(receive_some(client, 1, &from) == 1);
    CHECK(from == asked);
  });
}

TEST_CASE("a connection uses the datagrams that its interfaces carry, and no larger ones") {
  struct Case {
    const char* mtu;
    const char* address;
    Bytes datagram;
  };
  for (const Case& c : {Case{"ip link set lo up mtu 65536", "127.0.0.1:0", 8972_B},
                        Case{"ip link set lo up mtu 1500", "127.0.0.1:0", 1472_B},
                        Case{"ip link set lo up mtu 1500", "[::1]:0", 1452_B},
                        Case{"ip link set lo up mtu 1300", "[::1]:0", 1232_B}}) {
    in_own_network({c.mtu}, [&] {
      CAPTURE(c.mtu, c.address);
      const Outcome outcome = send_until(c.address, c.datagram);
      CHECK(outcome.failure == "");
      CHECK(outcome.path.datagram_size.count == c.datagram.count);
    });
  }
}

TEST_CASE("a connection goes on when its interface gets a smaller MTU") {
  in_own_network({"ip link set lo up mtu 9000"}, [] {
    boost::asio::io_context loop(1);
    bench::BenchServer server(loop, config(1), listening("127.0.0.1:0"));
    EndpointConfig slow = config(2);
    slow.rate.target = 800_Mbps;
    bench::BenchClient client(loop, slow, {});
    bool done = false;
    client.start(server.driver().local_address(), {512_MiB, Bytes{0}}, [&] { done = true; });
    for (int i = 0; i < 400 && client.path_report(Clock::now()).datagram_size < 8972_B; ++i) {
      loop.run_for(10ms);
    }
    REQUIRE_FALSE(done);
    REQUIRE(client.path_report(Clock::now()).datagram_size == 8972_B);
    run("ip link set lo mtu 1400");
    for (int i = 0; i < 600 && !done; ++i) loop.run_for(200ms);
    CHECK(done);
    CHECK(client.failure() == "");
    CHECK(client.path_report(Clock::now()).datagram_size <= 1372_B);
  });
}

TEST_CASE("datagrams carry the code point that was asked for") {
  for (const char* address : {"127.0.0.1:0", "[::1]:0"}) {
    CAPTURE(address);
    UdpSocket receiver(listening(address));
    const int on = 1;
    const int fd = receiver.descriptor();
    REQUIRE(::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on) == 0);
    REQUIRE(::setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof on) == 0);
    UdpOptions options;
    options.dscp = 8;  // CS1, "lower effort"
    UdpSocket sender(options);
    std::vector<TransmitBatch> batch{datagrams(receiver.local_address(), 1, 100)};
    sender.send(batch, Clock::now());
    std::array<std::uint8_t, 200> bytes{}, control{};
    iovec part{bytes.data(), bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    REQUIRE(::recvmsg(fd, &header, 0) == 100);
    int field = -1;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_type == IP_TOS || c->cmsg_type == IPV6_TCLASS) field = *CMSG_DATA(c);
    }
    CHECK(field == 8 << 2);
  }
}

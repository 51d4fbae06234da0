#include "transport/udp/udp_socket.h"

#include <poll.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <numeric>

#include "transport/udp/resolve.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

UdpOptions listening(const char* address) {
  UdpOptions options;
  options.listen = parse_address(address);
  return options;
}

/// `count` datagrams of `size` bytes and one shorter one, each filled with its number.
TransmitBatch numbered(const Address& to, std::size_t count, std::uint16_t size) {
  TransmitBatch batch{to, size, {}};
  for (std::size_t i = 0; i < count; ++i) {
    batch.bytes.insert(batch.bytes.end(), size, static_cast<std::uint8_t>(i));
  }
  batch.bytes.insert(batch.bytes.end(), 10, static_cast<std::uint8_t>(count));
  return batch;
}

bool readable_within(const UdpSocket& socket, std::chrono::milliseconds time) {
  pollfd descriptor{socket.descriptor(), POLLIN, 0};
  return ::poll(&descriptor, 1, static_cast<int>(time.count())) > 0;
}

/// Reads until `count` datagrams came or none comes for a second; takes them for those of a peer,
/// or of a stranger.
std::vector<Buffer> receive_some(UdpSocket& socket, std::size_t count, Address* from = nullptr,
                                 bool peer = true, std::optional<LocalIp>* at = nullptr) {
  std::vector<Buffer> got;
  while (got.size() < count && readable_within(socket, 1000ms)) {
    socket.receive(Clock::now(), [&](std::span<std::uint8_t> datagram, const Address& address,
                                     const std::optional<LocalIp>& local) {
      got.emplace_back(datagram.begin(), datagram.end());
      if (from != nullptr) *from = address;
      if (at != nullptr) *at = local;
      return peer;
    });
  }
  return got;
}

struct Offloads {
  bool segmentation, receive;
};

}  // namespace

TEST_CASE("datagrams arrive as they were sent, with and without offloads, over both families") {
  for (const char* address : {"127.0.0.1:0", "[::1]:0"}) {
    for (const Offloads offloads : {Offloads{true, true}, {true, false}, {false, true},
                                    {false, false}}) {
      UdpOptions options = listening(address);
      options.segmentation_offload = offloads.segmentation;
      options.receive_offload = offloads.receive;
      UdpSocket sender(options), receiver(options);
      std::vector<TransmitBatch> batches{numbered(receiver.local_address(), 150, 1200),
                                         numbered(receiver.local_address(), 0, 1472)};
      sender.send(batches, Clock::now());
      Address from;
      const auto got = receive_some(receiver, 152, &from);
      REQUIRE(got.size() == 152);
      CHECK(from == sender.local_address());
      for (std::size_t i = 0; i < 150; ++i) {
        CHECK(got[i] == Buffer(1200, static_cast<std::uint8_t>(i)));
      }
      CHECK(got[150] == Buffer(10, 150));
      CHECK(got[151] == Buffer(10, 0));
      CHECK(sender.report().datagrams_sent == 152);
      CHECK(sender.report().bytes_sent == Bytes{150 * 1200 + 20});
      CHECK(receiver.report().datagrams_received == 152);
      CHECK(receiver.report().bytes_received == Bytes{150 * 1200 + 20});
      CHECK(sender.report().send_calls <= (offloads.segmentation ? 1u : 3u));
    }
  }
}

TEST_CASE("a socket for any address speaks to both families") {
  UdpSocket any{UdpOptions{}};
  UdpSocket v4(listening("127.0.0.1:0")), v6(listening("[::1]:0"));
  for (UdpSocket* peer : {&v4, &v6}) {
    std::vector<TransmitBatch> batch{numbered(peer->local_address(), 1, 100)};
    any.send(batch, Clock::now());
    Address from;
    CHECK(receive_some(*peer, 2, &from).size() == 2);
    std::vector<TransmitBatch> back{numbered(from, 1, 100)};
    peer->send(back, Clock::now());
    CHECK(receive_some(any, 2, &from).size() == 2);
    CHECK(from == peer->local_address());
  }
}

TEST_CASE("a server on any address answers from the one that was asked") {
  UdpSocket server(listening(GENERATE("*:0", "0.0.0.0:0")));
  UdpSocket client(listening("127.0.0.1:0"));  // would be answered from 127.0.0.1 by default
  Address asked = parse_address("127.0.0.77:0");
  asked.port = server.local_address().port;
  std::vector<TransmitBatch> question{numbered(asked, 1, 100)};
  client.send(question, Clock::now());
  Address from;
  REQUIRE(receive_some(server, 2, &from).size() == 2);
  std::vector<TransmitBatch> answer{numbered(from, 3, 100)};
  server.send(answer, Clock::now());
  REQUIRE(receive_some(client, 4, &from).size() == 4);
  CHECK(from == asked);
  CHECK(server.report().segmentation_offload);
}

TEST_CASE("a server on any IPv4 address needs no kernel with IPv6") {
  const UdpSocket server(listening("0.0.0.0:0"));
  int family = 0;
  socklen_t size = sizeof family;
  REQUIRE(::getsockopt(server.descriptor(), SOL_SOCKET, SO_DOMAIN, &family, &size) == 0);
  CHECK(family == AF_INET);
  CHECK(server.local_address().ip == parse_address("0.0.0.0:0").ip);
}

TEST_CASE("who did not prove to be the peer cannot say where answers leave from") {
  UdpSocket server(listening(GENERATE("*:0", "0.0.0.0:0")));
  UdpSocket client(listening("127.0.0.1:0"));
  Address asked = parse_address("127.0.0.2:0"), elsewhere = parse_address("127.0.0.3:0");
  asked.port = elsewhere.port = server.local_address().port;
  std::vector<TransmitBatch> question{numbered(asked, 1, 100)}, forged{numbered(elsewhere, 1, 100)};
  client.send(question, Clock::now());
  Address from;
  REQUIRE(receive_some(server, 2, &from).size() == 2);
  std::optional<LocalIp> at;
  client.send(forged, Clock::now());  // as if from its address
  REQUIRE(receive_some(server, 2, &from, false, &at).size() == 2);
  CHECK(at == elsewhere.ip);
  std::vector<TransmitBatch> answer{numbered(from, 3, 100)};
  server.send(answer, Clock::now());
  REQUIRE(receive_some(client, 4, &from).size() == 4);
  CHECK(from == asked);
  answer.front().to = client.local_address();
  answer.front().from = at;  // what is said to a stranger still comes from where it asked
  server.send(answer, Clock::now());
  REQUIRE(receive_some(client, 4, &from).size() == 4);
  CHECK(from == elsewhere);
}

TEST_CASE("a listener that is not there is reported and hurts nothing else") {
  UdpSocket sender(listening("127.0.0.1:0")), receiver(listening("127.0.0.1:0"));
  Address nobody;
  {
    UdpSocket gone(listening("127.0.0.1:0"));
    nobody = gone.local_address();
  }
  for (int i = 0; i < 3; ++i) {
    std::vector<TransmitBatch> both{numbered(nobody, 2, 100),
                                    numbered(receiver.local_address(), 2, 100)};
    sender.send(both, Clock::now());
    CHECK(receive_some(receiver, 3).size() == 3);
  }
  receive_some(sender, 1);
  REQUIRE(sender.report().last_error);
  CHECK(sender.report().last_error->error == ECONNREFUSED);
  CHECK(sender.report().last_error->to == nobody);
}

TEST_CASE("an error is told although datagrams keep coming") {
  UdpSocket sender(listening("127.0.0.1:0")), receiver(listening("127.0.0.1:0"));
  Address nobody;
  {
    UdpSocket gone(listening("127.0.0.1:0"));
    nobody = gone.local_address();
  }
  std::vector<TransmitBatch> both{numbered(nobody, 0, 100),
                                  numbered(receiver.local_address(), 0, 100)};
  sender.send(both, Clock::now());
  CHECK(receive_some(receiver, 1).size() == 1);
  std::vector<TransmitBatch> back{numbered(sender.local_address(), 0, 100)};
  receiver.send(back, Clock::now());
  CHECK(receive_some(sender, 1).size() == 1);
  REQUIRE(sender.report().last_error);
  CHECK(sender.report().last_error->to == nobody);
}

TEST_CASE("what the network refuses to carry is dropped and reported, the rest is sent") {
  UdpSocket sender{UdpOptions{}}, receiver(listening("127.0.0.1:0"));
  const Address broadcast = parse_address("255.255.255.255:9");  // without SO_BROADCAST: EACCES
  std::vector<TransmitBatch> both{numbered(broadcast, 1, 100),
                                  numbered(receiver.local_address(), 2, 100)};
  sender.send(both, Clock::now());
  CHECK_FALSE(sender.blocked());
  CHECK(receive_some(receiver, 3).size() == 3);
  REQUIRE(sender.report().last_error);
  CHECK(sender.report().last_error->error == EACCES);
  CHECK(sender.report().last_error->to == broadcast);
}

TEST_CASE("a datagram over the interface's size is lost alone and costs no offload") {
  UdpSocket sender(listening("127.0.0.1:0")), receiver(listening("127.0.0.1:0"));
  // More than the 65535 bytes of an IPv4 packet once its headers are on.
  std::vector<TransmitBatch> batches{
      TransmitBatch{receiver.local_address(), 65480, Buffer(65480, 1)},
      numbered(receiver.local_address(), 20, 1000)};
  batches.front().bytes.resize(65480);
  sender.send(batches, Clock::now());
  CHECK(receive_some(receiver, 22).size() == 22);
  CHECK(sender.report().segmentation_offload);
}

TEST_CASE("a peer to whom nothing can be sent costs the others no offload") {
  UdpSocket sender(listening("127.0.0.1:0")), receiver(listening("127.0.0.1:0"));
  const Address impossible = parse_address("127.0.0.1:0");  // no such port: EINVAL
  std::vector<TransmitBatch> batches{{impossible, 100, Buffer(400, 1)},
                                     {receiver.local_address(), 100, Buffer(200, 2)}};
  sender.send(batches, Clock::now());
  CHECK(receive_some(receiver, 2).size() == 2);
  CHECK(sender.report().segmentation_offload);
  REQUIRE(sender.report().last_error);
  CHECK(sender.report().last_error->to == impossible);
  CHECK(sender.report().last_error->count == 4);
}

TEST_CASE("offload that does not work is tried again a minute later") {
  UdpSocket sender(listening("127.0.0.1:0")), receiver(listening("127.0.0.1:0"));
  const auto without_checksums = [&](int value) {  // of which the kernel makes no segments
    REQUIRE(::setsockopt(sender.descriptor(), SOL_SOCKET, SO_NO_CHECK, &value, sizeof value) == 0);
  };
  const auto send = [&](TimePoint now) {
    std::vector<TransmitBatch> batch{numbered(receiver.local_address(), 3, 100)};
    sender.send(batch, now);
    CHECK(receive_some(receiver, 4).size() == 4);
    return sender.report().segmentation_offload;
  };
  const TimePoint now = Clock::now();
  without_checksums(1);
  CHECK_FALSE(send(now));
  CHECK_FALSE(send(now + 61s));  // refused once more
  without_checksums(0);
  CHECK_FALSE(send(now + 120s));
  CHECK(send(now + 122s));
}

TEST_CASE("a clipped buffer is noticed, with advice on what to do") {
  UdpOptions options = listening("127.0.0.1:0");
  options.force_buffers = false;
  options.receive_buffer = Bytes{std::uint64_t{1} << 30};
  const UdpSocket socket(options);
  CHECK(socket.report().receive_buffer.clipped());
  CHECK(socket.report().receive_buffer.granted > Bytes{0});
  const std::string advice = buffer_advice(socket.report());
  CHECK(advice.find("sysctl -w net.core.rmem_max=1073741824") != std::string::npos);
}

TEST_CASE("datagrams that found the receive buffer full are counted") {
  UdpOptions options = listening("127.0.0.1:0");
  UdpSocket sender(options);
  options.receive_buffer = 8_KiB;
  UdpSocket receiver(options);
  std::vector<TransmitBatch> batches{numbered(receiver.local_address(), 100, 1200)};
  for (int i = 0; i < 20; ++i) sender.send(batches, Clock::now());
  const auto got = receive_some(receiver, 101 * 20);
  CHECK(got.size() < 101 * 20);
  sender.send(batches, Clock::now());  // drops are told with the next datagram that is taken
  receive_some(receiver, 1);
  CHECK(receiver.report().dropped_by_kernel > 0);
}

TEST_CASE("an address that is not ours is refused at start-up, by name") {
  CHECK_THROWS_WITH(UdpSocket(listening("192.0.2.1:7874")), Catch::Contains("192.0.2.1:7874"));
}

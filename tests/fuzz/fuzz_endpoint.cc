// A whole Endpoint, server and client at once, fed with datagrams: the input is a list of (2 bytes
// length, datagram), and a length of 0 lets a second pass.
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "transport/endpoint.h"
#include "transport/security/identity.h"

using namespace rushfs::transport;

namespace {

EndpointConfig config() {
  static const auto identity = [] {
    std::array<std::uint8_t, 32> seed{1};
    return std::make_shared<const Identity>(Identity::from_seed(seed));
  }();
  EndpointConfig result;
  result.identity = identity;
  result.accept_client = [](const PublicKey&, const Address&) { return true; };
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::mt19937_64 engine(1);
  Endpoint endpoint(config(), [&engine](std::span<std::uint8_t> bytes) {
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(engine());
  });
  TimePoint now{std::chrono::seconds(1)};
  Address peer;
  peer.port = 9;
  endpoint.connect(peer, [](const PublicKey&) { return true; }, now);
  TransmitBatch batch;
  while (size >= 2) {
    const std::size_t length = std::min<std::size_t>(data[0] << 8 | data[1], size - 2);
    std::vector<std::uint8_t> datagram(data + 2, data + 2 + length);
    data += 2 + length;
    size -= 2 + length;
    if (length == 0) {
      now += std::chrono::seconds(1);
      endpoint.tick(now);
    } else {
      endpoint.receive(datagram, peer, now);
    }
    while (endpoint.transmit(batch, now)) {
    }
    while (endpoint.poll()) {
    }
  }
  return 0;
}

// Arbitrary bytes on the handshake stream never complete a handshake, at either end.
#include "transport/security/tls_handshake.h"

#include <cassert>

using namespace rushfs::transport;

namespace {

Identity identity() {
  const std::array<std::uint8_t, 32> seed{};
  return Identity::from_seed(seed);
}

void feed(const TlsContext& context, std::span<const std::uint8_t> bytes) {
  TlsHandshake handshake(context, {1, 2, 3}, [](const PublicKey&) { return true; });
  handshake.take_output();
  const std::size_t half = bytes.size() / 2;
  handshake.feed(bytes.first(half));
  handshake.feed(bytes.subspan(half));
  assert(handshake.state() != TlsHandshake::State::complete);
  handshake.take_output();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TlsContext server(Role::server, identity());
  static const TlsContext client(Role::client, identity());
  feed(server, {data, size});
  feed(client, {data, size});
  return 0;
}

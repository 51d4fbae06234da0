// What decodes is encoded and decoded again to the same.
#include "transport/wire/transport_parameters.h"

#include <cassert>

using namespace rushfs::transport;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (const auto decoded = decode_transport_parameters({data, size})) {
    assert(decoded->max_datagram >= kMinInitialDatagram);
    assert(decode_transport_parameters(encode(*decoded)) == decoded);
  }
  return 0;
}

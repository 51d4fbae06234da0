#include "transport/wire/transport_parameters.h"

#include <catch2/catch.hpp>

#include "tests/transport/hex.h"

using namespace rushfs::transport;

namespace {

TransportParameters sample() {
  TransportParameters parameters;
  parameters.original_destination = {{1, 2, 3, 4, 5, 6, 7, 8}};
  parameters.source = {{8, 7, 6, 5, 4, 3, 2, 1}};
  parameters.idle_timeout = std::chrono::milliseconds(12345);
  parameters.max_datagram = 8900;
  parameters.initial_credit = {1_MiB, 2_MiB, 3_MiB, 4_MiB};
  return parameters;
}

std::optional<TransportParameters> with_tail(const char* tail) {
  auto encoded = encode(sample());
  const auto bytes = from_hex(tail);
  encoded.insert(encoded.end(), bytes.begin(), bytes.end());
  return decode_transport_parameters(encoded);
}

}  // namespace

TEST_CASE("transport parameters arrive as they were sent") {
  CHECK(decode_transport_parameters(encode(sample())) == sample());
}

TEST_CASE("a parameter of a later version is skipped") {
  CHECK(with_tail("4123 03 aabbcc") == sample());
}

TEST_CASE("malformed parameters are refused") {
  CHECK_FALSE(with_tail("04 02 44b0"));      // max_datagram again
  CHECK_FALSE(with_tail("4123 04 aabbcc"));  // a value that ends too soon
  CHECK_FALSE(with_tail("4123"));            // no length
  CHECK_FALSE(with_tail("41"));              // half an id
  const auto encoded = encode(sample());
  for (std::size_t length = 0; length < encoded.size(); ++length) {
    CHECK_FALSE(decode_transport_parameters(std::span(encoded).first(length)));
  }
  CHECK_FALSE(decode_transport_parameters(std::vector<std::uint8_t>(kMaxTransportParameters + 1)));
}

TEST_CASE("values out of range are refused") {
  auto parameters = sample();
  parameters.max_datagram = 1199;
  CHECK_FALSE(decode_transport_parameters(encode(parameters)));
  parameters = sample();
  parameters.idle_timeout = Duration(0);
  CHECK_FALSE(decode_transport_parameters(encode(parameters)));
}

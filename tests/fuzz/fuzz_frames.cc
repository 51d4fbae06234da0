// Frames of an authenticated peer: parsed, and carried out by an Exchange.
#include <cstddef>
#include <cstdint>

#include "tests/transport/exchange_feed.h"

using namespace rushfs::transport;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::array<Bytes, kPriorities> credit;
  credit.fill(kInitialCredit);
  Exchange exchange({.role = Role::server, .credit_limit = 256_MiB, .peer_credit = credit});
  const TimePoint now{std::chrono::seconds(1)};
  exchange.request(Priority::demand, Buffer(100));
  std::vector<NumberRange> scratch;
  FrameReader reader({data, size}, scratch);
  while (const auto frame = reader.next()) {
    if (rushfs::testing::feed(exchange, *frame, now)) break;
    std::array<std::uint8_t, 1200> space;
    FrameWriter writer(space);
    std::vector<SentFrame> sent;
    exchange.write(writer, sent, now);
    while (auto event = exchange.poll(now)) {
      if (auto* request = std::get_if<RequestArrived>(&*event)) {
        exchange.reply(request->id, std::move(request->body), now);
      }
    }
  }
  return 0;
}

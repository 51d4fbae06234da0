// Frames of an authenticated peer: parsed, and carried out by an Exchange.
#include <cstddef>
#include <cstdint>

#include "transport/exchange.h"

using namespace rushfs::transport;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::array<Bytes, kPriorities> credit;
  credit.fill(kInitialCredit);
  Exchange exchange({.role = Role::server, .credit_limit = 256_MiB, .peer_credit = credit});
  const TimePoint now{std::chrono::seconds(1)};
  exchange.request(Priority::demand, Buffer(100));
  std::vector<NumberRange> scratch;
  FrameReader reader({data, size}, scratch);
  Violation violation;
  while (const auto frame = reader.next()) {
    if (const auto* message = std::get_if<MessageFrame>(&*frame)) {
      violation = exchange.on_message(*message, now);
    } else if (const auto* cancel = std::get_if<CancelFrame>(&*frame)) {
      violation = exchange.on_cancel(*cancel, now);
    } else if (const auto* reset = std::get_if<ResetFrame>(&*frame)) {
      violation = exchange.on_reset(*reset, now);
    } else if (const auto* credit_frame = std::get_if<CreditFrame>(&*frame)) {
      exchange.on_credit(*credit_frame);
    }
    if (violation) break;
    std::array<std::uint8_t, 1200> space;
    FrameWriter writer(space);
    std::vector<SentFrame> sent;
    exchange.write(writer, sent);
    while (auto event = exchange.poll(now)) {
      if (auto* request = std::get_if<RequestArrived>(&*event)) {
        exchange.reply(request->id, std::move(request->body), now);
      }
    }
  }
  return 0;
}

// Gives an Exchange the frames that are its own, as Connection does; others are passed over.
#pragma once

#include <variant>

#include "transport/messages/exchange.h"

namespace rushfs::testing {

inline transport::Violation feed(transport::Exchange& exchange, const transport::Frame& frame,
                                 transport::TimePoint now) {
  using namespace transport;
  if (const auto* message = std::get_if<MessageFrame>(&frame)) {
    return exchange.on_message(*message, now);
  }
  if (const auto* cancel = std::get_if<CancelFrame>(&frame)) {
    return exchange.on_cancel(*cancel, now);
  }
  if (const auto* reset = std::get_if<ResetFrame>(&frame)) return exchange.on_reset(*reset, now);
  if (const auto* credit = std::get_if<CreditFrame>(&frame)) exchange.on_credit(*credit);
  return {};
}

}  // namespace rushfs::testing

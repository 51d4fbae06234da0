// What an endpoint tells the application about one connection, in order.
#pragma once

#include <variant>

#include "transport/message.h"
#include "transport/units.h"

namespace rushfs::transport {

struct Connected {};  // both sides authenticated; requests may flow
struct RequestArrived {
  RequestId id;
  Priority priority = Priority::urgent;
  Buffer body;
};
struct ReplyArrived {
  RequestId id;
  Buffer body;
};
struct RequestCancelled {  // the requester no longer wants the reply; its body counts until reply()
  RequestId id;
};
struct Closed {  // the last event of its connection
  CloseReason reason;
  TimePoint last_heard{};  // of the peer
};
using EventBody = std::variant<Connected, RequestArrived, ReplyArrived, RequestCancelled, Closed>;

}  // namespace rushfs::transport

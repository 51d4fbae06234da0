// The far side as the Volume sees it: calls that are answered once, or fail by their deadline.
// Implemented by Session (fs/client/session.h), which survives reconnection.
#pragma once

#include <absl/functional/any_invocable.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <variant>

#include "fs/protocol/messages.h"
#include "fs/result.h"
#include "transport/message.h"
#include "transport/units.h"

namespace rushfs::fs {

using transport::Priority;

/// Called exactly once, on the file loop, never from inside call().
using ReplyHandler = absl::AnyInvocable<void(Result<Buffer>) &&>;

struct CallId {
  std::uint64_t value = 0;
  auto operator<=>(const CallId&) const = default;
};

/// How long a call may go without an answer.
enum class Patience : std::uint8_t {
  prompt,   // a program waits: ETIMEDOUT after the mount's timeout; when somebody has waited so
            // long in vain, at once for a second, and then as a glance until the server is heard of
  glance,   // an older answer is at hand, or a late one is of no use: ETIMEDOUT after kGlance, or
            // when the link is found dead
  patient,  // nobody waits: repeated over every reconnection until answered
};
/// A person notices the first second; a loaded link may need most of the others.
inline constexpr std::chrono::seconds kGlance{5};

class Remote {
 public:
  virtual ~Remote() = default;
  /// Sends one encoded request (fs/protocol/messages.h). The handler gets the encoded reply, or
  /// ETIMEDOUT (deadline), ECANCELED (cancel), ENOTCONN (the mount is being taken down).
  /// `number`: the one inside the request, from number_call(), else 0.
  virtual CallId call(Priority, Patience, Buffer request, ReplyHandler,
                      std::uint64_t number = 0) = 0;
  /// The answer is no longer wanted: its handler is called with ECANCELED, from inside cancel().
  /// Whether the server carried it out is unknown. An answered call: nothing happens.
  virtual void cancel(CallId) = 0;
  /// A number for a call that must happen only once.
  virtual CallNumber number_call() = 0;
  /// What is called now is sent now.
  virtual bool attached() const = 0;
  /// False: there has been no link for so long that older answers are better than none.
  virtual bool reachable() const = 0;
  /// When the far side last gave a sign of life.
  virtual transport::TimePoint last_heard() const = 0;
};

/// What a decoded reply may hold views into, kept beside it.
template <class Reply>
struct Answer {
  Buffer bytes;
  Reply reply;
  const Reply* operator->() const { return &reply; }
};

/// Asks `request` and hands the decoded reply on: void(Result<Answer<R::Reply>>).
template <class R, class Handler>
CallId ask(Remote& remote, Priority priority, R request, Handler handler,
           Patience patience = Patience::prompt) {
  std::uint64_t number = 0;
  if constexpr (requires { request.call; }) {
    request.call = remote.number_call();
    number = request.call.number;
  } else if constexpr (requires { request.order; }) {
    if (auto* call = std::get_if<CallNumber>(&request.order)) {
      *call = remote.number_call();
      number = call->number;
    }
  }
  return remote.call(
      priority, patience, encode(request),
      [handler = std::move(handler)](Result<Buffer> bytes) mutable {
        using Decoded = Answer<typename R::Reply>;
        if (!bytes) return std::move(handler)(Result<Decoded>(bytes.error()));
        Decoded answer{std::move(*bytes), {}};
        auto reply = decode_reply<typename R::Reply>(answer.bytes);
        if (!reply) return std::move(handler)(Result<Decoded>(reply.error()));
        answer.reply = std::move(*reply);  // its views point into the heap block `bytes` owns
        std::move(handler)(Result<Decoded>(std::move(answer)));
      },
      number);
}

}  // namespace rushfs::fs

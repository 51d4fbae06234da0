// The far side as the Volume sees it: calls that are answered once, or fail by their deadline.
// Implemented by Session (fs/session.h), which survives reconnection, and by tests.
#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/system/result.hpp>
#include <cstdint>

#include "transport/message.h"

namespace rushfs::fs {

using transport::Buffer;
using transport::Priority;

template <class T>
using Result = boost::system::result<T>;  // the error is an errno (boost::system::generic_category)

/// Called exactly once, on the file loop, never from inside call().
using ReplyHandler = absl::AnyInvocable<void(Result<Buffer>) &&>;

struct CallId {
  std::uint64_t value = 0;
  auto operator<=>(const CallId&) const = default;
};

class Remote {
 public:
  virtual ~Remote() = default;
  /// Sends one encoded request (fs/messages.h). The handler gets the encoded reply, or
  /// ETIMEDOUT (deadline), ECANCELED (cancel), ENOTCONN (the mount is being taken down).
  virtual CallId call(Priority, Buffer request, ReplyHandler) = 0;
  /// The answer is no longer wanted: its handler is called with ECANCELED.
  virtual void cancel(CallId) = 0;
};

}  // namespace rushfs::fs

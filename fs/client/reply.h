// The answer a caller of Volume waits for: movable, given exactly once.
#pragma once

#include <absl/functional/any_invocable.h>

#include <cassert>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "fs/client/remote.h"

namespace rushfs::fs {

template <class T>
class Reply {
 public:
  using Handler = absl::AnyInvocable<void(Result<T>) &&>;

  Reply(Handler handler) : handler_(std::move(handler)) {}  // NOLINT: lambdas convert
  template <class F>
    requires std::is_invocable_v<F, Result<T>> && (!std::is_same_v<std::decay_t<F>, Reply>)
  Reply(F&& function) : handler_(std::forward<F>(function)) {}  // NOLINT
  Reply(Reply&& other) noexcept : handler_(std::exchange(other.handler_, nullptr)) {}
  Reply& operator=(Reply&&) = delete;
  /// A caller must never be left waiting: dropped with its loop at the end, it is told so.
  ~Reply() {
    if (handler_) std::move(handler_)(Result<T>(errno_code(ENOTCONN)));
  }

  void operator()(Result<T> result) {
    assert(handler_ && "answered twice");
    auto handler = std::exchange(handler_, nullptr);
    std::move(handler)(std::move(result));
  }
  void fail(int error) { (*this)(Result<T>(errno_code(error))); }
  void fail(boost::system::error_code error) { (*this)(Result<T>(error)); }
  void ok()
    requires std::is_void_v<T>
  {
    (*this)(Result<void>());
  }

 private:
  Handler handler_;
};

/// One answer to several things asked for at once: when all have arrived, and whoever asked for
/// them too. An error of one is one of all: the first.
class JointReply {
 public:
  JointReply(Reply<void> reply, std::size_t parts)
      : reply_(std::move(reply)), waiting_(parts + 1) {}

  void arrive(Result<void> one) {
    if (result_) result_ = one;
    if (--waiting_ == 0) reply_(result_);
  }

 private:
  Reply<void> reply_;
  std::size_t waiting_;
  Result<void> result_;
};

}  // namespace rushfs::fs

// Answers and notices travel apart; some answers tell how many notices the server had sent before
// them, and are not given to programs before those notices have come. Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <deque>
#include <utility>

#include "fs/client/known.h"

namespace rushfs::fs {

class NoticeOrder {
 public:
  explicit NoticeOrder(Known& known) : known_(known) {}

  /// At every attach: counts anew.
  void attached();
  /// Runs what waited for notices of connections that are gone: what else went with them is known.
  void release();
  /// One more, which Known has been told of.
  void heard();
  std::uint64_t heard_count() const { return heard_; }
  /// Runs `then` when `count` notices of this connection have come, perhaps at once.
  void after(std::uint64_t count, absl::AnyInvocable<void() &&> then);

 private:
  using Waiting = std::deque<std::pair<std::uint64_t, absl::AnyInvocable<void() &&>>>;

  Known& known_;
  std::uint64_t heard_ = 0;  // on this connection
  Waiting waiting_;
  Waiting left_;  // by connections that are gone
};

}  // namespace rushfs::fs

#include "fs/client/notice_order.h"

#include <algorithm>
#include <iterator>

namespace rushfs::fs {

void NoticeOrder::attached() {
  heard_ = 0;
  if (waiting_.empty()) return;
  known_.noticed_all();  // what they wait for went with the connection
  std::ranges::move(std::exchange(waiting_, {}), std::back_inserter(left_));
}

void NoticeOrder::release() {
  for (auto& [count, then] : std::exchange(left_, {})) std::move(then)();
}

void NoticeOrder::heard() {
  ++heard_;
  for (auto& [count, then] : std::exchange(waiting_, {})) {
    if (count <= heard_) {
      std::move(then)();
    } else {
      waiting_.emplace_back(count, std::move(then));
    }
  }
}

void NoticeOrder::after(std::uint64_t count, absl::AnyInvocable<void() &&> then) {
  if (count <= heard_) return std::move(then)();
  if (count - heard_ <= kMaxWaitingNotices) {
    waiting_.emplace_back(count, std::move(then));
    return;
  }
  known_.noticed_all();
  std::move(then)();
}

}  // namespace rushfs::fs

#include "fs/notice_order.h"

namespace rushfs::fs {

void NoticeOrder::attached() {
  heard_ = 0;
  if (!waiting_.empty()) known_.noticed_all();  // what they wait for went with the connection
  serve(true);
}

void NoticeOrder::heard() {
  ++heard_;
  serve(false);
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

void NoticeOrder::serve(bool all) {
  auto waiting = std::exchange(waiting_, {});
  for (auto& [count, then] : waiting) {
    if (all || count <= heard_) {
      std::move(then)();
    } else {
      waiting_.emplace_back(count, std::move(then));
    }
  }
}

}  // namespace rushfs::fs

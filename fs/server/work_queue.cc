#include "fs/server/work_queue.h"

#include <cassert>

namespace rushfs::fs {

WorkQueue::WorkQueue(Loop& home, Loop& workers, unsigned slots)
    : home_(home), workers_(workers), slots_(slots), background_slots_(slots - slots / 4) {
  assert(slots >= 4);
}

void WorkQueue::add(transport::Priority priority, Loop::Job job) {
  waiting_[static_cast<std::size_t>(priority)].push_back(std::move(job));
  start();
}

void WorkQueue::start() {
  for (std::size_t each = 0; each < waiting_.size(); ++each) {
    const bool background = each >= static_cast<std::size_t>(transport::Priority::ahead);
    const unsigned limit = background ? background_slots_ : slots_;
    while (!waiting_[each].empty() && running_ < limit) {
      ++running_;
      workers_.post(std::move(waiting_[each].front()));
      waiting_[each].pop_front();
    }
  }
}

void WorkQueue::ended() {
  --running_;
  start();
}

}  // namespace rushfs::fs

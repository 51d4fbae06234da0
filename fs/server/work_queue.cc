#include "fs/server/work_queue.h"

#include <cassert>

namespace rushfs::fs {

using transport::Priority;

WorkQueue::WorkQueue(Loop& home, Loop& workers, unsigned slots)
    : home_(home), workers_(workers), slots_(slots), shared_slots_(slots - slots / 4) {
  assert(slots >= 4);
}

void WorkQueue::add(const Turn& turn, Loop::Job job) {
  lanes_[static_cast<std::size_t>(turn.priority)].waiting[turn.key].push_back(std::move(job));
  start();
}

void WorkQueue::start() {
  for (std::size_t each = 0; each < lanes_.size(); ++each) {
    const bool background = each >= static_cast<std::size_t>(Priority::ahead);
    const unsigned limit = background ? shared_slots_ : slots_;
    while (running_ < limit && start_one(lanes_[each])) {
    }
  }
}

/// Of the next key, round and round, that has a worker free to it.
bool WorkQueue::start_one(Lane& lane) {
  auto next = lane.waiting.upper_bound(lane.last);
  for (std::size_t looked_at = 0; looked_at < lane.waiting.size(); ++looked_at, ++next) {
    if (next == lane.waiting.end()) next = lane.waiting.begin();
    auto& [key, jobs] = *next;
    const auto running = running_for_.try_emplace(key).first;
    if (running->second >= shared_slots_) continue;
    ++running->second;
    ++running_;
    lane.last = key;
    workers_.post(std::move(jobs.front()));
    jobs.pop_front();
    if (jobs.empty()) lane.waiting.erase(next);
    return true;
  }
  return false;
}

void WorkQueue::ended(std::uint64_t key) {
  --running_;
  const auto running = running_for_.find(key);
  if (--running->second == 0) running_for_.erase(running);
  start();
}

}  // namespace rushfs::fs

#include "fs/server/work_queue.h"

#include <cassert>

namespace rushfs::fs {
namespace {

using transport::Priority;

std::size_t lane_of(Priority priority) { return static_cast<std::size_t>(priority); }

/// Prefetching and write-back: nobody waits for them.
bool in_background(std::size_t lane) { return lane >= lane_of(Priority::ahead); }

}  // namespace

WorkQueue::WorkQueue(Loop& home, Loop& workers, unsigned slots)
    : home_(home),
      workers_(workers),
      slots_(slots),
      shared_slots_(slots - slots / 4),
      kept_slots_(slots / 8) {
  assert(slots >= 8);
}

void WorkQueue::add(const Turn& turn, Loop::Job job) {
  lanes_[lane_of(turn.priority)].waiting[turn.key].push_back(std::move(job));
  start();
}

void WorkQueue::start() {
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    while (has_room(lane) && start_one(lane)) {
    }
  }
}

/// Of the next key, round and round, that has a worker free to it.
bool WorkQueue::start_one(std::size_t lane) {
  auto& [waiting, last] = lanes_[lane];
  auto next = waiting.upper_bound(last);
  for (std::size_t looked_at = 0; looked_at < waiting.size(); ++looked_at, ++next) {
    if (next == waiting.end()) next = waiting.begin();
    auto& [key, jobs] = *next;
    if (!has_room(lane, key)) continue;
    ++running_[lane];
    ++running_for_[key][lane];
    last = key;
    workers_.post(std::move(jobs.front()));
    jobs.pop_front();
    if (jobs.empty()) waiting.erase(next);
    return true;
  }
  return false;
}

bool WorkQueue::has_room(std::size_t lane) const {
  EachLane<bool> waiting;
  for (std::size_t each = 0; each < lanes_.size(); ++each) {
    waiting[each] = !lanes_[each].waiting.empty();
  }
  return fits(lane, running_, waiting, {slots_, slots_, shared_slots_});
}

bool WorkQueue::has_room(std::size_t lane, std::uint64_t key) const {
  const auto running = running_for_.find(key);
  if (running == running_for_.end()) return true;
  EachLane<bool> waiting;
  for (std::size_t each = 0; each < lanes_.size(); ++each) {
    waiting[each] = lanes_[each].waiting.contains(key);
  }
  return fits(lane, running->second, waiting,
              {slots_ - kept_slots_, shared_slots_, shared_slots_});
}

/// Beside what is running and what is kept for later lanes.
bool WorkQueue::fits(std::size_t lane, const EachLane<unsigned>& running,
                     const EachLane<bool>& waiting, const Limits& limits) const {
  unsigned foreground = 0, background = 0, kept = 0;
  for (std::size_t each = 0; each < running.size(); ++each) {
    (in_background(each) ? background : foreground) += running[each];
    const bool wants = each > lane && in_background(each) && waiting[each];
    if (wants && running[each] < kept_slots_) kept += kept_slots_ - running[each];
  }
  if (foreground + background + kept >= limits.all) return false;
  return in_background(lane) ? background + kept < limits.background
                             : foreground < limits.foreground;
}

void WorkQueue::ended(const Turn& turn) {
  --running_[lane_of(turn.priority)];
  const auto running = running_for_.find(turn.key);
  --running->second[lane_of(turn.priority)];
  if (running->second == EachLane<unsigned>{}) running_for_.erase(running);
  start();
}

}  // namespace rushfs::fs

// Hands jobs to the store's workers in order of priority, so that a program waiting for a read
// never waits behind a queue of write-back; within a priority those of one key take turns with
// those of others, so that nobody waits behind all that somebody else has asked for.
//
// Owner: one object on the file loop, alone; what its jobs bring back reaches it only while it
// lives. The loops outlive all jobs.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>

#include "fs/disk_loop.h"
#include "transport/message.h"

namespace rushfs::fs {

/// How urgent a job is, and for whom it is done: ClientTag::key(), or the server itself.
struct Turn {
  transport::Priority priority = transport::Priority::urgent;
  std::uint64_t key = 0;
};

class WorkQueue : public std::enable_shared_from_this<WorkQueue> {
 public:
  /// `slots`: jobs with the workers at once, at least 8. A quarter of them is never given to
  /// prefetching and write-back, nor to what one key waits for. While prefetching has work, or
  /// write-back, an eighth is kept for it, also of what one key may have; that is never all.
  WorkQueue(Loop& home, Loop& workers, unsigned slots);

  /// Runs `work` on a worker, then `done` with its result on the home loop; unless this queue is
  /// gone by then, with whomever `done` refers to.
  template <class Work, class Done>
  void run(Turn turn, Work work, Done done) {
    add(turn, [&home = home_, queue = weak_from_this(), turn, work = std::move(work),
               done = std::move(done)]() mutable {
      home.post([queue = std::move(queue), turn, done = std::move(done),
                 result = std::move(work)()]() mutable {
        const auto still = queue.lock();
        if (!still) return;
        still->ended(turn);
        std::move(done)(std::move(result));
      });
    });
  }

  /// Runs `done` on the home loop, when what is under way there is done; or not, as in run().
  template <class Done>
  void later(Done done) {
    home_.post([queue = weak_from_this(), done = std::move(done)]() mutable {
      if (const auto still = queue.lock()) std::move(done)();
    });
  }

 private:
  /// Jobs of one priority.
  struct Lane {
    std::map<std::uint64_t, std::deque<Loop::Job>> waiting;  // by key; none is empty
    std::uint64_t last = 0;                                  // the key whose turn was last
  };
  template <class T>
  using EachLane = std::array<T, transport::kPriorities>;
  struct Limits {
    unsigned all, foreground, background;
  };

  void add(const Turn& turn, Loop::Job job);
  void start();
  bool start_one(std::size_t lane);
  bool has_room(std::size_t lane) const;
  bool has_room(std::size_t lane, std::uint64_t key) const;
  bool fits(std::size_t lane, const EachLane<unsigned>& running, const EachLane<bool>& waiting,
            const Limits& limits) const;
  void ended(const Turn& turn);

  Loop& home_;
  Loop& workers_;
  unsigned slots_;
  unsigned shared_slots_;  // for background work, or for what one key waits for
  unsigned kept_slots_;    // for a background lane that has work; for other keys
  EachLane<Lane> lanes_;
  EachLane<unsigned> running_{};
  std::unordered_map<std::uint64_t, EachLane<unsigned>> running_for_;  // by key; none is all zero
};

}  // namespace rushfs::fs

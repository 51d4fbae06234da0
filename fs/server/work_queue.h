// Hands jobs to the store's workers in order of priority, so that a program waiting for a read
// never waits behind a queue of write-back.
//
// Owner: one object on the file loop, alone; what its jobs bring back reaches it only while it
// lives. The loops outlive all jobs.
#pragma once

#include <array>
#include <deque>
#include <memory>

#include "fs/disk_loop.h"
#include "transport/message.h"

namespace rushfs::fs {

class WorkQueue : public std::enable_shared_from_this<WorkQueue> {
 public:
  /// `slots`: jobs with the workers at once, at least 4. A quarter of them is never given to
  /// prefetching and write-back.
  WorkQueue(Loop& home, Loop& workers, unsigned slots);

  /// Runs `work` on a worker, then `done` with its result on the home loop; unless this queue is
  /// gone by then, with whomever `done` refers to.
  template <class Work, class Done>
  void run(transport::Priority priority, Work work, Done done) {
    add(priority, [&home = home_, queue = weak_from_this(), work = std::move(work),
                   done = std::move(done)]() mutable {
      home.post(
          [queue = std::move(queue), done = std::move(done), result = std::move(work)()]() mutable {
            const auto still = queue.lock();
            if (!still) return;
            still->ended();
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
  void add(transport::Priority priority, Loop::Job job);
  void start();
  void ended();

  Loop& home_;
  Loop& workers_;
  unsigned slots_;
  unsigned background_slots_;
  unsigned running_ = 0;
  std::array<std::deque<Loop::Job>, transport::kPriorities> waiting_;
};

}  // namespace rushfs::fs

// The seam to the loops that do disk work, so that the file loop never waits for a disk and tests
// need no threads. A job runs on its loop, in the order posted; what it has to say comes back as a
// message to the loop that asked.
#pragma once

#include <absl/functional/any_invocable.h>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace rushfs::fs {

/// A thread's queue of work. post() may be called from any thread and never runs the job itself.
class Loop {
 public:
  using Job = absl::AnyInvocable<void() &&>;
  virtual ~Loop() = default;
  virtual void post(Job job) = 0;
};

/// A loop that owns an object doing disk work, seen from the file loop. Both outlive all jobs.
class DiskLoop {
 public:
  DiskLoop(Loop& disk, Loop& home) : disk_(disk), home_(home) {}

  /// Runs `work` on the disk loop, then `done` with its result on the file loop.
  template <class Work, class Done>
  void run(Work work, Done done) {
    ++under_way_;
    disk_.post([this, work = std::move(work), done = std::move(done)]() mutable {
      if constexpr (std::is_void_v<std::invoke_result_t<Work&>>) {
        work();
        home_.post([this, done = std::move(done)]() mutable {
          --under_way_;
          done();
        });
      } else {
        home_.post([this, done = std::move(done), result = work()]() mutable {
          --under_way_;
          done(std::move(result));
        });
      }
    });
  }
  /// Somebody waits for the disk.
  bool busy() const { return under_way_ > 0; }
  /// Runs `work` on the disk loop; nobody waits for it.
  void run(Loop::Job work) { disk_.post(std::move(work)); }

 private:
  Loop& disk_;
  Loop& home_;
  std::size_t under_way_ = 0;  // of those that have a `done`
};

}  // namespace rushfs::fs

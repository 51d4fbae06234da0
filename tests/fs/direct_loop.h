// A disk loop without a thread, and a disk that is always fast.
#pragma once

#include <deque>

#include "fs/disk_loop.h"

namespace rushfs::fs::test {

/// Runs jobs at once: the disk is fast here, unless it is told to rest.
class DirectLoop : public Loop {
 public:
  void rest() { running_ = true; }
  void go_on() {
    running_ = false;
    post([] {});
  }
  void post(Job job) override {
    jobs_.push_back(std::move(job));
    if (running_) return;
    running_ = true;
    while (!jobs_.empty()) {
      auto next = std::move(jobs_.front());
      jobs_.pop_front();
      std::move(next)();
    }
    running_ = false;
  }

 private:
  std::deque<Job> jobs_;
  bool running_ = false;
};

}  // namespace rushfs::fs::test

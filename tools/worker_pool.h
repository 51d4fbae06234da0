// The server's store workers: threads that run system calls on what is handed to them.
#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <utility>

#include "fs/disk_loop.h"

namespace rushfs::tools {

class WorkerPool : public fs::Loop {
 public:
  explicit WorkerPool(unsigned threads) : threads_(threads) {}
  void post(Job job) override {
    boost::asio::post(threads_, [job = std::move(job)]() mutable { std::move(job)(); });
  }
  /// Finishes what was posted, then ends the threads.
  void stop() { threads_.join(); }

 private:
  boost::asio::thread_pool threads_;
};

}  // namespace rushfs::tools

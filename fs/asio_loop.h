// Loops of Boost.Asio as fs/disk_loop.h knows them.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include "fs/disk_loop.h"

namespace rushfs::fs {

/// An io_context that somebody runs. `turn` is called on it before each job.
class AsioLoop : public Loop {
 public:
  AsioLoop(boost::asio::io_context& context, std::function<void()> turn)
      : context_(context), turn_(std::move(turn)) {}
  void post(Job job) override {
    boost::asio::post(context_, [this, job = std::move(job)]() mutable {
      turn_();
      std::move(job)();
    });
  }

 private:
  boost::asio::io_context& context_;
  std::function<void()> turn_;
};

/// A loop with a thread of its own.
class LoopThread : public Loop {
 public:
  ~LoopThread() override { stop(); }
  void start() {
    work_.emplace(context_.get_executor());
    thread_ = std::thread([this] { context_.run(); });
  }
  /// Finishes what was posted, then ends the thread.
  void stop() {
    work_.reset();
    if (thread_.joinable()) thread_.join();
  }
  void post(Job job) override { boost::asio::post(context_, std::move(job)); }

 private:
  boost::asio::io_context context_;
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::thread thread_;
};

}  // namespace rushfs::fs

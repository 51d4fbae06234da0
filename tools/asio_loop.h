// fs::Loop on Boost.Asio: the server's file loop and its workers.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <utility>

#include "fs/disk_loop.h"

namespace rushfs::tools {

template <class Context>
class AsioLoop : public fs::Loop {
 public:
  explicit AsioLoop(Context& context) : context_(context) {}
  void post(Job job) override {
    boost::asio::post(context_, [job = std::move(job)]() mutable { std::move(job)(); });
  }

 private:
  Context& context_;
};

using IoContextLoop = AsioLoop<boost::asio::io_context>;
using ThreadPoolLoop = AsioLoop<boost::asio::thread_pool>;

}  // namespace rushfs::tools

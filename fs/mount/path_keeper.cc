#include "fs/mount/path_keeper.h"

#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "fs/mount/host.h"
#include "fs/mount/mount_memory.h"

namespace rushfs::fs {

namespace {

using namespace std::chrono_literals;

/// For the day there is no orderly end.
constexpr auto kInterval = 60s;
constexpr std::uint64_t kPacketsWorthSaving = 1000;

}  // namespace

PathKeeper::PathKeeper(std::filesystem::path folder, transport::UdpDriver& driver)
    : folder_(std::move(folder)), driver_(driver) {
  auto kept = recall_paths(folder_);
  if (!kept) return;
  driver_.post([kept = std::move(*kept)](transport::Endpoint& endpoint, transport::TimePoint now) {
    endpoint.load_paths(kept, now, wall_clock());
  });
}

void PathKeeper::tick(const std::optional<transport::PathReport>& path, transport::TimePoint now,
                      AsioLoop& file_loop, DiskLoop& disk) {
  const std::uint64_t packets = path ? path->packets_received : 0;
  if (packets < packets_) packets_ = 0;  // another connection
  if (now < next_ || packets < packets_ + kPacketsWorthSaving) return;
  next_ = now + kInterval;
  packets_ = packets;
  driver_.post([folder = folder_, &file_loop, &disk](transport::Endpoint& endpoint,
                                                     transport::TimePoint at) {
    file_loop.post([folder, &disk, learned = endpoint.save_paths(at, wall_clock())] {
      disk.run([folder, learned] { remember_paths(folder, learned); });
    });
  });
}

void PathKeeper::shut_down(transport::Duration patience) {
  using Learned = std::vector<std::uint8_t>;
  const auto learned = std::make_shared<Learned>();
  const auto said = std::make_shared<std::promise<Learned>>();
  driver_.post([learned](transport::Endpoint& endpoint, transport::TimePoint now) {
    *learned = endpoint.save_paths(now, wall_clock());
  });
  driver_.shutdown({}, [said, learned] { said->set_value(std::move(*learned)); });
  auto result = said->get_future();
  if (result.wait_for(patience) == std::future_status::ready) {
    remember_paths(folder_, result.get());
  }
}

}  // namespace rushfs::fs

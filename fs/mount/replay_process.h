// A process that does on the mount, by ordinary system calls, what somebody else has done to the
// files: the kernel then tells everybody who watches them (inotify(7)), and the mount, which knows
// the process by its number, answers its requests without doing anything. docs/decisions/0002.
//
// One thread, one order at a time. It touches nothing outside the mount: every path is opened
// beneath the mount's root, on the mount's device. It ends when the other end of its channel does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fs/mount/helper_process.h"

namespace rushfs::fs {

struct ReplayOrder {
  enum class What : std::uint8_t { create, change, attributes, remove, rename };
  What what = What::create;
  std::uint32_t mode = 0;   // of what is created, removed or changed, type included
  std::uint64_t size = 0;   // change: as it is now
  std::uint32_t device_major = 0, device_minor = 0;  // of the mount
  std::string folder, name;        // below the mount's root; "." is the root
  std::string to_folder, to_name;  // rename
};

std::vector<char> encode(const ReplayOrder& order);
/// None: not an order.
std::optional<ReplayOrder> decode_replay_order(const char* bytes, std::size_t length);

class ReplayProcess {
 public:
  /// Forks: to be made before the first thread is. Throws std::system_error.
  explicit ReplayProcess(const std::string& mount_point);

  pid_t number() const { return process_.number(); }
  /// Takes orders and answers each with the errno it ended with, a std::int32_t; 0: done.
  int channel() const { return process_.channel(); }

 private:
  HelperProcess process_;
};

}  // namespace rushfs::fs

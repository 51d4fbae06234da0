// Lets changes of one node through one after the other, so that the versions before and after a
// change enclose that change alone. A change of several nodes waits for all of them at once; in
// order of arrival, so that none can wait for ever and no two for each other.
//
// Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <deque>
#include <map>
#include <unordered_map>
#include <vector>

#include "fs/protocol/message_types.h"

namespace rushfs::fs {

class NodeGates {
 public:
  /// Called inside enter() or another's leave().
  using Enter = absl::AnyInvocable<void(std::uint64_t pass) &&>;
  void enter(std::vector<NodeId> nodes, Enter enter);
  void leave(std::uint64_t pass);

 private:
  struct Waiting {
    std::vector<NodeId> nodes;
    Enter enter;
    bool inside = false;
  };
  bool first_everywhere(std::uint64_t pass, const Waiting& waiting) const;

  std::uint64_t next_pass_ = 1;
  std::map<std::uint64_t, Waiting> passes_;
  std::unordered_map<NodeId, std::deque<std::uint64_t>> lines_;  // first: inside
};

}  // namespace rushfs::fs

// What clients had done to files by calls (truncate, allocate, copy) and have not been told to be
// on stable storage: where the disk fails, they cannot send it again, and must hear.
// docs/file-protocol.md, "Queued changes", 7. Pure; owner: the file loop.
#pragma once

#include <cstdint>
#include <map>

#include "fs/protocol/client_tag.h"
#include "fs/protocol/message_types.h"
#include "fs/recent_map.h"
#include "fs/result.h"

namespace rushfs::fs {

class UncommittedCalls {
 public:
  /// Before such a call is carried out, and after it.
  void changed(const ClientTag& client, const NodeId& node);
  /// Grows with each change: to be noted when a sync begins.
  std::uint64_t clock() const { return clock_; }
  /// What was done to the node before the sync that began then is on the disk.
  void synced(const NodeId& node, std::uint64_t begun);
  /// What was done since may be gone.
  void lost(const NodeId& node);
  /// Whether the client is to hear that something was lost. It has, when it asks again.
  bool tell_lost(const ClientTag& client, const NodeId& node);
  /// It may not have heard what it was told last.
  void reconnected(const ClientTag& client);
  void forget(const ClientTag& client);

 private:
  struct Calls {
    std::uint64_t last = 0;  // 0: none since the disk has all
    bool lost = false, told = false;
    bool settled() const { return last == 0 && !lost && !told; }
  };
  void each(const ClientTag& client, void (*act)(Calls&));

  /// Of more files, what happened longest ago is not told.
  static constexpr std::size_t kMostFiles = 65536;

  RecentMap<NodeId, std::map<ClientTag, Calls>> files_{kMostFiles};
  std::uint64_t clock_ = 0;
};

}  // namespace rushfs::fs

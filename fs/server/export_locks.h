// The locks of one export: who asked for them and waits, and what a client's end and a restart of
// the server mean for them. docs/file-protocol.md, "Locks". Owner: the server's file loop.
#pragma once

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "fs/lock_table.h"
#include "fs/server/export.h"

namespace rushfs::fs {

class ExportLocks {
 public:
  /// Answers a request that was granted. Where that fails, the lock is to be given up().
  using Granted =
      std::function<void(const RequestContext& context, const LockRequest& lock, Responder)>;
  explicit ExportLocks(Granted granted) : granted_(std::move(granted)) {}

  void lock(RequestContext context, const Lock& lock, Responder respond);
  void test(const RequestContext& context, const TestLock& test, Responder respond) const;
  void cancel(const ClientTag& client, std::uint64_t ticket);
  void give_up(const LockRequest& request);

  /// Its connection is gone: it asks again on the next. What it holds stays.
  void stop_waiting(const ClientTag& client);
  void release(const ClientTag& client);
  /// Nobody has any, and until `grace_end` nobody gets one but who says that he had it before.
  void restart(transport::TimePoint grace_end);
  void tick(transport::TimePoint now);

 private:
  struct Asked {
    RequestContext context;
    Lock lock;
    Responder respond;
  };
  void wake();

  Granted granted_;
  LockTable table_;
  std::map<std::pair<ClientTag, std::uint64_t>, Asked> waiting_;  // by ticket
  transport::TimePoint grace_end_{};
  std::vector<Asked> after_grace_;  // new ones that were asked for before then
};

}  // namespace rushfs::fs

// One exported tree: answers the requests of its clients. Keeps what outlives a connection: the
// answers to calls that must happen once (ReplyLog), the order of queued writes (WriteOrder), files
// that are held open (HeldFiles), and the nodes in use; runs system calls on workers.
//
// Owner: the server's file loop (`home`). Nothing here blocks; workers get shared, immutable nodes
// and bring results back.
#pragma once

#include <absl/functional/any_invocable.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fs/disk_loop.h"
#include "fs/protocol/client_tag.h"
#include "fs/protocol/messages.h"
#include "fs/server/store.h"
#include "transport/message.h"
#include "transport/units.h"

namespace rushfs::fs {

using transport::Priority;

struct ExportOptions {
  std::string name;
  bool read_only = false;
  bool preserve_identity = false;  // told to clients, as are the two ids when false
  std::uint32_t squash_uid = 0, squash_gid = 0;
  InstanceId instance;  // random per start of the server
  std::uint32_t max_read = kDefaultTransfer;
  std::uint32_t max_write = kDefaultTransfer;
  /// Another export shows some of the same files: what its clients do to them nobody would tell.
  bool beside_another = false;
  std::size_t descriptors = 65536;  // it may have open; takes 26,624 if it can
  unsigned workers = 16;  // jobs given to the workers at once; at least 8
  /// Where answers are remembered over a kill of the server; empty: only in memory.
  std::filesystem::path state_folder;
};

/// Takes an encoded reply, once, on the home loop.
using Responder = absl::AnyInvocable<void(Buffer reply) &&>;

/// Set to true by whoever no longer wants the answer: a read or lock that has not begun is skipped,
/// and of other calls he is told what others are told.
using CancelFlag = std::shared_ptr<std::atomic<bool>>;

struct RequestContext {
  ClientTag client;
  NodeId root;             // what the client is attached to: ".." stays there
  bool read_only = false;  // this client's grant
  Priority priority = Priority::urgent;
  CancelFlag cancelled;  // may be null
  transport::TimePoint now;
};

class Export {
 public:
  /// Throws std::system_error naming the state folder's file if it cannot be used. `workers` runs
  /// jobs on several threads at once. The loops outlive the export and all jobs it posted. Leases
  /// of what a former server left run from `now`.
  Export(ExportOptions options, std::shared_ptr<const Store> store, Loop& home, Loop& workers,
         transport::TimePoint now);
  /// What is under way ends on its worker; its answer is dropped.
  ~Export();
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;

  const ExportOptions& options() const;

  /// A client begins (again). `done` gets an encoded AttachReply or error, and the root.
  using Attached = absl::AnyInvocable<void(Buffer reply, std::optional<NodeId> root) &&>;
  void attach(const ClientTag& client, const Attach& request, bool read_only,
              transport::TimePoint now, Attached done);
  /// The client's connection is gone; its lease runs from when it was last heard.
  void detached(const ClientTag& client, transport::TimePoint last_heard,
                transport::TimePoint now);
  /// Answers any request but Attach and Measure. `body` is what `request` was decoded from: views
  /// in the request point into it.
  void handle(RequestContext context, Request request, Buffer body, Responder respond);
  void tick(transport::TimePoint now);

  /// Where notices go, encoded: to the connection of this client. One taker.
  using Tell = std::function<void(const ClientTag&, Buffer notice)>;
  /// Runs the job after this time, on the home loop.
  using Later = std::function<void(transport::Duration, Loop::Job)>;
  void on_notice(Tell tell, Later later);
  /// The client has taken one more notice.
  void notice_answered(const ClientTag& client);
  /// Becomes readable when programs beside us change what is exported: then call look_at_disk().
  /// None: they cannot be seen, and clients are told so.
  std::optional<int> disk_descriptor() const;
  void look_at_disk();

  /// `replaced` is called when what is exported vanished and came back: what was written and not
  /// committed may be lost, the instance id is another, and clients must attach anew. One listener.
  void on_replaced(std::function<void()> replaced);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rushfs::fs

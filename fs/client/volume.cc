#include "fs/client/volume.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "fs/client/queued_base.h"

namespace rushfs::fs {

namespace {

/// What one server had in memory the other has not: docs/file-protocol.md, "Attach".
bool lost_memory(InstanceId one, InstanceId other) {
  return one.value >> 32 != other.value >> 32;
}

}  // namespace

Volume::Volume(const ClientParts& parts, Options options)
    : parts_(parts),
      options_(options),
      reader_(parts,
              [this](Inode& inode, const ReadReply& reply, std::uint64_t asked_epoch) {
                return known_.learn(inode, reply, asked_epoch);
              }),
      known_(parts, kernel_, reader_),
      inodes_(known_.inodes()),
      notice_order_(known_),
      writeback_(parts, *this, options.timeout),
      log_(parts, inodes_, writeback_, options.timeout),
      access_times_(parts.remote, parts.time, options.access_times),
      questions_(parts.remote, known_, access_times_),
      watchers_(known_, kernel_, questions_),
      locking_(parts, options.timeout, handles_, known_, notice_order_, kernel_, log_, writeback_),
      holds_(parts, known_, reader_, log_, writeback_),
      conflicts_(parts, known_, handles_, holds_, locking_, log_, writeback_,
                 Rescuer(parts, known_, questions_, log_, options.hostname)),
      folders_(parts.remote, known_, access_times_),
      xattrs_(parts.remote, known_, log_),
      data_search_(parts, known_) {
  log_.on_loss([this](Inode& inode) { known_.content_changed(inode); });
}

// Since stop() somebody may have come to wait; he is told while all that he may turn to is there.
Volume::~Volume() { stop(); }

void Volume::restore() {
  const auto nodes = parts_.queue.nodes();
  std::vector<std::pair<InodeRef, BegunCopy>> copies;
  for (const auto& pending : nodes) {
    const auto inode = inodes_.get(NodeId{pending.node});
    inode->name = pending.display_name;
    inode->parent = kRootNode;
    if (auto copy = restore_base(*inode, pending.base)) copies.emplace_back(inode, *copy);
    inode->local = local_changes(pending, parts_.queue.queued_changes(pending.node),
                                 wall_time(parts_.time));
  }
  for (const auto& [inode, copy] : copies) conflicts_.restore(inode, copy);
  writeback_.restore(nodes, parts_.queue.parked());
}

void Volume::remembered(const AttachReply& reply) {
  inodes_.set_root(reply.root, reply.attributes);
  server_read_only_ = reply.read_only;
  access_times_.set_read_only(reply.read_only || options_.read_only);
  squashed_ = reply.squashed;
  server_user_.reset();
  if (squashed_ && reply.squash_uid != 0) server_user_ = reply.squash_uid;
  log_.set_server_user(server_user_);
  folders_.attached(std::min(reply.max_read, kMaxTransfer));
  reader_.attached(reply.max_read);
}

void Volume::attached(const AttachReply& reply, bool restarted) {
  remembered(reply);
  const auto before = known_.instance();
  if (restarted && (!before || lost_memory(*before, reply.instance))) server_restarted();
  holds_.attached(restarted);
  known_.attached(reply.instance);
  known_.promise((reply.features & kNotices) != 0 && (reply.features & kDiskNotices) != 0);
  notice_order_.attached();
  conflicts_.attached(reply, restarted);
  watchers_.attached();
  const bool again = restarted || locking_.any();
  if (locking_.any()) writeback_.hold_back();
  locking_.reclaim([this, max_write = reply.max_write, again] {
    notice_order_.release();  // those whose locks are lost know it by now
    writeback_.attached(max_write, again);
  });
}

void Volume::noticed(const Notice& notice) {
  const auto seen = watchers_.remember(notice);
  known_.noticed(notice);
  notice_order_.heard();
  watchers_.compare(seen);
}

transport::SendLimit Volume::set_path(const transport::PathReport& report) {
  // The transport knows only that it has nothing to send.
  using transport::SendLimit;
  const bool by_disk = report.limit == SendLimit::application && parts_.queue_loop.busy();
  sending_.note(by_disk ? SendLimit::sender_storage : report.limit, parts_.time.now);
  if (report.smoothed_round_trip.count() > 0) {
    reader_.set_round_trip(report.smoothed_round_trip);
    // While it starts, what it is about to send is far more than it has seen arrive.
    const auto rate = std::max(report.bandwidth, report.pacing_rate);
    writeback_.set_path((rate * report.smoothed_round_trip).count);
  }
  return sending_.largest(parts_.time.now);
}

void Volume::tick(bool connected) {
  if (!connected) known_.link_lost();
  log_.tick();
  locking_.tick();
  writeback_.tick(connected);
  conflicts_.tick(connected);
  holds_.tick(connected);
  known_.sweep();
}

void Volume::stop() {
  log_.stop();
  writeback_.stop();
}

// ---- What became of queued changes ------------------------------------------------------------

void Volume::sending(const NodeId& node) { ++inodes_.get(node)->changes_in_flight; }

void Volume::not_sending(const NodeId& node) {
  const auto inode = inodes_.get(node);
  assert(inode->changes_in_flight > 0);
  --inode->changes_in_flight;
}

void Volume::applied(const NodeId& node, const AppliedOperation& operation) {
  known_.changed(inodes_.get(node), operation);
}

void Volume::completed(const NodeId& node, std::uint64_t operations) {
  log_.completed(node, operations);
  const auto inode = inodes_.get(node);
  inode->made_at.reset();
  if (inode->opens == 0) access_times_.tell(inode);
  if (inode->writers == 0) reader_.written(*inode);
}

void Volume::discarded(const NodeId& node) { log_.discarded(node); }

void Volume::lost(const NodeId& node) {
  const auto inode = inodes_.get(node);
  spdlog::error("'{}': the server's disk has failed, and may not have all that was copied, cut or "
                "allocated there",
                inodes_.path(*inode));
  ++inode->losses;
  known_.content_changed(*inode);
}

std::uint64_t Volume::made_there(const NodeId& node) { return inodes_.get(node)->made_there; }

void Volume::kept_there(const NodeId& node, std::uint64_t changes) {
  auto& kept = inodes_.get(node)->made_there_kept;
  kept = std::max(kept, changes);
}

// What the server had changed past the queue, and not told us to be on its disk.
void Volume::server_restarted() {
  inodes_.each([this](Inode& inode) {
    if (inode.made_there > inode.made_there_kept) lost(inode.node);
  });
}

void Volume::missing(const NodeId& node) { conflicts_.missing(inodes_.get(node)); }

// ---- Waiting for the queue ----------------------------------------------------------------------

void Volume::wait_all(Reply<void> reply) { log_.wait_all(std::move(reply)); }

void Volume::retry_now() {
  writeback_.retry_now();
  conflicts_.retry_now();
}

QueueStatus Volume::queue_status() const {
  QueueStatus status = writeback_.status();
  status.operations += log_.posted().operations;
  status.bytes += log_.posted().bytes;
  status.bytes_total += log_.posted().bytes;
  status.conflicts = conflicts_.copies();
  if (conflicts_.retry_error() != 0) status.retry_error = conflicts_.retry_error();
  return status;
}

void Volume::wait_file(std::string path, Reply<void> reply) {
  auto found = [this, reply = std::move(reply)](Result<NodeNumber> number) mutable {
    if (!number) return reply.fail(number.error());
    const auto inode = inodes_.find(*number);
    if (inode->directory()) return wait_all(std::move(reply));
    log_.wait(inode, std::move(reply));
  };
  questions_.find_path(std::move(path), std::move(found));
}

void Volume::discard_parked(std::uint64_t operation, Reply<void> reply) {
  writeback_.discard_parked(operation, std::move(reply));
}

}  // namespace rushfs::fs

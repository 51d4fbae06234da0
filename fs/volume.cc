#include "fs/volume.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace rushfs::fs {

Volume::Volume(const ClientParts& parts, Options options)
    : parts_(parts),
      options_(options),
      reader_(parts, [this](Inode& inode) { kernel_.drop_pages(inode); }),
      known_(parts, kernel_, reader_),
      inodes_(known_.inodes()),
      notice_order_(known_),
      writeback_(parts, *this, options.timeout),
      locks_(parts.remote),
      log_(parts, inodes_, writeback_, options.timeout),
      access_times_(parts.remote, parts.time, options.access_times) {}

Volume::~Volume() = default;

void Volume::restore() {
  const auto nodes = parts_.queue.nodes();
  for (const auto& pending : nodes) {
    const auto inode = inodes_.get(NodeId{pending.node});
    inode->name = pending.display_name;
    inode->parent = kRootNode;
    inode->local = local_changes(pending, parts_.queue.queued_changes(pending.node),
                                 wall_time(parts_.time));
  }
  writeback_.restore(nodes, parts_.queue.parked());
}

void Volume::remembered(const AttachReply& reply) {
  inodes_.set_root(reply.root, reply.attributes);
  server_read_only_ = reply.read_only;
  access_times_.set_read_only(reply.read_only || options_.read_only);
  squashed_ = reply.squashed;
  max_read_ = std::min(reply.max_read, kMaxTransfer);
  reader_.attached(reply.max_read);
}

void Volume::attached(const AttachReply& reply, bool restarted) {
  remembered(reply);
  hold_again(restarted);
  known_.promise((reply.features & kNotices) != 0 && (reply.features & kDiskNotices) != 0);
  notice_order_.attached();
  check_queued(reply, restarted);
  const bool again = restarted || locks_.any();
  if (locks_.any()) writeback_.hold_back();
  reclaim_locks([this, max_write = reply.max_write, again] {
    writeback_.attached(max_write, again);
  });
}

void Volume::noticed(const Notice& notice) {
  const auto seen = remember(notice);
  known_.noticed(notice);
  notice_order_.heard();
  compare(seen);
}

transport::SendLimit Volume::set_path(const transport::PathReport& report) {
  // The transport knows only that it has nothing to send.
  using transport::SendLimit;
  const bool by_disk = report.limit == SendLimit::application && parts_.queue_loop.busy();
  sending_.note(by_disk ? SendLimit::sender_storage : report.limit, parts_.time.now);
  if (report.smoothed_round_trip.count() > 0) {
    reader_.set_round_trip(report.smoothed_round_trip);
    writeback_.set_path((report.bandwidth * report.smoothed_round_trip).count);
  }
  return sending_.largest(parts_.time.now);
}

void Volume::tick(bool connected) {
  if (!connected) known_.link_lost();
  log_.tick();
  writeback_.tick(connected);
  auto closed = std::move(to_release_);
  to_release_.clear();
  for (auto& weak : closed) {
    const auto inode = weak.lock();
    if (!inode || inode->opens > 0 || !inode->held) continue;
    // A program that opens the same file again and again costs the server nothing new.
    constexpr auto kLinger = std::chrono::seconds(2);
    const bool lingers = parts_.time.now - inode->closed_at < kLinger;
    // Should others have removed it meanwhile, what our changes were made to is only there.
    const bool unchecked = !connected || inode->rescuing || inode->changes_in_flight > 0;
    if (lingers || unchecked) {
      to_release_.push_back(weak);
    } else {
      release_hold(inode);
    }
  }
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
  const auto inode = inodes_.get(node);
  auto& local = inode->local;
  assert(local.operations >= operations);
  local.operations -= operations;
  ++local.generation;
  if (local.operations == 0) {
    LocalChanges left;
    left.generation = local.generation;
    left.unstamped = local.unstamped;
    if (local.unstamped) left.mtime = local.mtime;
    local = left;
    if (inode->opens == 0) access_times_.tell(inode);
  } else {
    log_.measure(inode);
  }
  log_.forgot(node);
}

void Volume::discarded(const NodeId& node) {
  const auto inode = inodes_.get(node);
  const auto generation = inode->local.generation;
  inode->local = {};
  inode->local.generation = generation + 1;
  inode->base_lost = false;
  log_.forgot(node);
}

// ---- Waiting for the queue ----------------------------------------------------------------------

void Volume::wait_all(Reply<void> reply) {
  log_.flush([this, reply = std::move(reply)](Result<void> result) mutable {
    if (!result) return reply.fail(result.error());
    writeback_.wait_all([reply = std::move(reply)](Result<void> done) mutable { reply(done); });
  });
}

/// Finds a file by its path, name by name.
struct Volume::PathWalk : std::enable_shared_from_this<Volume::PathWalk> {
  Volume& volume;
  std::string rest;
  Reply<NodeNumber> reply;
  NodeNumber at = kRootNode;
  bool referenced = false;

  PathWalk(Volume& v, std::string path, Reply<NodeNumber> r)
      : volume(v), rest(std::move(path)), reply(std::move(r)) {}

  void step() {
    rest.erase(0, rest.find_first_not_of('/'));
    if (rest.empty()) return finish(at);
    const auto end = std::min(rest.find('/'), rest.size());
    std::string name = rest.substr(0, end);
    rest.erase(0, end);
    volume.lookup(at, std::move(name), [self = shared_from_this()](Result<NodeReference> found) {
      if (!found) return self->finish(found.error());
      if (found->number.value == 0) return self->finish(errno_code(ENOENT));
      if (self->referenced) self->volume.forget(self->at, 1);
      self->at = found->number;
      self->referenced = true;
      self->step();
    });
  }
  void finish(Result<NodeNumber> result) {
    const bool forget = referenced;
    const NodeNumber last = at;
    reply(result);
    if (forget) volume.forget(last, 1);
  }
};

void Volume::find_path(std::string path, Reply<NodeNumber> reply) {
  std::make_shared<PathWalk>(*this, std::move(path), std::move(reply))->step();
}

QueueStatus Volume::queue_status() const {
  QueueStatus status = writeback_.status();
  status.conflicts = conflicts_;
  return status;
}

void Volume::wait_file(std::string path, Reply<void> reply) {
  auto found = [this, reply = std::move(reply)](Result<NodeNumber> number) mutable {
    if (!number) return reply.fail(number.error());
    const auto inode = inodes_.find(*number);
    if (inode->directory()) return wait_all(std::move(reply));
    log_.flush([this, inode, reply = std::move(reply)](Result<void> result) mutable {
      if (!result) return reply.fail(result.error());
      writeback_.wait(inode->node,
                      [reply = std::move(reply)](Result<void> done) mutable { reply(done); });
    });
  };
  find_path(std::move(path), std::move(found));
}

void Volume::discard_parked(std::uint64_t operation, Reply<void> reply) {
  writeback_.discard_parked(
      operation, [reply = std::move(reply)](Result<void> done) mutable { reply(done); });
}

}  // namespace rushfs::fs

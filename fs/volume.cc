#include "fs/volume.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <limits>

namespace rushfs::fs {

Volume::Volume(const ClientParts& parts, Options options)
    : parts_(parts),
      options_(options),
      inodes_(parts.time),
      writeback_(parts, *this, options.timeout),
      locks_(parts.remote),
      log_(parts, inodes_, writeback_, options.timeout),
      access_times_(parts.remote, parts.time, options.access_times),
      reader_(parts, [this](Inode& inode) { drop_kernel_pages(inode); }) {}

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
  promised_ = (reply.features & kNotices) != 0 && (reply.features & kDiskNotices) != 0;
  promised_since_ = parts_.time.now;
  notices_heard_ = 0;
  if (!behind_notices_.empty()) noticed_all();  // what they wait for went with the connection
  serve_behind_notices(true);
  check_queued(reply, restarted);
  const bool again = restarted || locks_.any();
  if (locks_.any()) writeback_.hold_back();
  reclaim_locks([this, max_write = reply.max_write, again] {
    writeback_.attached(max_write, again);
  });
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

namespace {

/// What is known of a file outlives its inode in the folder it was listed in, or the listing would
/// tell of it as it was before our own changes.
void keep_in_listing(const Inodes& inodes, const Inode& inode) {
  const auto folder = inodes.find(inode.parent);
  if (!folder || !folder->listing || !inode.known()) return;
  auto& entries = folder->listing->entries;
  const auto keep = [&](DirectoryEntry& listed) {
    if (listed.entry && listed.entry->node == inode.node) listed.entry->attributes = inode.server;
  };
  if (inode.server.links > 1) {
    for (auto& [name, listed] : entries) keep(listed);
  } else if (const auto listed = entries.find(inode.name); listed != entries.end()) {
    keep(listed->second);
  }
}

}  // namespace

void Volume::tick(bool connected) {
  if (!connected) promised_ = false;
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
  inodes_.sweep([this](Inode& inode) {
    keep_in_listing(inodes_, inode);
    reader_.forget(inode);
  });
}

void Volume::stop() {
  log_.stop();
  writeback_.stop();
}

// ---- What replies teach ---------------------------------------------------------------------

NodeReference Volume::found(const InodeRef& inode) {
  ++inode->lookups;
  return {inode->number, inode->view()};
}

void Volume::content_changed(Inode& inode) {
  reader_.discard(inode);
  drop_kernel_pages(inode);
}

// Not without need: attributes on their way to the kernel meanwhile, a new size among them, have no
// effect there.
void Volume::drop_kernel_pages(Inode& inode) {
  const bool some = std::exchange(inode.kernel_pages, false);
  if (some && kernel_) kernel_->invalidate(inode.number);
}

void Volume::learn(Inode& inode, const Attributes& attributes, std::uint64_t sent_epoch) {
  if (!inode.known()) met(inode);
  if (inode.epoch <= sent_epoch && inode.changes_in_flight == 0) inode.suspect = false;
  const bool promised = promised_ && inode.validated >= promised_since_;
  const Heard heard = hear(inode, attributes, sent_epoch, parts_.time);
  // What may be a change of ours may as well be one that nobody had to tell us of.
  const bool perhaps = heard == Heard::uncertain && !promised;
  if (heard == Heard::changed || perhaps) content_changed(inode);
  if (heard == Heard::uncertain) hear_outdated(inode, attributes, sent_epoch);
}

InodeRef Volume::learn(const Entry& entry, NodeNumber parent, const std::string& name,
                       std::uint64_t sent_epoch) {
  auto inode = inodes_.get(entry.node);
  learn(*inode, entry.attributes, sent_epoch);
  if (name != "." && name != ".." && inode->number != kRootNode) {
    const auto folder = inodes_.find(parent);
    inodes_.set_name(*inode, parent, name, folder && folder->epoch <= sent_epoch);
  }
  return inode;
}

void Volume::renamed(Inode& inode, const Attributes& after) {
  if (inode.rescuing) return;  // until then we go by what ours was made to
  if (!inode.known()) met(inode);
  const Version before = inode.server.version;
  if (hear_own_renaming(inode, after, ++epoch_, parts_.time) == Heard::changed) {
    content_changed(inode);
  } else if (inode.regular() && before.value != 0) {
    reader_.changed_range(inode, before, 0, 0);
  }
}

void Volume::directory_changed(const InodeRef& directory, const Change& change) {
  auto* listing = directory->listing.get();
  const bool followed = listing && listing->version == change.before;
  hear_own_change(*directory, change, ++epoch_, parts_.time);
  if (listing) listing->version = followed ? change.after.version : Version{};
}

// ---- What became of queued changes ------------------------------------------------------------

void Volume::sending(const NodeId& node) { ++inodes_.get(node)->changes_in_flight; }

void Volume::not_sending(const NodeId& node) {
  const auto inode = inodes_.get(node);
  assert(inode->changes_in_flight > 0);
  --inode->changes_in_flight;
}

namespace {

/// What was asked about the file stays known under its new version, as far as we left it alone.
void keep_known(Inode& inode, const Attributes& before, const AppliedOperation& operation) {
  const bool content = operation.length > 0 || operation.set_size;
  auto& xattrs = inode.xattrs;
  // An access ACL follows the mode.
  const bool other = operation.xattrs || before.mode != inode.server.mode;
  if (xattrs && (other || xattrs->version != before.version)) xattrs.reset();
  if (xattrs) {
    xattrs->version = inode.server.version;
    if (content) xattrs->values.erase("security.capability");  // as the server's kernel does
  }
  auto& ranges = inode.data_ranges;
  if (ranges && (content || ranges->version != before.version)) ranges.reset();
  if (ranges) ranges->version = inode.server.version;
}

}  // namespace

void Volume::applied(const NodeId& node, const AppliedOperation& operation) {
  const auto inode = inodes_.get(node);
  const Attributes before = inode->server;
  inode->base_lost = false;
  if (hear_own_change(*inode, operation.change, ++epoch_, parts_.time) == Heard::changed) {
    return content_changed(*inode);
  }
  keep_known(*inode, before, operation);
  if (operation.set_size) {
    reader_.changed_range(*inode, before.version, std::min(before.size, *operation.set_size),
                          std::numeric_limits<std::uint64_t>::max());
  } else {
    reader_.changed_range(*inode, before.version, operation.offset,
                          operation.offset + operation.length);
  }
  // An answer to a repeated write tells of the file as it is now; what it holds is not known then.
  const auto& change = operation.change;
  const bool ours_alone = before.mode != 0 && change.before == before.version &&
                          change.after.version != change.before;
  if (operation.data && ours_alone) {
    reader_.seed(inode, operation.offset, operation.data, *operation.data);
  }
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

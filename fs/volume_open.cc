// Open files: close-to-open checks, holding files that lose their name, flush and fsync.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fs/volume.h"

namespace rushfs::fs {

namespace {

/// Brought along with open(): one cache block from the head, so that opening and the first read
/// cost one round trip; and one from the tail of files whose index may be there.
constexpr std::uint64_t kHead = cache::kBlockBytes;
constexpr std::uint64_t kTail = cache::kBlockBytes;
constexpr std::uint64_t kTailFrom = 2 << 20;

/// What a change of content by somebody else than root leaves of a mode; none: all of it.
std::optional<std::uint32_t> without_set_id(std::uint32_t mode) {
  std::uint32_t left = mode & 07777 & ~std::uint32_t{S_ISUID};
  if ((mode & S_IXGRP) != 0) left &= ~std::uint32_t{S_ISGID};
  if (left == (mode & 07777)) return std::nullopt;
  return left;
}

}  // namespace

// What the kernel reads from its own pages, it does not tell. Where that would leave an access time
// it gives them up; a long file's are worth more than its access time.
bool Volume::must_see_reads(const Inode& inode, const OpenFlags& flags) const {
  constexpr std::uint64_t kSoonReadAgain = cache::kBlockBytes;
  return flags.read && !flags.untouched && inode.kernel_pages && inode.size() <= kSoonReadAgain &&
         access_times_.due(inode);
}

Opened Volume::add_handle(const InodeRef& inode, OpenFlags flags) {
  const HandleNumber number{next_handle_++};
  ++inode->opens;
  inode->abandoned = false;
  if (flags.write) {
    ++inode->writers;
    writeback_.opened(inode->node);
  }
  handles_.emplace(number.value,
                   Handle{inode, flags, false, std::make_shared<ReadStream>(), false});
  const bool keep_pages = !inode->kernel_pages_stale && !must_see_reads(*inode, flags);
  Opened opened{number, keep_pages, flags.append && flags.write};
  inode->kernel_pages_stale = false;
  return opened;
}

void Volume::create(NodeNumber parent, std::string name, Caller caller, std::uint32_t mode,
                    OpenFlags flags, Reply<Created> reply) {
  const auto directory = inodes_.find(parent);
  if (int error = 0; refuses_change(directory, error)) return reply.fail(error);
  if (name.size() > kMaxName) return reply.fail(ENAMETOOLONG);
  Create request{{}, directory->node, name, caller, mode, flags.exclusive, false, true};
  ask(parts_.remote, Priority::urgent, std::move(request),
      [this, directory, name, flags,
       reply = std::move(reply)](Result<Answer<EntryReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        const auto& made = answer->reply;
        known_.directory_changed(directory, made.directory);
        const auto inode = known_.file_made(made);
        inodes_.set_name(*inode, directory->number, name);
        known_.name_made(directory, name, made.entry);
        open_created(inode, flags, std::move(reply));
      });
}

void Volume::create_unnamed(NodeNumber parent, Caller caller, std::uint32_t mode, OpenFlags flags,
                            Reply<Created> reply) {
  const auto directory = inodes_.find(parent);
  if (int error = 0; refuses_change(directory, error)) return reply.fail(error);
  ask(parts_.remote, Priority::urgent, CreateUnnamed{{}, directory->node, caller, mode},
      [this, flags, reply = std::move(reply)](Result<Answer<EntryReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        const auto inode = known_.file_made(answer->reply);
        inode->unlinked = true;  // until link() gives it a name
        open_created(inode, flags, std::move(reply));
      });
}

void Volume::open_created(const InodeRef& inode, OpenFlags flags, Reply<Created> reply) {
  const NodeReference entry = reference_to(inode);
  finish_open(inode, flags,
              [this, entry, inode, reply = std::move(reply)](Result<Opened> opened) mutable {
                if (!opened) {
                  forget(entry.number, 1);
                  return reply.fail(opened.error());
                }
                reply(Created{{entry.number, inode->view()}, *opened});
              });
}

void Volume::open(NodeNumber node, OpenFlags flags, Reply<Opened> reply) {
  const auto inode = inodes_.find(node);
  if (!inode) return reply.fail(ESTALE);
  if (inode->unlinked && !inode->held && !parts_.remote.reachable()) return reply.fail(ESTALE);
  const bool appends = flags.append && !flags.truncate;
  if (int error = 0; flags.write && (appends ? refuses_change(inode, error)
                                             : refuses_rewrite(inode, error))) {
    return reply.fail(error);
  }
  if (inode->releasing && parts_.remote.reachable()) {
    // Messages overtake each other: a Release that arrives after this Open, or after an Unlink
    // that relies on it, would let go of the file under its new user. Another question's answer
    // is as good a moment as any to look again.
    ask(
        parts_.remote, Priority::urgent, GetAttributes{inode->node},
        [this, inode, flags,
         reply = std::move(reply)](Result<Answer<AttributesReply>> answer) mutable {
          if (answer) return open(inode->number, flags, std::move(reply));
          if (!unanswered(answer.error())) return reply.fail(answer.error());
          open_unasked(inode, flags, std::move(reply));
        },
        Patience::glance);
    return;
  }
  if (inode->known() && !parts_.remote.reachable()) {
    return open_unasked(inode, flags, std::move(reply));
  }
  if (known_.fresh(*inode)) {
    // What the check would tell is known; the server is only asked to hold the file.
    if (!inode->held) hold(inode);
    if (flags.read) reader_.prepare(inode, [] {});
    return finish_open(inode, flags, std::move(reply));
  }
  check_open(inode, flags, std::move(reply));
}

// Without a link the server is told once it is back: hold_again().
void Volume::open_unasked(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply) {
  // What the next connection has not been told yet, it need not be told.
  if (const auto call = inode->releasing) parts_.remote.cancel(*call);
  if (parts_.remote.reachable()) hold(inode);
  if (flags.read) reader_.prepare(inode, [] {});
  finish_open(inode, flags, std::move(reply));
}

void Volume::check_open(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply) {
  const bool known = inode->known();
  auto opened = [this, inode, flags, known,
                 reply = std::move(reply)](Result<void> result) mutable {
    if (!result && !(known && unanswered(result.error()))) return reply.fail(result.error());
    finish_open(inode, flags, std::move(reply));
  };
  const auto patience = known ? Patience::glance : Patience::prompt;
  if (!flags.read) return ask_open(inode, false, patience, std::move(opened));
  reader_.prepare(inode, [this, inode, patience, opened = std::move(opened)]() mutable {
    ask_open(inode, !reader_.has_start(*inode), patience, std::move(opened));
  });
}

/// So that the file outlives its name; nobody waits for it.
void Volume::hold(const InodeRef& inode) {
  ask_open(inode, false, Patience::patient, [](Result<void>) {});
}

void Volume::ask_open(const InodeRef& inode, bool bring_bytes, Patience patience,
                      Reply<void> reply) {
  Open request{inode->node, true, 0, 0};
  const std::uint64_t size = inode->server.size;
  if (bring_bytes) {
    request.head_bytes = static_cast<std::uint32_t>(std::min(size, kHead));
    if (size >= kTailFrom) {
      const std::uint64_t last_block = (size - 1) / kTail * kTail;
      request.tail_bytes = static_cast<std::uint32_t>(size - last_block);
    }
  }
  ask(
      parts_.remote, Priority::urgent, request,
      [this, inode, epoch = known_.epoch(),
       reply = std::move(reply)](Result<Answer<OpenReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        inode->held = true;
        known_.learn(*inode, (*answer)->attributes, epoch);
        if (inode->server.version == (*answer)->attributes.version) {
          const OpenReply opened = answer->reply;
          auto owner = std::make_shared<const Buffer>(std::move(answer->bytes));
          reader_.seed(inode, 0, owner, opened.head, opened.head_zeros);
          reader_.seed(inode, opened.tail_offset, owner, opened.tail);
        }
        reply.ok();
      },
      patience);
}

void Volume::finish_open(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply) {
  const Opened opened = add_handle(inode, flags);
  const bool empty = inode->size() == 0 && inode->local.operations == 0 && known_.fresh(*inode);
  if (!flags.truncate || empty) {
    return reply(opened);
  }
  AttributeChange change;
  change.size = 0;
  if (flags.drop_set_id) change.mode = without_set_id(inode->view().mode);
  log_.set_attributes(inode, change,
                      [this, opened, reply = std::move(reply)](Result<void> result) mutable {
                        if (result) return reply(opened);
                        release(opened.handle);
                        reply.fail(result.error());
                      });
}

// The time of the last write travels behind the data, or the file would show the time at which it
// arrived.
void Volume::stamp(const InodeRef& inode) {
  if (inode->unlinked || (inode->server.traits & kAppendOnly) != 0) return;
  if (!inode->local.unstamped || !inode->local.mtime) return;
  AttributeChange change;
  change.mtime = TimeChange{false, *inode->local.mtime};
  inode->local.unstamped = false;
  log_.set_attributes(inode, change, [](Result<void>) {});
}

void Volume::flush(HandleNumber number, Reply<void> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.fail(EBADF);
  Handle& handle = found->second;
  access_times_.tell(handle.inode);
  if (!handle.flags.write) return reply.ok();
  stamp(handle.inode);
  handle.wrote = false;
  // What the server copied is in its memory only: closing means that it is safe.
  if (handle.inode->copied_into) return sync_inode(handle.inode, std::move(reply));
  log_.flush(std::move(reply));
}

void Volume::sync(HandleNumber number, Reply<void> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.fail(EBADF);
  if (found->second.lost) return reply.fail(EIO);
  sync_inode(found->second.inode, std::move(reply));
}

void Volume::sync_inode(const InodeRef& inode, Reply<void> reply) {
  stamp(inode);
  inode->copied_into = false;
  log_.flush([this, inode, reply = std::move(reply)](Result<void> result) mutable {
    if (!result) return reply.fail(result.error());
    writeback_.sync(inode->node,
                    [reply = std::move(reply)](Result<void> done) mutable { reply(done); });
  });
}

void Volume::release(HandleNumber number) {
  auto found = handles_.find(number.value);
  if (found == handles_.end()) return;
  const Handle handle = std::move(found->second);
  handles_.erase(found);
  const auto& inode = handle.inode;
  reader_.close(*inode, *handle.stream);
  unlock_handle(inode, number);
  --inode->opens;
  if (handle.flags.write && --inode->writers == 0) {
    stamp(inode);
    writeback_.closed(inode->node);
  }
  access_times_.tell(inode);
  if (inode->opens > 0) return;
  inode->known_pages.reset();
  inode->closed_at = parts_.time.now;
  if (inode->unlinked) return let_go(inode);  // its space is wanted back
  if (inode->held) to_release_.push_back(inode);
}

// A file without names and users. Our queue forgets it for good before the server may: what the
// next start of this mount would find in the queue would be refused.
void Volume::let_go(const InodeRef& inode) {
  abandon(*inode);
  if (!inode->held) return;
  if (inode->local.operations == 0 && !log_.may_remember(inode->node)) return release_hold(inode);
  log_.flush([this, inode](Result<void>) {
    if (inode->opens == 0 && inode->held && !inode->rescuing) release_hold(inode);
  });
}

void Volume::release_hold(const InodeRef& inode) {
  inode->held = false;
  if (inode->releasing) return;
  inode->releasing = ask(
      parts_.remote, Priority::urgent, Release{inode->node},
      [this, inode](Result<Answer<EmptyReply>>) {
        inode->releasing.reset();
        // Opened again meanwhile: the two messages may have passed each other.
        if (inode->opens > 0) hold(inode);
      },
      Patience::patient);
}

// A restarted server has forgotten whom it holds files for; others never heard of what was opened
// without a link.
void Volume::hold_again(bool restarted) {
  inodes_.each([&](Inode& inode) {
    if (restarted) inode.held = false;
    if (inode.opens > 0 && !inode.held && inode.regular()) hold(inodes_.find(inode.number));
  });
}

}  // namespace rushfs::fs

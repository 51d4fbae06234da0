// Open files: close-to-open checks, flush and fsync.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fs/client/volume.h"

namespace rushfs::fs {

std::optional<std::uint32_t> without_set_id(std::uint32_t mode) {
  std::uint32_t left = mode & 07777 & ~std::uint32_t{S_ISUID};
  if ((mode & S_IXGRP) != 0) left &= ~std::uint32_t{S_ISGID};
  if (left == (mode & 07777)) return std::nullopt;
  return left;
}

// What the kernel reads from its own pages, it does not tell. Where that would leave an access time
// it gives them up; a long file's are worth more than its access time.
bool Volume::must_see_reads(const Inode& inode, const OpenFlags& flags) const {
  constexpr std::uint64_t kSoonReadAgain = cache::kBlockBytes;
  return flags.read && !flags.untouched && inode.kernel_has_pages &&
         inode.size() <= kSoonReadAgain && access_times_.due(inode);
}

Opened Volume::add_handle(const InodeRef& inode, OpenFlags flags) {
  inode->abandoned = false;
  if (flags.write) writeback_.opened(inode->node);
  const bool keep_pages = !inode->kernel_pages_stale && !must_see_reads(*inode, flags);
  Opened opened{handles_.add(inode, flags), keep_pages, flags.append && flags.write};
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
      [this, directory, name, flags, instance = known_.instance(),
       reply = std::move(reply)](Result<Answer<EntryReply>> answer) mutable {
        if (!answer) {
          if (unanswered(answer.error())) known_.name_doubted(directory, name);
          return reply.fail(answer.error());
        }
        const auto& made = answer->reply;
        known_.directory_changed(directory, made.directory);
        const auto inode = known_.file_made(made);
        known_.name_made(directory, name, made.entry);
        if (made.existed) {
          // Nobody has looked whether the caller may open it. The kernel looks the name up again.
          holds_.closed(inode);
          return reply.fail(ESTALE);
        }
        inode->made_at = instance;
        flags.truncate = false;
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
  // While it is being opened, the last of its other handles may be closed.
  ++inode->opens;
  open_known(inode, flags, [this, inode, reply = std::move(reply)](Result<Opened> opened) mutable {
    --inode->opens;
    if (!opened) unused(inode);
    reply(opened);
  });
}

void Volume::open_known(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply) {
  if (inode->releasing && parts_.remote.reachable()) {
    // Messages overtake each other: a Release that arrives after this Open, or after an Unlink
    // that relies on it, would let go of the file under its new user. Another question's answer
    // is as good a moment as any to look again.
    ask(
        parts_.remote, Priority::urgent, GetAttributes{inode->node},
        [this, inode, flags,
         reply = std::move(reply)](Result<Answer<AttributesReply>> answer) mutable {
          if (answer) return open_known(inode, flags, std::move(reply));
          if (!unanswered(answer.error())) return reply.fail(answer.error());
          open_unasked(inode, flags, std::move(reply));
        },
        Patience::glance);
    return;
  }
  if (inode->known() && !parts_.remote.reachable()) {
    return open_unasked(inode, flags, std::move(reply));
  }
  if (known_.fresh(*inode) && inode->removals == 0) {
    // What the check would tell is known; the server is only asked to hold the file.
    if (!inode->held) holds_.hold(inode);
    if (flags.read) reader_.prepare(inode, [] {});
    return finish_open(inode, flags, std::move(reply));
  }
  check_open(inode, flags, std::move(reply));
}

// Without a link the server is told once it is back, by holds_.
void Volume::open_unasked(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply) {
  // What the next connection has not been told yet, it need not be told.
  if (const auto call = inode->releasing) parts_.remote.cancel(*call);
  if (parts_.remote.reachable()) holds_.hold(inode);
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
  if (!flags.read) return holds_.open(inode, false, patience, std::move(opened));
  reader_.prepare(inode, [this, inode, patience, opened = std::move(opened)]() mutable {
    holds_.open(inode, !reader_.has_start(*inode), patience, std::move(opened));
  });
}

void Volume::finish_open(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply) {
  const Opened opened = add_handle(inode, flags);
  if (!flags.truncate) return reply(opened);
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

void Volume::flush(HandleNumber number, Reply<void> reply) {
  const Handle* handle = handles_.find(number);
  if (!handle) return reply.fail(EBADF);
  access_times_.tell(handle->inode);
  if (!handle->flags.write) return reply.ok();
  log_.stamp(handle->inode);
  const auto inode = handle->inode;
  // What the server copied is in its memory only: closing means that it is safe.
  if (inode->last_copy > inode->made_there_kept) return sync(number, std::move(reply));
  keep_made_there(inode);
  log_.flush(inode, std::move(reply));
}

// What the server changed past the queue comes to its disk with what is queued, or soon. A loss is
// told to whoever has the file open, or opens it next.
void Volume::keep_made_there(const InodeRef& inode) {
  const auto cared_for = std::max(inode->made_there_kept, inode->made_there_asked);
  if (inode->made_there <= cared_for || inode->local.operations > 0) return;
  inode->made_there_asked = inode->made_there;
  writeback_.keep_there(inode->node);
}

bool Volume::nothing_to_sync(const Inode& inode) const {
  return (options_.read_only || server_read_only_) && inode.local.operations == 0;
}

void Volume::sync(HandleNumber number, Reply<void> reply) {
  const auto handle = handles_.usable(number);
  if (!handle) return reply.fail(handle.error());
  if (nothing_to_sync(*(*handle)->inode)) return reply.ok();
  sync((*handle)->inode, number, std::move(reply));
}

void Volume::sync(const InodeRef& inode, HandleNumber number, Reply<void> reply) {
  log_.sync(inode, [this, inode, number, reply = std::move(reply)](Result<void> done) mutable {
    Handle* handle = handles_.find(number);
    // What was written went to a conflict copy meanwhile.
    if (done && handle && handle->inode != inode) {
      return sync(handle->inode, number, std::move(reply));
    }
    if (handle && handle->take_loss()) return reply.fail(EIO);
    reply(done);
  });
}

void Volume::sync_directory(NodeNumber node, Reply<void> reply) {
  const auto inode = inodes_.find(node);
  if (!inode) return reply.fail(ESTALE);
  if (nothing_to_sync(*inode)) return reply.ok();
  writeback_.sync(inode->node, std::move(reply));
}

void Volume::release(HandleNumber number) {
  const auto handle = handles_.remove(number);
  if (!handle) return;
  const auto& inode = handle->inode;
  reader_.close(*handle->stream);
  locking_.closed(inode, number);
  if (handle->flags.write && inode->writers == 0) {
    log_.stamp(inode);
    writeback_.closed(inode->node);
    reader_.written(*inode);
  }
  access_times_.tell(inode);
  unused(inode);
}

void Volume::unused(const InodeRef& inode) {
  if (inode->opens > 0) return;
  inode->kernel_page_bytes.reset();
  holds_.closed(inode);
}

void Volume::forget(NodeNumber number, std::uint64_t count) {
  inodes_.forget(number, count);
  const auto inode = inodes_.find(number);
  if (inode && inode->lookups == 0 && inode->opens == 0 && inode->unlinked) holds_.closed(inode);
}

void Volume::close_all(Reply<void> reply) {
  std::vector<HandleNumber> open;
  handles_.each([&](HandleNumber number, Handle&) { open.push_back(number); });
  for (const HandleNumber number : open) release(number);
  holds_.leave();
  log_.flush(std::move(reply));
}

}  // namespace rushfs::fs

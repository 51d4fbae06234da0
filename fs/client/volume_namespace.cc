// Names: each operation is one call to the server; its reply brings the attributes of what it
// touched, so that no second call is needed.
#include <cerrno>

#include "fs/client/volume.h"

namespace rushfs::fs {

bool Volume::refuses_change(const InodeRef& inode, int& error) const {
  error = !inode ? ESTALE : options_.read_only || server_read_only_ ? EROFS : 0;
  if (error == 0 && (inode->server.traits & kImmutable) != 0) error = EPERM;
  return error != 0;
}

bool Volume::refuses_rewrite(const InodeRef& inode, int& error) const {
  if (refuses_change(inode, error)) return true;
  if ((inode->server.traits & kAppendOnly) != 0) error = EPERM;
  return error != 0;
}

void Volume::entry_made(const InodeRef& directory, const std::string& name, const EntryReply& made,
                        Reply<NodeReference>& reply) {
  known_.directory_changed(directory, made.directory);
  const auto inode = inodes_.get(made.entry.node);
  known_.renamed(*inode, made.entry.attributes);
  inode->unlinked = inode->abandoned = false;  // link() may have given it its first name
  known_.name_made(directory, name, made.entry);
  reply(reference_to(inode));
}

template <class Request>
void Volume::make_entry(NodeNumber parent, Request request, Reply<NodeReference> reply) {
  const auto directory = inodes_.find(parent);
  if (int error = 0; refuses_change(directory, error)) return reply.fail(error);
  if (request.name.size() > kMaxName) return reply.fail(ENAMETOOLONG);
  request.directory = directory->node;
  const std::string name = request.name;
  ask(parts_.remote, Priority::urgent, std::move(request),
      [this, directory, name, instance = known_.instance(),
       reply = std::move(reply)](Result<Answer<EntryReply>> answer) mutable {
        if (!answer) {
          if (unanswered(answer.error())) known_.name_doubted(directory, name);
          return reply.fail(answer.error());
        }
        entry_made(directory, name, answer->reply, reply);
        const auto inode = inodes_.get((*answer)->entry.node);
        if constexpr (std::is_same_v<Request, MakeDirectory>) known_.folder_made(inode);
        if constexpr (std::is_same_v<Request, MakeNode>) inode->made_at = instance;
      });
}

void Volume::make_directory(NodeNumber parent, std::string name, Caller caller,
                            std::uint32_t mode, Reply<NodeReference> reply) {
  make_entry(parent, MakeDirectory{{}, {}, std::move(name), caller, mode}, std::move(reply));
}

void Volume::make_node(NodeNumber parent, std::string name, Caller caller, std::uint32_t mode,
                       std::uint32_t device_major, std::uint32_t device_minor,
                       Reply<NodeReference> reply) {
  make_entry(parent,
             MakeNode{{}, {}, std::move(name), caller, mode, device_major, device_minor},
             std::move(reply));
}

void Volume::symlink(NodeNumber parent, std::string name, Caller caller, std::string target,
                     Reply<NodeReference> reply) {
  if (target.size() > kMaxPath) return reply.fail(ENAMETOOLONG);
  make_entry(parent, Symlink{{}, {}, std::move(name), caller, std::move(target)},
             std::move(reply));
}

void Volume::link(NodeNumber node, NodeNumber parent, std::string name,
                  Reply<NodeReference> reply) {
  const auto inode = inodes_.find(node);
  if (!inode) return reply.fail(ESTALE);
  make_entry(parent, Link{{}, inode->node, {}, std::move(name)}, std::move(reply));
}

/// What we hold of it, open or queued, is still to be sent when its last name goes; or would be,
/// again, if we were killed.
bool Volume::in_use(const Inode& inode) const {
  return inode.opens > 0 || inode.local.operations > 0 || log_.may_remember(inode.node);
}

// `left`: what had the name, where it lives on under another name or because it is held.
void Volume::name_removed(const InodeRef& target, const std::optional<Entry>& left) {
  if (left) {
    const auto inode = inodes_.get(left->node);
    known_.renamed(*inode, left->attributes);
    if (left->attributes.links > 0) return;
    inode->unlinked = true;
    inode->held = true;
    if (inode->opens == 0) holds_.closed(inode);
    if (target && target != inode) target->validated = {};
    return;
  }
  if (!target) return;
  target->validated = {};
  if (target->opens == 0 && target->local.operations == 0) return known_.forget(*target);
  // Somebody else may have put another file under the name; only the server knows whether it was
  // this one, whose queued bytes are then of no use. It may have been opened since.
  ++target->removals;
  ask(parts_.remote, Priority::urgent, GetAttributes{target->node},
      [this, target](Result<Answer<AttributesReply>> answer) {
        const bool gone = !answer && answer.error().value() == ESTALE;
        if (gone) target->unlinked = true;
        if (gone && target->opens == 0) holds_.abandon(*target);
        conflicts_.removal_answered(target);
      });
}

void Volume::unlink(NodeNumber parent, std::string name, Reply<void> reply) {
  const auto directory = inodes_.find(parent);
  if (int error = 0; refuses_change(directory, error)) return reply.fail(error);
  if (name.size() > kMaxName) return reply.fail(ENAMETOOLONG);
  const auto target = inodes_.child(parent, name);
  const bool hold = target && in_use(*target);
  if (target) ++target->removals;
  ask(parts_.remote, Priority::urgent, Unlink{{}, directory->node, name, hold},
      [this, directory, name, target,
       reply = std::move(reply)](Result<Answer<RemoveReply>> answer) mutable {
        if (answer) {
          known_.directory_changed(directory, (*answer)->directory);
          known_.name_gone(directory, name);
          name_removed(target, (*answer)->removed);
        } else if (unanswered(answer.error())) {
          known_.name_doubted(directory, name);
        }
        conflicts_.removal_answered(target);
        if (!answer) return reply.fail(answer.error());
        reply.ok();
      });
}

void Volume::remove_directory(NodeNumber parent, std::string name, Reply<void> reply) {
  const auto directory = inodes_.find(parent);
  if (int error = 0; refuses_change(directory, error)) return reply.fail(error);
  if (name.size() > kMaxName) return reply.fail(ENAMETOOLONG);
  ask(parts_.remote, Priority::urgent, RemoveDirectory{{}, directory->node, name},
      [this, directory, name,
       reply = std::move(reply)](Result<Answer<RemoveReply>> answer) mutable {
        if (!answer) {
          if (unanswered(answer.error())) known_.name_doubted(directory, name);
          return reply.fail(answer.error());
        }
        known_.directory_changed(directory, (*answer)->directory);
        known_.name_gone(directory, name);
        reply.ok();
      });
}

/// What rename() remembers until its answer.
struct Volume::Renaming {
  InodeRef from_directory, to_directory;
  std::string from, to;
  RenameMode mode;
  InodeRef replaced;
};

namespace {

/// Something we have not seen has the old name.
bool leaves_whiteout(RenameMode mode) {
  return mode == RenameMode::whiteout || mode == RenameMode::no_replace_whiteout;
}

}  // namespace

bool Volume::loses_content(const Renaming& renaming, const InodeRef& source) {
  const auto& old = renaming.replaced;
  return replaces(renaming.mode) && old && old != source && old->regular() && old->size() > 0;
}

void Volume::rename(NodeNumber from_parent, std::string from, NodeNumber to_parent, std::string to,
                    RenameMode mode, Reply<void> reply) {
  Renaming renaming{inodes_.find(from_parent), inodes_.find(to_parent), std::move(from),
                    std::move(to), mode, nullptr};
  if (int error = 0; refuses_change(renaming.from_directory, error) ||
                     refuses_change(renaming.to_directory, error)) {
    return reply.fail(error);
  }
  if (renaming.from.size() > kMaxName || renaming.to.size() > kMaxName) {
    return reply.fail(ENAMETOOLONG);
  }
  renaming.replaced = inodes_.child(to_parent, renaming.to);
  const auto source = inodes_.child(from_parent, renaming.from);
  const bool queued = source && (source->local.operations > 0 || log_.has_loss(source));
  if (!queued || !loses_content(renaming, source)) {
    return send(std::move(renaming), std::move(reply));
  }
  // Who saves beside and renames over the old version has that until the new one is there; and so
  // have others who read it.
  log_.sync(source, [this, renaming = std::move(renaming),
                     reply = std::move(reply)](Result<void> arrived) mutable {
    const int error = arrived ? 0 : arrived.error().value();
    const bool gone = error == ESTALE || error == ENOENT;  // the server says what that means
    if (error != 0 && !gone) return reply.fail(error);
    send(std::move(renaming), std::move(reply));
  });
}

void Volume::send(Renaming renaming, Reply<void> reply) {
  const bool hold = renaming.replaced && in_use(*renaming.replaced);
  if (renaming.replaced) ++renaming.replaced->removals;
  Rename request{{},
                 renaming.from_directory->node,
                 renaming.from,
                 renaming.to_directory->node,
                 renaming.to,
                 renaming.mode,
                 hold};
  ask(parts_.remote, Priority::urgent, std::move(request),
      [this, renaming = std::move(renaming),
       reply = std::move(reply)](Result<Answer<RenameReply>> answer) mutable {
        if (answer) {
          moved(renaming, answer->reply);
        } else if (unanswered(answer.error())) {
          known_.name_doubted(renaming.from_directory, renaming.from);
          known_.name_doubted(renaming.to_directory, renaming.to);
        }
        conflicts_.removal_answered(renaming.replaced);
        if (!answer) return reply.fail(answer.error());
        reply.ok();
      });
}

void Volume::moved(const Renaming& renaming, const RenameReply& done) {
  known_.directory_changed(renaming.from_directory, done.from_directory);
  if (renaming.to_directory != renaming.from_directory) {
    known_.directory_changed(renaming.to_directory, done.to_directory);
  }
  const auto moved = inodes_.get(done.moved.node);
  known_.renamed(*moved, done.moved.attributes);
  // A file renamed over another name of itself keeps both (rename(2)).
  const bool nothing_done = done.replaced && done.replaced->node == done.moved.node;
  if (!nothing_done) known_.name_gone(renaming.from_directory, renaming.from);
  if (leaves_whiteout(renaming.mode)) renaming.from_directory->forget_names();
  known_.name_made(renaming.to_directory, renaming.to, done.moved);
  if (renaming.mode == RenameMode::exchange && done.replaced) {
    const auto other = inodes_.get(done.replaced->node);
    known_.renamed(*other, done.replaced->attributes);
    known_.name_made(renaming.from_directory, renaming.from, *done.replaced);
  } else if (!nothing_done && renaming.replaced != moved) {
    name_removed(renaming.replaced, done.replaced);
  }
}

}  // namespace rushfs::fs

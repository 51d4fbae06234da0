#include "fs/client/questions.h"

#include <algorithm>
#include <cerrno>

namespace rushfs::fs {

namespace {

/// Some eighty entries, a packet or a dozen.
constexpr std::uint32_t kListingBytes = 16 << 10;

}  // namespace

// The kernel had let go of it, and somebody has a handle.
void Questions::find_again(NodeNumber node, Reply<NodeReference> reply) {
  const auto inode = known_.inodes().recall(node);
  if (!inode) return reply.fail(ESTALE);
  attributes(node, [inode, reply = std::move(reply)](Result<Attributes> found) mutable {
    if (!found) return reply.fail(found.error());
    reply(reference_to(inode));
  });
}

// Who looks for a name in vain is often about to make it, and others after it. Nobody waits for
// this, and it is in nobody's way: who only reads would have it before his first byte.
void Questions::fetch_listing(const InodeRef& directory) {
  if (directory->listed() || directory->crowded || directory->listing_asked) return;
  directory->listing_asked = true;
  ask(
      remote_, Priority::ahead, ReadDirectory{directory->node, 0, kListingBytes, true},
      [this, directory, epoch = known_.epoch()](Result<Answer<ReadDirectoryReply>> answer) {
        directory->listing_asked = false;
        if (!answer) return;
        known_.learn(*directory, (*answer)->directory, epoch);
        ListingDraft draft;
        directory->crowded = !draft.add(0, answer->reply);
        if (!directory->crowded) known_.keep_listing(directory, draft.take(), epoch);
      },
      Patience::glance);
}

void Questions::lookup(NodeNumber parent, std::string name, Reply<NodeReference> reply) {
  if (name == ".") return find_again(parent, std::move(reply));
  const auto directory = known_.inodes().find(parent);
  if (!directory) return reply.fail(ESTALE);
  if (name.size() > kMaxName) return reply.fail(ENAMETOOLONG);
  if (const auto fresh = known_.fresh_name(*directory, name)) return reply(reference_to(*fresh));
  const auto old = known_.last_known_name(*directory, name);
  if (old && !remote_.reachable()) return reply(reference_to(*old));
  ask(
      remote_, Priority::urgent, Lookup{directory->node, name},
      [this, directory, name, epoch = known_.epoch(),
       reply = std::move(reply)](Result<Answer<LookupReply>> heard) mutable {
        if (!heard) {
          const auto known = known_.last_known_name(*directory, name);
          if (!known || !unanswered(heard.error())) return reply.fail(heard.error());
          return reply(reference_to(*known));
        }
        known_.learn(*directory, (*heard)->directory, epoch);
        const auto& entry = (*heard)->entry;
        const bool latest = directory->epoch <= epoch && name != "..";
        if (entry && latest) known_.name_made(directory, name, *entry);
        if (entry) return reply(reference_to(known_.learn(*entry, directory->number, name, epoch)));
        if (latest) {
          known_.name_absent(directory, name, (*heard)->directory.version);
          fetch_listing(directory);
        } else {
          known_.inodes().drop_name(directory->number, name);
        }
        reply(NodeReference{});
      },
      old ? Patience::glance : Patience::prompt);
}

struct Questions::PathWalk : std::enable_shared_from_this<Questions::PathWalk> {
  Questions& questions;
  std::string rest;
  Reply<NodeNumber> reply;
  NodeNumber at = kRootNode;
  bool referenced = false;

  PathWalk(Questions& q, std::string path, Reply<NodeNumber> r)
      : questions(q), rest(std::move(path)), reply(std::move(r)) {}

  void step() {
    rest.erase(0, rest.find_first_not_of('/'));
    if (rest.empty()) return finish(at);
    const auto end = std::min(rest.find('/'), rest.size());
    std::string name = rest.substr(0, end);
    rest.erase(0, end);
    questions.lookup(at, std::move(name), [self = shared_from_this()](Result<NodeReference> found) {
      if (!found) return self->finish(found.error());
      if (found->number.value == 0) return self->finish(errno_code(ENOENT));
      if (self->referenced) self->inodes().forget(self->at, 1);
      self->at = found->number;
      self->referenced = true;
      self->step();
    });
  }
  void finish(Result<NodeNumber> result) {
    const bool forget = referenced;
    const NodeNumber last = at;
    reply(result);
    if (forget) inodes().forget(last, 1);
  }
  Inodes& inodes() const { return questions.known_.inodes(); }
};

void Questions::find_path(std::string path, Reply<NodeNumber> reply) {
  std::make_shared<PathWalk>(*this, std::move(path), std::move(reply))->step();
}

void Questions::attributes(NodeNumber node, Reply<Attributes> reply) {
  const auto inode = known_.inodes().find(node);
  if (!inode) return reply.fail(ESTALE);
  const bool known = inode->known();
  if (known_.fresh(*inode) || (known && !remote_.reachable())) return reply(inode->view());
  ask(
      remote_, Priority::urgent, GetAttributes{inode->node},
      [this, inode, known, epoch = known_.epoch(),
       reply = std::move(reply)](Result<Answer<AttributesReply>> answer) mutable {
        if (answer) {
          known_.learn(*inode, (*answer)->attributes, epoch);
        } else if (!known || !unanswered(answer.error())) {
          return reply.fail(answer.error());
        }
        reply(inode->view());
      },
      known ? Patience::glance : Patience::prompt);
}

void Questions::renew(const InodeRef& inode) {
  ask(
      remote_, Priority::ahead, GetAttributes{inode->node},
      [this, inode, epoch = known_.epoch()](Result<Answer<AttributesReply>> answer) {
        if (answer) known_.learn(*inode, (*answer)->attributes, epoch);
      },
      Patience::glance);
}

void Questions::target(NodeNumber node, Reply<std::string> reply) {
  const auto inode = known_.inodes().find(node);
  if (!inode) return reply.fail(ESTALE);
  if (inode->target) {
    access_times_.read(*inode);
    access_times_.tell(inode);
    return reply(*inode->target);
  }
  ask(remote_, Priority::urgent, Readlink{inode->node},
      [this, inode, epoch = known_.epoch(),
       reply = std::move(reply)](Result<Answer<ReadlinkReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        known_.learn(*inode, (*answer)->attributes, epoch);
        inode->target = std::move(answer->reply.target);
        reply(*inode->target);
      });
}

void Questions::space(NodeNumber node, Reply<StatFsReply> reply) {
  const auto inode = known_.inodes().find(node);
  if (!inode) return reply.fail(ESTALE);
  if (space_ && !remote_.reachable()) return reply(*space_);
  ask(
      remote_, Priority::urgent, StatFs{inode->node},
      [this, reply = std::move(reply)](Result<Answer<StatFsReply>> answer) mutable {
        if (answer) {
          space_ = answer->reply;
        } else if (!space_ || !unanswered(answer.error())) {
          return reply.fail(answer.error());
        }
        reply(*space_);
      },
      Patience::glance);  // df(1) and file managers look at all mounts, and would wait for this one
}

}  // namespace rushfs::fs

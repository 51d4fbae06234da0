#include "fs/client/xattrs.h"

#include <algorithm>
#include <cerrno>

#include "fs/client/direct_change.h"
#include "fs/posix_acl.h"

namespace rushfs::fs {

namespace {

constexpr const char* kCapability = "security.capability";

/// What all attributes of a file may take and any disk has room for beside its inode: more is not
/// queued, because only the server can say whether it fits. ext4 has one block of 4 KiB.
constexpr std::size_t kSurelyFits = 2048;   // bytes
constexpr std::size_t kXattrOverhead = 32;  // bytes each on disk, rounded up

std::string namespace_of(const std::string& name) {
  return is_acl(name) ? name : name.substr(0, name.find('.'));
}

bool says_absent(std::uint32_t traits, const std::string& name) {
  if ((traits & kNoXattrSupport) != 0 || (traits & kHasXattrs) == 0) return true;
  if (name == kAccessAcl) return (traits & kHasAcl) == 0;
  if (name == kDefaultAcl) return (traits & kHasDefaultAcl) == 0;
  return name == kCapability && (traits & kHasCapability) == 0;
}

/// ENODATA for ACLs even where the disk has none: any other error would forbid all access.
int absent_error(const Inode& inode, const std::string& name) {
  const bool unsupported = (inode.server.traits & kNoXattrSupport) != 0;
  return unsupported && !is_acl(name) ? EOPNOTSUPP : ENODATA;
}

/// The server's attributes with what is queued over them.
std::map<std::string, std::optional<std::string>> combined(const Inode& inode) {
  auto all = inode.xattrs ? inode.xattrs->values : decltype(inode.xattrs->values)();
  for (const auto& [name, value] : inode.local.xattrs) {
    if (value) {
      all[name] = value;
    } else {
      all.erase(name);
    }
  }
  return all;
}

/// An access ACL follows the permission bits that are queued.
std::string as_seen(const Inode& inode, const std::string& name, std::string value) {
  const bool queued = inode.local.mode || inode.local.permissions;
  if (name != kAccessAcl || !queued) return value;
  return acl_with_mode(std::move(value), inode.view().mode);
}

}  // namespace

// Brings inode->xattrs up to date.
void Xattrs::with_xattrs(const InodeRef& inode, Reply<void> reply) {
  const auto& known = inode->xattrs;
  const bool none = (inode->server.traits & kHasXattrs) == 0;
  const bool trusted = known_.may_trust(*inode);
  if (trusted && none) inode->xattrs = {inode->server.version, {}};
  if (trusted && known && known->version == inode->server.version) return reply.ok();
  ask(remote_, Priority::urgent, ListXattrs{inode->node},
      [this, inode, epoch = known_.epoch(),
       reply = std::move(reply)](Result<Answer<ListXattrsReply>> answer) mutable {
        if (!answer && answer.error().value() == EOPNOTSUPP) {
          inode->xattrs = {inode->server.version, {}};
          return reply.ok();
        }
        if (!answer) return reply.fail(answer.error());
        known_.learn(*inode, (*answer)->attributes, epoch);
        inode->xattrs = {(*answer)->attributes.version, {}};
        for (const auto& xattr : (*answer)->xattrs) {
          namespaces_.insert(namespace_of(xattr.name));
          inode->xattrs->values.emplace(xattr.name, xattr.value);
        }
        reply.ok();
      });
}

void Xattrs::get(const InodeRef& inode, std::string name, Reply<std::string> reply) {
  if (const auto queued = inode->local.xattrs.find(name); queued != inode->local.xattrs.end()) {
    if (!queued->second) return reply.fail(ENODATA);
    return reply(as_seen(*inode, name, *queued->second));
  }
  // The kernel asks for the capability before every write. The server takes it away at the next
  // one whatever we answer.
  const bool writing = name == kCapability && inode->writers > 0 && inode->known();
  if ((known_.may_trust(*inode) || writing) && says_absent(inode->server.traits, name)) {
    return reply.fail(absent_error(*inode, name));
  }
  with_xattrs(inode, [this, inode, name, reply = std::move(reply)](Result<void> done) mutable {
    if (!done) return reply.fail(done.error());
    const auto found = inode->xattrs->values.find(name);
    if (found == inode->xattrs->values.end()) return reply.fail(absent_error(*inode, name));
    if (found->second) return reply(as_seen(*inode, name, *found->second));
    ask(remote_, Priority::urgent, GetXattr{inode->node, name},
        [reply = std::move(reply)](Result<Answer<GetXattrReply>> answer) mutable {
          if (!answer) return reply.fail(answer.error());
          reply(std::move(answer->reply.value));
        });
  });
}

void Xattrs::list(const InodeRef& inode, Reply<std::vector<std::string>> reply) {
  with_xattrs(inode, [inode, reply = std::move(reply)](Result<void> done) mutable {
    if (!done) return reply.fail(done.error());
    std::vector<std::string> names;
    for (const auto& [name, value] : combined(*inode)) names.push_back(name);
    reply(std::move(names));
  });
}

void Xattrs::set(const InodeRef& inode, std::string name, std::optional<std::string> value,
                 XattrMode mode, Reply<void> reply) {
  if (!may_be_set(name)) return reply.fail(EOPNOTSUPP);
  SetXattr change{CallNumber{}, inode->node, std::move(name), std::move(value), mode};
  if (inode->local.operations > 0) return queue(inode, std::move(change), std::move(reply));
  set_at_server(inode, std::move(change), std::move(reply));
}

void Xattrs::set_at_server(const InodeRef& inode, SetXattr change, Reply<void> reply) {
  AppliedOperation operation;
  operation.xattrs = true;
  change_at_server(remote_, known_, inode, std::move(change), operation, std::move(reply));
}

// Queued only where it is sure that the server will take it; else the queue is emptied first.
void Xattrs::queue(const InodeRef& inode, SetXattr change, Reply<void> reply) {
  with_xattrs(inode, [this, inode, change = std::move(change),
                      reply = std::move(reply)](Result<void> done) mutable {
    if (!done) return reply.fail(done.error());
    const auto all = combined(*inode);
    const bool there = all.contains(change.name);
    if (there && change.mode == XattrMode::create) return reply.fail(EEXIST);
    const bool must_exist = change.mode == XattrMode::replace || !change.value;
    if (!there && must_exist && !is_acl(change.name)) return reply.fail(ENODATA);
    if (!there && !change.value) return reply.ok();
    std::size_t size = change.value ? change.value->size() : 0;
    for (const auto& [name, value] : all) {
      size += name.size() + kXattrOverhead + (value ? value->size() : kSurelyFits);
    }
    change.mode = XattrMode::any;
    if (size <= kSurelyFits && namespaces_.contains(namespace_of(change.name))) {
      return log_.set_xattr(inode, std::move(change), std::move(reply));
    }
    if (size <= kSurelyFits) {
      // Whether the disk has this namespace shows in how it answers a question.
      const GetXattr question{inode->node, change.name};
      ask(remote_, Priority::urgent, question,
          [this, inode, change = std::move(change),
           reply = std::move(reply)](Result<Answer<GetXattrReply>> answer) mutable {
            if (!answer && answer.error().value() != ENODATA) return reply.fail(answer.error());
            namespaces_.insert(namespace_of(change.name));
            log_.set_xattr(inode, std::move(change), std::move(reply));
          });
      return;
    }
    log_.drain(inode, [this, inode, change = std::move(change),
                       reply = std::move(reply)](Result<void> drained) mutable {
      if (!drained) return reply.fail(drained.error());
      set_at_server(inode, std::move(change), std::move(reply));
    });
  });
}

}  // namespace rushfs::fs

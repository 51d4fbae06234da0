#include "fs/client/known.h"

#include <algorithm>
#include <limits>

#include "fs/protocol/names.h"

namespace rushfs::fs {

// While changes of ours wait, ours is the view; asking could not make it newer, unless others may
// have changed what they were made to while there was no link.
bool Known::ours(const Inode& inode) const {
  const bool missed_news = promised_ && inode.validated < promised_since_;
  return inode.known() && (inode.local.operations > 0 || inode.changes_in_flight > 0) &&
         !missed_news;
}

bool Known::told_since(const Inode& inode, transport::TimePoint then) const {
  return promised_ && then >= promised_since_ && (inode.server.traits & kUnwatched) == 0;
}

bool Known::fresh(const Inode& inode) const {
  if (!inode.known()) return false;
  if (inode.suspect) return false;
  if (ours(inode)) return true;
  if (inode.unlinked && !inode.held) return false;
  const auto age = parts_.time.now - inode.validated;
  if (age < kValidity) return true;
  return told_of_changes(inode) && age < kPromisedValidity;
}

bool Known::may_trust(const Inode& inode) const {
  return fresh(inode) || (!parts_.remote.reachable() && inode.known());
}

// ---- What others did --------------------------------------------------------------------------

void Known::promise(bool promised) {
  promised_ = promised;
  promised_since_ = parts_.time.now;
}

/// A notice may overtake the reply that first tells of a file.
void Known::met(Inode& inode) {
  const std::uint64_t* epoch = recently_noticed_.find(tag_of(inode.node));
  if (epoch == nullptr) return;
  inode.epoch = std::max(inode.epoch, *epoch);
  inode.suspect = true;
}

void Known::noticed(Inode& inode) {
  inode.epoch = epoch_;
  inode.suspect = true;
  if (inode.listing) inode.listing->version = {};
  inode.absent = {};
  // What we wrote is older than that, and so is the time that we wrote it.
  if (inode.local.operations == 0) inode.local.unstamped = false;
  if (inode.regular()) {
    inode.kernel_pages_stale = true;
    reader_.discard(inode);
  }
  inode.kernel_has_pages = false;
  kernel_.invalidate(inode.number);
}

/// All that others do to the file is told, and nothing of ours is under way: if only parts of it
/// have changed, the rest is as it was.
bool Known::follows(const Inode& inode) const {
  const bool ours_waits = inode.local.operations > 0 || inode.changes_in_flight > 0;
  return inode.regular() && !inode.suspect && !ours_waits && !inode.rescuing &&
         told_of_changes(inode);
}

/// Moments tell which attributes are the later ones; where we know none, the server's clock must.
bool Known::in_order(const Inode& inode, const Attributes& after) {
  return inode.told_at != Moment() || after.ctime >= inode.server.ctime;
}

void Known::follow(Inode& inode, const ContentChange& change) {
  const Attributes before = inode.server;
  hear_told(inode, change.after, change.when, parts_.time);
  Spans parts = change.parts;
  parts.add(std::min(before.size, inode.server.size), std::max(before.size, inode.server.size));
  // The version need not tell: two changes within a tick of the server's clock may have the same.
  inode.xattrs.reset();
  inode.data_ranges.reset();
  inode.local.unstamped = false;
  reader_.changed(inode, before.version, parts);
  kernel_.invalidate(inode.number, parts);
}

void Known::noticed_all() {
  promised_since_ = parts_.time.now;
  inodes_.each([this](Inode& inode) {
    inode.epoch = epoch_;
    inode.suspect = true;
    if (inode.opens > 0 && inode.regular()) noticed(inode);
  });
}

void Known::noticed(const Notice& notice) {
  ++epoch_;
  if (notice.everything) noticed_all();
  for (const NoticedChange& change : notice.changes) {
    recently_noticed_.put(change.node, epoch_);
    const auto inode = inodes_.find(change.node);
    if (!inode) continue;
    if (change.content && follows(*inode) && in_order(*inode, change.content->after)) {
      inode->epoch = epoch_;
      follow(*inode, *change.content);
      continue;
    }
    noticed(*inode);
    if (change.name.empty()) continue;
    inodes_.drop_name(inode->number, change.name);
    kernel_.invalidate_name(inode->number, change.name);
  }
}

void Known::begin_comparison(const InodeRef& inode) {
  comparisons_.try_emplace(inode, inode->server);
  reader_.keep(*inode);
}

std::optional<Attributes> Known::end_comparison(const InodeRef& inode) {
  const auto compared = comparisons_.extract(inode);
  return compared ? std::optional(compared.mapped()) : std::nullopt;
}

void Known::ours_moved(const InodeRef& inode, const std::optional<Attributes>& theirs) {
  if (theirs) {
    inode->server = *theirs;
    inode->our_versions.clear();
  } else if (inodes_.child(inode->parent, inode->name) == inode) {
    const auto parent = inodes_.find(inode->parent);
    inodes_.drop_name(inode->parent, inode->name);
    if (parent) parent->forget_names();  // something else may have the name by now
  }
  if (!theirs) kernel_.invalidate_name(inode->parent, inode->name);
  inode->validated = {};
  inode->kernel_pages_stale = true;
  content_changed(*inode);
}

void Known::forget(Inode& inode) {
  inode.server = {};
  content_changed(inode);
}

void Known::content_changed(Inode& inode) {
  reader_.discard(inode);
  kernel_.drop_pages(inode);
}

// ---- What answers teach -----------------------------------------------------------------------

void Known::learn(Inode& inode, const Attributes& attributes, std::uint64_t sent_epoch) {
  if (!inode.known()) met(inode);
  if (inode.epoch <= sent_epoch && inode.changes_in_flight == 0) {
    inode.suspect = false;
    if (attributes.links > 0) inode.unlinked = false;  // others may have given it a name
  }
  const bool told = told_of_changes(inode);
  const Heard heard = hear(inode, attributes, sent_epoch, parts_.time);
  // What may be a change of ours may as well be one that nobody had to tell us of.
  const bool perhaps = heard == Heard::uncertain && !told;
  if (heard == Heard::changed || perhaps) content_changed(inode);
  // What is being kept apart from theirs stays as it is.
  if (!inode.rescuing && (perhaps || (heard == Heard::uncertain && inode.suspect))) {
    hear_outdated(inode, attributes, sent_epoch);
  }
}

/// A reply from while others changed the file, which tells what. False: it is to be judged alone.
bool Known::learn_told(Inode& inode, const Attributes& attributes,
                       const std::optional<Untold>& untold, std::uint64_t sent_epoch) {
  const bool ordered = inode.told_at != Moment() || inode.epoch <= sent_epoch;
  if (!untold || !ordered || !follows(inode) || !in_order(inode, attributes)) return false;
  follow(inode, {untold->parts, attributes, untold->as_of});
  return true;
}

Heard Known::learn(Inode& inode, const ReadReply& reply, std::uint64_t sent_epoch) {
  if (learn_told(inode, reply.attributes, reply.untold, sent_epoch)) return Heard::same;
  const Heard heard = hear(inode, reply.attributes, sent_epoch, parts_.time);
  if (heard == Heard::changed) content_changed(inode);
  return heard;
}

void Known::learn(Inode& inode, const OpenReply& reply, std::uint64_t sent_epoch) {
  if (learn_told(inode, reply.attributes, reply.untold, sent_epoch)) return;
  learn(inode, reply.attributes, sent_epoch);
}

InodeRef Known::learn(const Entry& entry, NodeNumber parent, const std::string& name,
                      std::uint64_t sent_epoch) {
  auto inode = inodes_.get(entry.node);
  learn(*inode, entry.attributes, sent_epoch);
  if (!is_dots(name) && inode->number != kRootNode) {
    const auto folder = inodes_.find(parent);
    // A page of a listing may be from before a change of ours.
    const std::uint64_t* changed_at = recently_named_.find(name_key(parent, name));
    if (changed_at == nullptr || *changed_at <= sent_epoch) {
      inodes_.set_name(*inode, parent, name, folder && folder->epoch <= sent_epoch);
    }
  }
  return inode;
}

void Known::learn_made(Inode& inode, const Attributes& attributes) {
  learn(inode, attributes, ++epoch_);
}

InodeRef Known::file_made(const EntryReply& made) {
  const auto inode = inodes_.get(made.entry.node);
  if (!overtaken(*inode, made.entry.attributes)) learn_made(*inode, made.entry.attributes);
  if (recently_noticed_.find(tag_of(inode->node)) != nullptr) inode->suspect = true;
  inode->held = true;
  inode->content.disk_known = inode->content.disk_known || !made.existed;
  return inode;
}

void Known::renamed(Inode& inode, const Attributes& after) {
  if (inode.rescuing) return;  // until then we go by what ours was made to
  if (!inode.known()) met(inode);
  const Version before = inode.server.version;
  if (hear_own_renaming(inode, after, ++epoch_, parts_.time) == Heard::changed) {
    content_changed(inode);
  } else if (inode.regular() && before.value != 0) {
    reader_.changed(inode, before, {});
  }
}

void Known::attributes_changed(Inode& inode, const Change& change) {
  hear_own_change(inode, change, ++epoch_, parts_.time);
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

void Known::changed(const InodeRef& inode, const AppliedOperation& operation) {
  const Attributes before = inode->server;
  inode->base_unknown = false;
  const auto compared = comparisons_.find(inode);
  if (compared != comparisons_.end() && operation.change.before == compared->second.version) {
    compared->second = operation.change.after;
  }
  if (hear_own_change(*inode, operation.change, ++epoch_, parts_.time) == Heard::changed) {
    return content_changed(*inode);
  }
  keep_known(*inode, before, operation);
  Spans parts(operation.offset, operation.offset + operation.length);
  if (operation.set_size) {
    constexpr auto kToTheEnd = std::numeric_limits<std::uint64_t>::max();
    parts.add(std::min(before.size, *operation.set_size), kToTheEnd);
  }
  reader_.changed(*inode, before.version, parts);
  // An answer to a repeated write tells of the file as it is now; what it holds is not known then.
  const auto& change = operation.change;
  const bool ours_alone =
      before.mode != 0 && change.before == before.version && change.after.version != change.before;
  if (!ours_alone) return;
  if (const std::uint64_t size = inode->server.size; before.size < size && !operation.append) {
    // What a file is longer by is zeros, but for what was put there.
    const std::uint64_t end =
        operation.length == 0 ? size : std::clamp(operation.offset, before.size, size);
    reader_.seed(inode, before.size, nullptr, {}, end - before.size);
  }
  if (operation.data) reader_.seed(inode, operation.offset, operation.data, *operation.data);
}

}  // namespace rushfs::fs

#include "fs/client/freshness.h"

#include <algorithm>

namespace rushfs::fs {

namespace {

/// Replies older than this many of our own changes are simply fetched again.
constexpr std::size_t kVersionsRemembered = 64;

bool ours(const Inode& inode, Version version) {
  return version == inode.server.version ||
         std::find(inode.our_versions.begin(), inode.our_versions.end(), version) !=
             inode.our_versions.end();
}

Heard replace(Inode& inode, const Attributes& attributes, const LoopTime& time) {
  const bool first = !inode.known();
  inode.server = attributes;
  inode.told_at = {};
  inode.validated = time.now;
  inode.our_versions.clear();
  if (first) return Heard::same;
  inode.kernel_pages_stale = true;
  return Heard::changed;
}

Heard follow(Inode& inode, const Attributes& attributes, const LoopTime& time) {
  if (attributes.version != inode.server.version) {
    inode.our_versions.push_back(inode.server.version);
    if (inode.our_versions.size() > kVersionsRemembered) inode.our_versions.pop_front();
  }
  inode.server = attributes;
  inode.told_at = {};
  inode.validated = time.now;
  return Heard::same;
}

}  // namespace

bool overtaken(Inode& inode, const Attributes& attributes) {
  if (!inode.known() || attributes.ctime >= inode.server.ctime) return false;
  inode.suspect = true;
  return true;
}

Heard hear(Inode& inode, const Attributes& attributes, std::uint64_t sent_epoch,
           const LoopTime& time) {
  if (inode.known() && (inode.changes_in_flight > 0 || inode.epoch > sent_epoch)) {
    return ours(inode, attributes.version) ? Heard::same : Heard::uncertain;
  }
  if (inode.known() && attributes.version == inode.server.version) {
    inode.server = attributes;
    inode.told_at = {};
    inode.validated = time.now;
    return Heard::same;
  }
  return replace(inode, attributes, time);
}

void hear_outdated(Inode& inode, const Attributes& attributes, std::uint64_t sent_epoch) {
  const bool asked_later = sent_epoch >= inode.own_epoch && sent_epoch >= inode.shown_epoch;
  if (!asked_later && attributes.ctime <= inode.server.ctime) return;
  const Version content = inode.server.version;
  inode.server = attributes;
  inode.server.version = content;
  inode.shown_epoch = std::max(inode.shown_epoch, sent_epoch);
}

Heard hear_own_change(Inode& inode, const Change& change, std::uint64_t epoch,
                      const LoopTime& time) {
  inode.epoch = inode.own_epoch = epoch;
  const bool expected = change.before == inode.server.version ||
                        change.after.version == inode.server.version;
  Attributes after = change.after;
  // Seen while the server took its last name away, it may still have that of what it keeps for us.
  if (inode.unlinked) after.links = inode.server.links;
  if (inode.known() && expected) {
    // What others made of it later is shown already (hear_outdated): that stays.
    const Version content = after.version;
    if (overtaken(inode, after)) after = inode.server;
    after.version = content;
    return follow(inode, after, time);
  }
  if (overtaken(inode, after)) return Heard::changed;
  return replace(inode, after, time);
}

void hear_told(Inode& inode, const Attributes& after, Moment when, const LoopTime& time) {
  // A state seen while a change was under way may be later than what is told of its moment.
  const bool later = when == inode.told_at && after.ctime > inode.server.ctime;
  if (when <= inode.told_at && !later) return;
  follow(inode, after, time);
  inode.told_at = when;
  if (after.links > 0) inode.unlinked = false;  // others may have given it a name
}

Heard hear_own_renaming(Inode& inode, const Attributes& after, std::uint64_t epoch,
                        const LoopTime& time) {
  inode.epoch = inode.own_epoch = epoch;
  if (overtaken(inode, after)) return Heard::same;
  // Of a suspect file newer attributes may be shown than those that its content belongs to.
  const bool content_untouched = !inode.suspect && after.mtime == inode.server.mtime &&
                                 after.size == inode.server.size;
  if (inode.known() && content_untouched) return follow(inode, after, time);
  return replace(inode, after, time);
}

}  // namespace rushfs::fs

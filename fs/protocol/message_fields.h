// The one description of each message's layout, used for writing and for reading alike: the order
// of the calls is the order on the wire. docs/file-protocol.md says the same in tables.
// Private to messages.cc.
#pragma once

#include "fs/protocol/messages.h"
#include "fs/protocol/names.h"
#include "fs/protocol/noun_fields.h"

namespace rushfs::fs::wire {

/// Who gives the change its place: a call, or the queue.
template <class A, class M>
void order_field(A& a, M& order) {
  bool queued = false;
  if constexpr (!A::kReads) queued = std::holds_alternative<QueuePosition>(order);
  a.flag(queued);
  if constexpr (A::kReads) {
    if (queued) order = QueuePosition{};
  }
  std::visit([&a](auto& each) { fields(a, each); }, order);
}
template <class A, class M>
void enumeration(A& a, M& value, std::remove_const_t<M> largest) {
  auto number = static_cast<std::uint8_t>(value);
  a.number(number, static_cast<std::uint8_t>(largest));
  if constexpr (A::kReads) value = static_cast<M>(number);
}

// Looking and reading.

template <class A>
void fields(A& a, In<A, Attach>& m) {
  a.number(m.version);
  a.text(m.export_name, kMaxExportName);
  a.text(m.subpath, kMaxPath);
  a.array(m.client.bytes);
  a.fixed64(m.incarnation);
  a.text(m.hostname, kMaxHostname);
  a.number(m.features);
}
template <class A>
void fields(A& a, In<A, AttachReply>& m) {
  fields(a, m.root);
  fields(a, m.attributes);
  fields(a, m.instance);
  a.number(m.max_read, kMaxTransfer);
  a.number(m.max_write, kMaxTransfer);
  if constexpr (A::kReads) {
    if (m.max_read < kMinTransfer || m.max_write < kMinTransfer) a.fail();
  }
  a.flag(m.read_only);
  a.flag(m.squashed);
  a.number(m.squash_uid);
  a.number(m.squash_gid);
  a.number(m.features);
  a.number(m.applied_through);
}
template <class A>
void fields(A&, In<A, Detach>&) {}
template <class A>
void fields(A&, In<A, EmptyReply>&) {}
template <class A>
void fields(A& a, In<A, Lookup>& m) {
  fields(a, m.directory);
  a.text(m.name, kMaxName);
}
template <class A>
void fields(A& a, In<A, LookupReply>& m) {
  maybe(a, m.entry);
  fields(a, m.directory);
}
template <class A>
void fields(A& a, In<A, GetAttributes>& m) {
  fields(a, m.node);
}
template <class A>
void fields(A& a, In<A, Touch>& m) {
  fields(a, m.node);
}
template <class A>
void fields(A& a, In<A, AttributesReply>& m) {
  fields(a, m.attributes);
}
template <class A>
void fields(A& a, In<A, Readlink>& m) {
  fields(a, m.node);
}
template <class A>
void fields(A& a, In<A, ReadlinkReply>& m) {
  a.text(m.target, kMaxPath);
  fields(a, m.attributes);
}
template <class A>
void fields(A& a, In<A, ReadDirectory>& m) {
  fields(a, m.directory);
  a.fixed64(m.cookie);
  a.number(m.max_bytes, kMaxTransfer);
  a.flag(m.with_entries);
}
template <class A>
void fields(A& a, In<A, DirectoryEntry>& m) {
  a.fixed64(m.cookie);
  a.number(m.inode);
  a.number(m.type);
  a.text(m.name, kMaxName);
  maybe(a, m.entry);
  if (is_dots(m.name) ? m.entry.has_value() : leads_away(m.name)) a.fail();
}
template <class A>
void fields(A& a, In<A, ReadDirectoryReply>& m) {
  fields(a, m.directory);
  a.flag(m.end);
  constexpr std::size_t kSmallestEntry = 12;  // bytes
  list(a, m.entries, kSmallestEntry);
}
template <class A>
void fields(A& a, In<A, StatFs>& m) {
  fields(a, m.node);
}
template <class A>
void fields(A& a, In<A, StatFsReply>& m) {
  for (auto* value : {&m.block_size, &m.blocks, &m.blocks_free, &m.blocks_available, &m.inodes,
                      &m.inodes_free, &m.inodes_available}) {
    a.number(*value);
  }
  a.number(m.name_max);
}
template <class A>
void fields(A& a, In<A, Open>& m) {
  fields(a, m.node);
  a.flag(m.hold);
  a.number(m.head_bytes, kMaxTransfer);
  a.number(m.tail_bytes, kMaxTransfer);
}
template <class A>
void fields(A& a, In<A, Untold>& m) {
  fields(a, m.as_of);
  fields(a, m.parts);
}
template <class A>
void fields(A& a, In<A, OpenReply>& m) {
  fields(a, m.attributes);
  a.data(m.head, kMaxTransfer);
  a.number(m.head_zeros, kMaxOffset);
  a.number(m.tail_offset, kMaxOffset);
  a.data(m.tail, kMaxTransfer);
  maybe(a, m.untold);
}
template <class A>
void fields(A& a, In<A, Release>& m) {
  fields(a, m.node);
}
template <class A>
void fields(A& a, In<A, Read>& m) {
  fields(a, m.node);
  a.number(m.offset);
  a.number(m.length, kMaxTransfer);
}
template <class A>
void fields(A& a, In<A, ReadReply>& m) {
  a.flag(m.end);
  a.data(m.data, kMaxTransfer);
  a.number(m.zeros_before, kMaxTransfer);
  a.number(m.zeros_after, kMaxOffset);
  fields(a, m.attributes);
  maybe(a, m.untold);
}

// Queued changes.

template <class A>
void fields(A& a, In<A, Write>& m) {
  fields(a, m.node);
  fields(a, m.position);
  a.number(m.offset);
  a.flag(m.drop_set_id);
  a.data(m.data, kMaxTransfer);
}
template <class A>
void fields(A& a, In<A, WriteReply>& m) {
  fields(a, m.change);
}
template <class A>
void fields(A& a, In<A, Commit>& m) {
  fields(a, m.node);
  a.number(m.through);
  a.flag(m.data_only);
}
template <class A>
void fields(A& a, In<A, CommitReply>& m) {
  fields(a, m.instance);
  a.number(m.through);
  fields(a, m.attributes);
}
template <class A>
void fields(A& a, In<A, SetAttributes>& m) {
  order_field(a, m.order);
  fields(a, m.node);
  maybe(a, m.mode);
  maybe(a, m.uid);
  maybe(a, m.gid);
  maybe(a, m.size);
  maybe(a, m.atime);
  maybe(a, m.mtime);
  a.flag(m.drop_set_id);
}
template <class A>
void fields(A& a, In<A, ChangeReply>& m) {
  fields(a, m.change);
}

// Changes of names.

/// What every call that makes or removes a name begins with.
template <class A, class M>
void name_fields(A& a, M& m) {
  fields(a, m.call);
  fields(a, m.directory);
  a.text(m.name, kMaxName);
}
template <class A>
void fields(A& a, In<A, Create>& m) {
  name_fields(a, m);
  fields(a, m.caller);
  a.number(m.mode);
  a.flag(m.exclusive);
  a.flag(m.truncate);
  a.flag(m.hold);
}
template <class A>
void fields(A& a, In<A, EntryReply>& m) {
  fields(a, m.entry);
  a.flag(m.existed);
  fields(a, m.directory);
}
template <class A>
void fields(A& a, In<A, MakeDirectory>& m) {
  name_fields(a, m);
  fields(a, m.caller);
  a.number(m.mode);
}
template <class A>
void fields(A& a, In<A, MakeNode>& m) {
  name_fields(a, m);
  fields(a, m.caller);
  a.number(m.mode);
  a.number(m.device_major);
  a.number(m.device_minor);
}
template <class A>
void fields(A& a, In<A, Symlink>& m) {
  name_fields(a, m);
  fields(a, m.caller);
  a.text(m.target, kMaxPath);
}
template <class A>
void fields(A& a, In<A, Link>& m) {
  name_fields(a, m);
  fields(a, m.node);
}
template <class A>
void fields(A& a, In<A, Unlink>& m) {
  name_fields(a, m);
  a.flag(m.hold);
}
template <class A>
void fields(A& a, In<A, RemoveDirectory>& m) {
  name_fields(a, m);
}
template <class A>
void fields(A& a, In<A, RemoveReply>& m) {
  fields(a, m.directory);
  maybe(a, m.removed);
}
template <class A>
void fields(A& a, In<A, Rename>& m) {
  fields(a, m.call);
  fields(a, m.from_directory);
  a.text(m.from_name, kMaxName);
  fields(a, m.to_directory);
  a.text(m.to_name, kMaxName);
  enumeration(a, m.mode, RenameMode::no_replace_whiteout);
  a.flag(m.hold_replaced);
}
template <class A>
void fields(A& a, In<A, RenameReply>& m) {
  fields(a, m.from_directory);
  fields(a, m.to_directory);
  fields(a, m.moved);
  maybe(a, m.replaced);
}
template <class A>
void fields(A& a, In<A, Measure>& m) {
  a.number(m.reply_bytes, kMaxTransfer);
  a.data(m.data, kMaxTransfer);
}
template <class A>
void fields(A& a, In<A, MeasureReply>& m) {
  a.data(m.data, kMaxTransfer);
}

}  // namespace rushfs::fs::wire

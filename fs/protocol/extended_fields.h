// Layouts of the messages in fs/protocol/extended_messages.h. Private to messages.cc.
#pragma once

#include "fs/protocol/message_fields.h"

namespace rushfs::fs::wire {

template <class A>
void fields(A& a, In<A, Xattr>& m) {
  a.text(m.name, kMaxXattrName);
  optional(a, m.value, [&a](auto& value) { a.text(value, kMaxXattrValue); });
}
template <class A>
void fields(A& a, In<A, ListXattrs>& m) {
  fields(a, m.node);
}
template <class A>
void fields(A& a, In<A, ListXattrsReply>& m) {
  fields(a, m.attributes);
  constexpr std::size_t kSmallestXattr = 2;  // bytes
  list(a, m.xattrs, kSmallestXattr);
}
template <class A>
void fields(A& a, In<A, GetXattr>& m) {
  fields(a, m.node);
  a.text(m.name, kMaxXattrName);
}
template <class A>
void fields(A& a, In<A, GetXattrReply>& m) {
  fields(a, m.attributes);
  a.text(m.value, kMaxXattrValue);
}
template <class A>
void fields(A& a, In<A, SetXattr>& m) {
  order_field(a, m.order);
  fields(a, m.node);
  a.text(m.name, kMaxXattrName);
  optional(a, m.value, [&a](auto& value) { a.text(value, kMaxXattrValue); });
  enumeration(a, m.mode, XattrMode::replace);
}
template <class A>
void fields(A& a, In<A, Allocate>& m) {
  order_field(a, m.order);
  fields(a, m.node);
  a.number(m.mode);
  a.number(m.offset);
  a.number(m.length);
}
template <class A>
void fields(A& a, In<A, DataRanges>& m) {
  fields(a, m.node);
  a.number(m.offset);
  a.number(m.count, kMaxDataRanges);
}
template <class A>
void fields(A& a, In<A, DataRangesReply>& m) {
  fields(a, m.attributes);
  a.number(m.known_to);
  constexpr std::size_t kSmallestRange = 2;  // bytes
  list(a, m.ranges, kSmallestRange);
  if constexpr (A::kReads) {
    std::uint64_t end = 0;
    for (const Span& range : m.ranges) {
      if (range.from < end || range.to < range.from || range.to > kMaxOffset) a.fail();
      end = range.to;
    }
  }
}
template <class A>
void fields(A& a, In<A, CopyRange>& m) {
  fields(a, m.call);
  fields(a, m.from);
  a.number(m.from_offset);
  fields(a, m.to);
  a.number(m.to_offset);
  a.number(m.length);
}
template <class A>
void fields(A& a, In<A, CopyRangeReply>& m) {
  a.number(m.copied);
  fields(a, m.change);
}
template <class A>
void fields(A& a, In<A, Append>& m) {
  fields(a, m.node);
  fields(a, m.position);
  a.number(m.expected);
  a.flag(m.repeated);
  a.data(m.data, kMaxTransfer);
}
template <class A>
void fields(A& a, In<A, AppendReply>& m) {
  fields(a, m.change);
  optional(a, m.offset, [&a](auto& offset) { a.number(offset, kMaxOffset); });
}
template <class A>
void fields(A& a, In<A, CreateUnnamed>& m) {
  fields(a, m.call);
  fields(a, m.directory);
  fields(a, m.caller);
  a.number(m.mode);
}
template <class A>
void fields(A& a, In<A, FileFlags>& m) {
  fields(a, m.call);
  fields(a, m.node);
  maybe(a, m.set);
}
template <class A>
void fields(A& a, In<A, FileFlagsReply>& m) {
  a.number(m.flags);
  fields(a, m.change);
}

}  // namespace rushfs::fs::wire

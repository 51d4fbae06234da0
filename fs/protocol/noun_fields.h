// Layouts of the nouns in message_types.h and spans.h, and of parts that may be missing and
// lists. Private to messages.cc.
#pragma once

#include "fs/protocol/message_types.h"
#include "fs/protocol/spans.h"
#include "fs/protocol/wire.h"

namespace rushfs::fs::wire {

/// A message while it is written (const) or read.
template <class A, class M>
using In = std::conditional_t<A::kReads, M, const M>;

// The nouns.

template <class A>
void fields(A& a, In<A, NodeId>& m) {
  a.text(m.bytes, kMaxNodeId);
  if constexpr (A::kReads) {
    if (m.bytes.empty()) a.fail();
  }
}
template <class A>
void fields(A& a, In<A, Version>& m) {
  a.fixed64(m.value);
}
template <class A>
void fields(A& a, In<A, InstanceId>& m) {
  a.fixed64(m.value);
}
/// Seconds are mapped so that small numbers of either sign are short: 0, -1, 1, -2, ...
template <class A>
void fields(A& a, In<A, Timestamp>& m) {
  auto zigzag =
      (static_cast<std::uint64_t>(m.seconds) << 1) ^ static_cast<std::uint64_t>(m.seconds >> 63);
  a.number(zigzag);
  if constexpr (A::kReads)
    m.seconds = static_cast<std::int64_t>((zigzag >> 1) ^ (0 - (zigzag & 1)));
  a.number(m.nanoseconds, 999'999'999);
}
template <class A>
void fields(A& a, In<A, TimeChange>& m) {
  a.flag(m.now);
  if (!m.now) fields(a, m.time);
}
template <class A>
void fields(A& a, In<A, Attributes>& m) {
  fields(a, m.version);
  a.number(m.inode);
  a.number(m.mode);
  a.number(m.links);
  a.number(m.uid);
  a.number(m.gid);
  a.number(m.device_major);
  a.number(m.device_minor);
  a.number(m.size, kMaxOffset);
  a.number(m.blocks);
  a.number(m.block_size);
  fields(a, m.atime);
  fields(a, m.mtime);
  fields(a, m.ctime);
  fields(a, m.btime);
  a.number(m.traits);
}
template <class A>
void fields(A& a, In<A, Entry>& m) {
  fields(a, m.node);
  fields(a, m.attributes);
}
template <class A>
void fields(A& a, In<A, Change>& m) {
  fields(a, m.before);
  fields(a, m.after);
}
template <class A>
void fields(A& a, In<A, Caller>& m) {
  a.number(m.uid);
  a.number(m.gid);
  a.number(m.umask, 0777);
}
template <class A>
void fields(A& a, In<A, CallNumber>& m) {
  a.number(m.number);
  a.number(m.lowest_unanswered);
}
template <class A>
void fields(A& a, In<A, QueuePosition>& m) {
  a.number(m.sequence);
  a.number(m.after);
  a.number(m.floor);
}
template <class A>
void fields(A& a, In<A, Moment>& m) {
  a.number(m.count);
}
template <class A>
void fields(A& a, In<A, Span>& m) {
  a.number(m.from);
  a.number(m.to);
}
template <class A>
void fields(A& a, In<A, Spans>& m) {
  std::vector<Span> spans = m.list();
  std::uint64_t count = spans.size();
  a.number(count, Spans::kMost);
  spans.resize(count);
  for (Span& span : spans) {
    fields(a, span);
    if (A::kReads && span.from >= span.to) a.fail();
    if constexpr (A::kReads) m.add(span.from, span.to);
  }
  if (A::kReads && a.ok() && m.list() != spans) a.fail();  // touching, or not in order
}
template <class A, class M>
void maybe(A& a, M& part) {
  optional(a, part, [&a](auto& inner) {
    if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(inner)>>) {
      a.number(inner);
    } else {
      fields(a, inner);
    }
  });
}

/// A list: how many, then each. No reply makes us allocate beyond its size.
template <class A, class M>
void list(A& a, M& items, std::size_t smallest) {
  if constexpr (A::kReads) {
    std::uint64_t count = 0;
    a.number(count, a.left() / smallest);
    for (std::uint64_t i = 0; i < count && a.ok(); ++i) fields(a, items.emplace_back());
  } else {
    a.number(items.size());
    for (const auto& item : items) fields(a, item);
  }
}

}  // namespace rushfs::fs::wire

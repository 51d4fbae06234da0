// Layouts of the messages in lock_messages.h and notices.h. Private to messages.cc.
#pragma once

#include "fs/protocol/message_fields.h"
#include "fs/protocol/names.h"
#include "fs/protocol/notices.h"

namespace rushfs::fs::wire {

template <class A>
void fields(A& a, In<A, LockSpan>& m) {
  enumeration(a, m.kind, LockKind::whole);
  enumeration(a, m.type, LockType::none);
  a.number(m.first, kLockToEnd);
  a.number(m.last, kLockToEnd);
}
template <class A>
void fields(A& a, In<A, Lock>& m) {
  fields(a, m.node);
  a.fixed64(m.owner);
  a.number(m.process);
  fields(a, m.span);
  a.flag(m.wait);
  a.number(m.ticket);
  a.flag(m.reclaim);
}
template <class A>
void fields(A& a, In<A, LockReply>& m) {
  fields(a, m.attributes);
  a.number(m.notices);
}
template <class A>
void fields(A& a, In<A, TestLock>& m) {
  fields(a, m.node);
  a.fixed64(m.owner);
  fields(a, m.span);
}
template <class A>
void fields(A& a, In<A, TestLockReply>& m) {
  maybe(a, m.conflict);
  a.number(m.process);
}
template <class A>
void fields(A& a, In<A, CancelLock>& m) {
  a.number(m.ticket);
}

template <class A>
void fields(A& a, In<A, ContentChange>& m) {
  fields(a, m.when);
  fields(a, m.parts);
  fields(a, m.after);
}
template <class A>
void fields(A& a, In<A, NoticedChange>& m) {
  a.fixed64(m.node.value);
  a.text(m.name, kMaxName);
  if (m.name.empty()) return maybe(a, m.content);
  if (leads_away(m.name)) a.fail();
}
template <class A>
void fields(A& a, In<A, Notice>& m) {
  a.number(m.number);
  a.flag(m.everything);
  constexpr std::size_t kSmallestChange = 10;  // bytes
  list(a, m.changes, kSmallestChange);
}

}  // namespace rushfs::fs::wire

// Telling the kernel to drop what it holds. Dropping a name waits for whoever changes names in its
// folder, who may wait for an answer of ours; and some answers wait for pages to be dropped. So
// names have a thread of their own.
#include <boost/asio/post.hpp>
#include <utility>

#include "fs/mount/fuse_kernel.h"

namespace rushfs::fs {
namespace {

/// Attributes, and these pages.
void notify(fuse_session* session, NodeNumber number, const Spans& pages) {
  constexpr off_t kNoPages = -1, kToTheEnd = 0;
  if (pages.empty()) fuse_lowlevel_notify_inval_inode(session, number.value, kNoPages, 0);
  for (const Span& part : pages.list()) {
    const bool to_the_end = part.to > kMaxOffset;
    fuse_lowlevel_notify_inval_inode(
        session, number.value, static_cast<off_t>(part.from),
        to_the_end ? kToTheEnd : static_cast<off_t>(part.to - part.from));
  }
}

}  // namespace

// A reply with attributes has no effect in the kernel if the file is invalidated meanwhile; whoever
// wanted to read behind the end that the kernel knew would then be told that there is nothing.
void FuseSession::Kernel::invalidate(NodeNumber number, const Spans& pages) {
  if (!mounted_) return;
  const auto asked = asked_.find(number.value);
  if (asked == asked_.end()) return begin_invalidation(number, pages);
  auto& wanted = asked->second.invalidate;
  if (!wanted) wanted.emplace();
  wanted->add(pages);
}

void FuseSession::Kernel::attributes_asked(NodeNumber number) { ++asked_[number.value].requests; }

void FuseSession::Kernel::attributes_answered(NodeNumber number) {
  const auto found = asked_.find(number.value);
  if (--found->second.requests > 0) return;
  if (!found->second.invalidate) return void(asked_.erase(found));
  // When whoever asked has taken the answer in.
  constexpr auto kTakenIn = std::chrono::milliseconds(2);
  auto& taken_in = found->second.taken_in.emplace(loop_, kTakenIn);
  taken_in.async_wait([this, number](const boost::system::error_code& error) {
    if (!error) catch_up(number);
  });
}

void FuseSession::Kernel::catch_up(NodeNumber number) {
  const auto found = asked_.find(number.value);
  if (found == asked_.end() || found->second.requests > 0) return;
  auto invalidate = std::move(found->second.invalidate);
  asked_.erase(found);
  if (invalidate) begin_invalidation(number, std::move(*invalidate));
}

void FuseSession::Kernel::begin_invalidation(NodeNumber number, Spans pages) {
  ++invalidations_[number.value].under_way;
  pages_.post([this, number, pages = std::move(pages)] {
    notify(session_, number, pages);
    boost::asio::post(loop_, [this, number] { invalidated(number); });
  });
}

void FuseSession::Kernel::invalidated(NodeNumber number) {
  const auto found = invalidations_.find(number.value);
  if (--found->second.under_way > 0) return;
  auto settled = std::move(found->second.settled);
  invalidations_.erase(found);
  for (auto& then : settled) std::move(then)();
}

void FuseSession::Kernel::after_invalidation(NodeNumber number,
                                             absl::AnyInvocable<void() &&> then) {
  const auto found = invalidations_.find(number.value);
  if (found == invalidations_.end()) return std::move(then)();
  found->second.settled.push_back(std::move(then));
}

// A write through the kernel's cache looks like a direct one where O_DIRECT is set meanwhile
// (fcntl(2)); then its pages cannot be dropped before it is answered.
void FuseSession::Kernel::after_quick_invalidation(NodeNumber number, std::function<void()> then) {
  constexpr auto kMoment = std::chrono::seconds(1);
  const auto limit = std::make_shared<boost::asio::steady_timer>(loop_, kMoment);
  const auto once = [left = std::make_shared<std::function<void()>>(std::move(then))] {
    if (const auto run = std::exchange(*left, nullptr)) run();
  };
  limit->async_wait([once](const boost::system::error_code&) { once(); });
  after_invalidation(number, [limit, once] {
    once();
    limit->cancel();
  });
}

void FuseSession::Kernel::settle(absl::AnyInvocable<void() &&> then) {
  if (!mounted_) return std::move(then)();
  for (auto& [number, asked] : asked_) {
    if (auto pages = std::exchange(asked.invalidate, std::nullopt)) {
      begin_invalidation({number}, std::move(*pages));
    }
  }
  names_.post([this, then = std::move(then)]() mutable {
    pages_.post([this, then = std::move(then)]() mutable {
      boost::asio::post(loop_, std::move(then));
    });
  });
}

void FuseSession::Kernel::invalidate_name(NodeNumber parent, const std::string& name) {
  if (!mounted_) return;
  names_.post([session = session_, parent, name] {
    fuse_lowlevel_notify_inval_entry(session, parent.value, name.data(), name.size());
  });
}

}  // namespace rushfs::fs

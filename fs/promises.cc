#include "fs/promises.h"

#include <algorithm>

namespace rushfs::fs {
namespace {

/// Changes remembered for questions under way, in each of two generations.
constexpr std::size_t kMaxRecent = 32768;

}  // namespace

void Promises::begin(const ClientTag& client) { listeners_[client] = Listener(); }
void Promises::end(const ClientTag& client) { listeners_.erase(client); }

const Promises::Last* Promises::last_change(NodeTag tag) const {
  if (const auto found = recent_.find(tag); found != recent_.end()) return &found->second;
  if (const auto found = older_.find(tag); found != older_.end()) return &found->second;
  return nullptr;
}

void Promises::remember(NodeTag tag, const std::optional<ClientTag>& by) {
  const Last* before = last_change(tag);
  Last last{clock_, by, 0};
  if (before != nullptr) last.other = before->by == by ? before->other : before->when;
  if (recent_.size() >= kMaxRecent) {
    older_ = std::move(recent_);
    recent_.clear();
    remembered_since_ = recent_since_;
    recent_since_ = clock_;
  }
  recent_[tag] = last;
}

void Promises::doubt(Listener& listener) {
  listener.waiting.clear();
  listener.waiting_once.clear();
  listener.everything = true;
}

void Promises::add(Listener& listener, NodeTag tag, const std::string& name) {
  if (listener.everything) return;
  NoticedChange change{tag, name};
  if (!listener.waiting_once.insert(change).second) return;
  listener.waiting.push_back(std::move(change));
  if (listener.waiting.size() > kMaxWaiting) doubt(listener);
}

void Promises::promise(const ClientTag& client, const NodeId& node, std::uint64_t asked) {
  const auto found = listeners_.find(client);
  if (found == listeners_.end()) return;
  Listener& listener = found->second;
  const NodeTag tag = tag_of(node);
  if (!listener.hears_all) listener.promised.insert(tag);
  if (listener.promised.size() > kMaxPromised) {
    listener.promised.clear();
    listener.hears_all = true;
  }
  // It may have changed between the worker's look and this moment.
  if (asked == clock_) return;
  const Last* last = last_change(tag);
  const bool changed = last != nullptr ? (last->by != client ? last->when : last->other) > asked
                                       : asked < remembered_since_;
  if (changed) add(listener, tag, "");
}

void Promises::changed(const NodeId& node, const std::optional<ClientTag>& by,
                       const std::string& name) {
  if (listeners_.empty()) return;
  const NodeTag tag = tag_of(node);
  ++clock_;
  remember(tag, by);
  for (auto& [client, listener] : listeners_) {
    if (client == by) continue;
    if (listener.hears_all || listener.promised.contains(tag)) add(listener, tag, name);
  }
}

void Promises::changed_everything() {
  ++clock_;
  recent_.clear();
  older_.clear();
  recent_since_ = remembered_since_ = clock_;
  for (auto& [client, listener] : listeners_) doubt(listener);
}

std::vector<Promises::Due> Promises::due() {
  std::vector<Due> out;
  for (auto& [client, listener] : listeners_) {
    if (listener.unanswered || (listener.waiting.empty() && !listener.everything)) continue;
    Notice notice;
    notice.everything = std::exchange(listener.everything, false);
    while (!listener.waiting.empty() && notice.changes.size() < kMaxNoticed) {
      listener.waiting_once.erase(listener.waiting.front());
      notice.changes.push_back(std::move(listener.waiting.front()));
      listener.waiting.pop_front();
    }
    listener.unanswered = true;
    ++listener.notices;
    out.push_back({client, std::move(notice)});
  }
  return out;
}

void Promises::answered(const ClientTag& client) {
  const auto found = listeners_.find(client);
  if (found != listeners_.end()) found->second.unanswered = false;
}

std::uint64_t Promises::told_with(const ClientTag& client) const {
  const auto found = listeners_.find(client);
  if (found == listeners_.end()) return 0;
  const Listener& listener = found->second;
  const std::uint64_t more = (listener.waiting.size() + kMaxNoticed - 1) / kMaxNoticed;
  return listener.notices + std::max<std::uint64_t>(more, listener.everything ? 1 : 0);
}

}  // namespace rushfs::fs

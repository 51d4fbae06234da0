#include "fs/server/promises.h"

#include <algorithm>

namespace rushfs::fs {
namespace {

/// Changes remembered for questions under way, in each of two generations.
constexpr std::size_t kMaxRecent = 32768;

std::optional<Spans> parts_of(const NoticedChange& change) {
  if (!change.content) return std::nullopt;
  return change.content->parts;
}

}  // namespace

std::size_t Promises::Listener::kept() const {
  std::size_t all = waiting.size();
  for (const Sent& sent : unanswered) all += sent.contents.size();
  return all;
}

bool Promises::Listener::to_be_told() const {
  const bool room = unanswered.empty() || (!rests && unanswered.size() < kMaxUnanswered);
  return room && (everything || !waiting.empty() || notices < owed);
}

void Promises::begin(const ClientTag& client) {
  end(client);
  listeners_[client];
}

void Promises::end(const ClientTag& client) {
  const auto found = listeners_.find(client);
  if (found == listeners_.end()) return;
  promised_ -= found->second.promised.size();
  kept_ -= found->second.kept();
  listeners_.erase(found);
  due_.erase(client);
}

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

void Promises::doubt(const ClientTag& client, Listener& listener) {
  listener.owed = told_with(client);
  kept_ -= listener.kept();
  for (Sent& sent : listener.unanswered) sent.contents.clear();
  listener.waiting.clear();
  listener.waiting_by_place.clear();
  listener.everything = true;
  due_.insert(client);
}

void Promises::hear_all(Listener& listener) {
  promised_ -= listener.promised.size();
  listener.promised = {};
  listener.hears_all = true;
}

Promises::Listeners::value_type& Promises::greatest(std::size_t (*size)(const Listener&)) {
  return *std::ranges::max_element(
      listeners_, {}, [size](const auto& entry) { return size(entry.second); });
}

void Promises::add(const ClientTag& client, Listener& listener, const NoticedChange& change) {
  if (listener.everything) return;
  auto& waits = listener.waiting_by_place[{change.node, change.name}];
  if (waits == nullptr) {
    waits = &listener.waiting.emplace_back(change);
    ++kept_;
    due_.insert(client);
  } else if (waits->content && change.content) {
    waits->content->parts.add(change.content->parts);
    waits->content->after = change.content->after;
    waits->content->when = change.content->when;
  } else {
    waits->content.reset();
  }
  if (listener.waiting.size() > limits_.waiting) return doubt(client, listener);
  if (kept_ <= limits_.waiting_for_all) return;
  auto& [slowest, most] = greatest([](const Listener& each) { return each.kept(); });
  doubt(slowest, most);
}

void Promises::promise(const ClientTag& client, const NodeId& node, std::uint64_t asked) {
  const auto found = listeners_.find(client);
  if (found == listeners_.end()) return;
  Listener& listener = found->second;
  const NodeTag tag = tag_of(node);
  if (listener.hears_all || !listener.promised.insert(tag).second) return;
  ++promised_;
  if (listener.promised.size() > limits_.promised) {
    hear_all(listener);
  } else if (promised_ > limits_.promised_to_all) {
    hear_all(greatest([](const Listener& each) { return each.promised.size(); }).second);
  }
  // It may have changed between the worker's look and this moment.
  if (asked == clock_) return;
  const Last* last = last_change(tag);
  const bool changed = last != nullptr ? (last->by != client ? last->when : last->other) > asked
                                       : asked < remembered_since_;
  if (changed) add(client, listener, {tag, "", std::nullopt});
}

void Promises::changed(const NodeId& node, const std::optional<ClientTag>& by,
                       const std::string& name) {
  tell({tag_of(node), name, std::nullopt}, by);
}

void Promises::changed(const NodeId& node, const ClientTag& by, const Spans& parts,
                       const Attributes& after) {
  tell({tag_of(node), "", ContentChange{parts, after, {}}}, by);
}

void Promises::tell(NoticedChange change, const std::optional<ClientTag>& by) {
  if (listeners_.empty()) return;
  ++clock_;
  if (change.content) change.content->when = {clock_};
  remember(change.node, by);
  for (auto& [client, listener] : listeners_) {
    if (client == by) continue;
    if (listener.hears_all || listener.promised.contains(change.node)) {
      add(client, listener, change);
    }
  }
}

void Promises::changing(const NodeId& node, const std::optional<Spans>& parts) {
  changing_[tag_of(node)] = parts;
}

void Promises::settled(const NodeId& node) { changing_.erase(tag_of(node)); }

std::optional<Untold> Promises::untold(const ClientTag& client, const NodeId& node,
                                       std::uint64_t asked) const {
  const NodeTag tag = tag_of(node);
  const auto found = listeners_.find(client);
  if (found == listeners_.end() || !found->second.promised.contains(tag)) return std::nullopt;
  const Listener& listener = found->second;
  if (listener.everything) return std::nullopt;
  Untold all{{asked}, {}};
  bool any = false, certain = true;
  const auto add = [&](const std::optional<Spans>& parts) {
    any = true;
    certain = certain && parts;
    if (parts) all.parts.add(*parts);
  };
  if (const auto waits = listener.waiting_by_place.find({tag, ""});
      waits != listener.waiting_by_place.end()) {
    add(parts_of(*waits->second));
  }
  for (const Sent& notice : listener.unanswered) {
    if (notice.everything) return std::nullopt;
    if (const auto sent = notice.contents.find(tag); sent != notice.contents.end()) {
      add(sent->second);
    }
  }
  if (const auto now = changing_.find(tag); now != changing_.end()) add(now->second);
  if (!any || !certain) return std::nullopt;
  return all;
}

void Promises::changed_everything() {
  ++clock_;
  recent_.clear();
  older_.clear();
  recent_since_ = remembered_since_ = clock_;
  for (auto& [client, listener] : listeners_) doubt(client, listener);
}

std::vector<Promises::Due> Promises::due() {
  std::vector<Due> out;
  for (const ClientTag& client : std::exchange(due_, {})) {
    Listener& listener = listeners_.at(client);
    if (!listener.to_be_told()) continue;
    kept_ -= listener.kept();
    Notice notice;
    notice.number = ++listener.notices;
    notice.everything = std::exchange(listener.everything, false);
    while (!listener.waiting.empty() && notice.changes.size() < kMaxNoticed) {
      NoticedChange& first = listener.waiting.front();
      listener.waiting_by_place.erase({first.node, first.name});
      notice.changes.push_back(std::move(first));
      listener.waiting.pop_front();
    }
    Sent sent{notice.everything, {}};
    for (const NoticedChange& change : notice.changes) {
      if (change.name.empty()) sent.contents[change.node] = parts_of(change);
    }
    listener.unanswered.push_back(std::move(sent));
    listener.rests = true;
    kept_ += listener.kept();
    out.push_back({client, std::move(notice)});
  }
  return out;
}

void Promises::answered(const ClientTag& client) {
  const auto found = listeners_.find(client);
  if (found == listeners_.end() || found->second.unanswered.empty()) return;
  Listener& listener = found->second;
  kept_ -= listener.unanswered.front().contents.size();
  listener.unanswered.pop_front();
  if (listener.to_be_told()) due_.insert(client);
}

void Promises::rested() {
  for (auto& [client, listener] : listeners_) {
    listener.rests = false;
    if (listener.to_be_told()) due_.insert(client);
  }
}

std::uint64_t Promises::told_with(const ClientTag& client) const {
  const auto found = listeners_.find(client);
  if (found == listeners_.end()) return 0;
  const Listener& listener = found->second;
  const std::uint64_t more = (listener.waiting.size() + kMaxNoticed - 1) / kMaxNoticed;
  return listener.notices + std::max<std::uint64_t>(more, listener.everything ? 1 : 0);
}

}  // namespace rushfs::fs

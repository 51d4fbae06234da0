#include "tests/sim/mount_model.h"

#include <algorithm>

namespace rushfs::sim {

namespace {

using namespace std::chrono_literals;

using Kind = OwnChange::Kind;

/// What has no tag leaves no trace of its own: others may have made the same.
bool shows(const OwnChange& change, const std::string& bytes) {
  if (change.kind == Kind::resize) return bytes.size() == change.size;
  if (change.kind == Kind::grow) return bytes.size() >= change.size;
  if (change.kind == Kind::copy) return false;
  const auto first = bytes.find_first_not_of('\0', change.offset);
  return first == bytes.npos || first >= change.offset + change.size;
}

/// What is there at `at` before the change is not there any more.
bool takes(const OwnChange& change, std::uint64_t at) {
  if (change.kind == Kind::resize) return at >= change.size;
  if (change.kind != Kind::clear) return change.kind == Kind::replace;
  return at >= change.offset && at < change.offset + change.size;
}

void carry_out(const OwnChange& change, std::string& bytes) {
  if (change.kind == Kind::resize) return bytes.resize(change.size);
  if (change.kind == Kind::grow) return bytes.resize(std::max(bytes.size(), change.size));
  if (change.kind == Kind::clear) {
    if (change.offset >= bytes.size()) return;
    const auto count = std::min(change.size, bytes.size() - change.offset);
    bytes.replace(change.offset, count, count, '\0');
    return;
  }
  if (change.kind == Kind::replace) bytes.clear();
  if (bytes.size() < change.offset + change.bytes.size()) {
    bytes.resize(change.offset + change.bytes.size());
  }
  bytes.replace(change.offset, change.bytes.size(), change.bytes);
}

}  // namespace

bool MountModel::Own::all_settled() const {
  return std::all_of(changes.begin(), changes.end(),
                     [](const OwnChange& change) { return change.settled.has_value(); });
}

void MountModel::link(bool up, TimePoint now) {
  if (up) last_up_ = now;
  if (up && !up_since_) up_since_ = last_up_since_ = now;
  if (!up) up_since_.reset();
}

// "Names, attributes and the absence of a name may be used for one second without asking": so what
// was heard before a short cut may be shown that long.
TimePoint MountModel::oldest(TimePoint asked) const {
  if (!up_since_ || asked - *up_since_ < news_ + 1s) return TimePoint::min();
  return asked - news_;
}

std::uint64_t MountModel::begin(const FileKey& key, OwnChange change, TimePoint now) {
  Own& own = own_[key];
  for (const auto& before : own.changes) {
    if (before.answered == 0 && (before.tag == 0 || change.tag == 0)) own.vague = true;
  }
  // What comes of it, only the server knows.
  if (change.kind == Kind::append || change.kind == Kind::copy) own.vague = true;
  change.id = next_id_++;
  change.begun = now;
  own.changes.push_back(std::move(change));
  return own.changes.back().id;
}

void MountModel::finish(const FileKey& key, std::uint64_t id, bool well) {
  Own& own = own_[key];
  const auto found = std::find_if(own.changes.begin(), own.changes.end(),
                                  [&](const auto& change) { return change.id == id; });
  if (found == own.changes.end()) return;
  found->answered = ++answers_;
  found->before = next_id_;
  if (well) return;
  own.vague = true;
  found->may_be_lost = true;
}

void MountModel::made(const FileKey& key, std::uint64_t id, std::size_t state) {
  for (auto& change : own_[key].changes) {
    if (change.id == id) change.made = state;
  }
}

void MountModel::refused(const FileKey& key, std::uint64_t id) {
  std::erase_if(own_[key].changes, [&](const auto& change) { return change.id == id; });
}

void MountModel::durable(std::uint64_t answered) {
  for (auto& [file, own] : own_) {
    for (auto& change : own.changes) {
      if (change.answered != 0 && change.answered <= answered) change.durable = true;
    }
  }
}

std::vector<Tag> MountModel::missing(const FileKey& key, const Own& own,
                                     std::uint64_t answered) const {
  if (own.aside) return {};
  const auto& states = history_.file(key);
  // What waits for a file that was removed is dropped when nobody has it open.
  for (const auto& state : states) {
    if (state.links == 0) return {};
  }
  std::map<std::uint64_t, const OwnChange*> last;  // by cell
  // One that was under way with what takes it away may have come before that.
  const auto cut = [&](const OwnChange& change, std::uint64_t at) {
    return std::any_of(own.changes.begin(), own.changes.end(), [&](const OwnChange& other) {
      return other.tag == 0 && takes(other, at) && other.id < change.id &&
             change.id < other.before;
    });
  };
  for (const auto& change : own.changes) {
    std::erase_if(last, [&](auto& cell) { return takes(change, cell.first); });
    if (change.kind == Kind::append) {
      last[~change.id] = &change;
      continue;
    }
    for (std::size_t at = 0; at < change.bytes.size(); at += kCell) {
      if (!cut(change, change.offset + at)) last[change.offset + at] = &change;
    }
  }
  std::vector<Tag> tags;
  for (const auto& [at, change] : last) {
    const bool due = change->answered != 0 && change->answered <= answered && !change->settled &&
                     !change->may_be_lost;
    if (due && !history_.arrived(change->tag)) tags.push_back(change->tag);
  }
  return tags;
}

std::vector<Tag> MountModel::missing(const FileKey& key, std::uint64_t answered) const {
  const auto found = own_.find(key);
  return found == own_.end() ? std::vector<Tag>{} : missing(key, found->second, answered);
}

std::vector<Tag> MountModel::missing(std::uint64_t answered) const {
  std::vector<Tag> lost;
  for (const auto& [key, own] : own_) {
    const auto gone = missing(key, own, answered);
    lost.insert(lost.end(), gone.begin(), gone.end());
  }
  return lost;
}

std::vector<Tag> MountModel::drained(TimePoint now) {
  constexpr auto kLongestOperation = 120s;
  const auto lost = missing(answers_);
  for (auto& [key, own] : own_) {
    std::size_t floor = own.floor;
    for (auto& change : own.changes) {
      if (change.answered == 0 || change.settled) continue;
      change.settled = now;
      const auto* seen = change.tag ? history_.first_seen(key, change.tag) : nullptr;
      floor = std::max({floor, seen ? *seen : 0, change.made.value_or(0)});
    }
    if (floor != own.floor) {
      own.floor_before = std::exchange(own.floor, floor);
      own.floor_since = now;
    }
    std::erase_if(own.changes, [&](const auto& change) {
      return change.settled && now - *change.settled > kLongestOperation;
    });
    if (own.vague && own.all_settled()) {
      own.vague = false;
      own.vague_until = now;
    }
    own.aside = false;
  }
  return lost;
}

bool MountModel::settled(Tag tag) const {
  for (const auto& [key, own] : own_) {
    for (const auto& change : own.changes) {
      if (change.tag == tag) return change.settled && !change.may_be_lost;
    }
  }
  return false;
}

void MountModel::killed() {
  up_since_.reset();
  for (auto& [key, own] : own_) {
    for (auto& change : own.changes) {
      if (change.settled) continue;
      if (!change.durable) change.may_be_lost = own.vague = true;
      if (change.answered == 0) change.answered = ++answers_;
    }
  }
}

void MountModel::set_aside(bool parked) {
  for (auto& [key, own] : own_) {
    own.vague = true;
    own.aside = own.aside || parked;
  }
}

bool MountModel::arrived(const FileKey& key, const OwnChange& change, std::size_t state) const {
  if (change.tag != 0) {
    const auto* first = history_.first_seen(key, change.tag);
    return first && *first <= state;
  }
  // Somebody has made it so, or it was seen to be that already.
  const auto& states = history_.file(key);
  for (std::size_t i = state + 1; i > 0; --i) {
    if (states[i - 1].bytes && shows(change, *states[i - 1].bytes)) return true;
    if (states[i - 1].since < change.begun - news_) break;
  }
  return false;
}

// All that came before the last change that is seen at the server has arrived too: "Data leaves in
// the order it was written, per file always".
std::size_t MountModel::arrived(const FileKey& key, const Own& own, std::size_t state) const {
  for (std::size_t i = own.changes.size(); i > 0; --i) {
    if (arrived(key, own.changes[i - 1], state)) return i;
  }
  return 0;
}

bool MountModel::may_show(const FileKey& key, const Asked& asked, TimePoint now,
                          const Fits& fits) const {
  static const Own none;
  const auto found = own_.find(key);
  const Own& all = found == own_.end() ? none : found->second;
  if (all.vague || asked.when <= all.vague_until) return true;
  Own own;
  for (const auto& change : all.changes) {
    if (!change.settled || *change.settled >= asked.when) own.changes.push_back(change);
  }
  // Without a link, a file is as it was known under the name.
  if (!cut_since(asked.when)) {
    own.floor = asked.when <= all.floor_since ? all.floor_before : all.floor;
  }
  const auto& states = history_.file(key);
  if (states.empty()) return false;
  std::size_t must = 0;
  for (std::size_t i = 0; i < own.changes.size(); ++i) {
    const auto answered = own.changes[i].answered;
    if (answered != 0 && answered <= asked.answered) must = i + 1;
  }
  const auto [first, last] = states_within(states, oldest(asked.when), now);
  for (std::size_t i = std::max(first, own.floor); i <= last; ++i) {
    const std::size_t dispensable = arrived(key, own, i);
    for (std::size_t begin = 0; begin <= dispensable; ++begin) {
      if (!states[i].bytes) return true;  // gone: whoever still has it open has what he has
      std::string bytes = *states[i].bytes;
      for (std::size_t to = begin; to <= own.changes.size(); ++to) {
        if (to > begin) carry_out(own.changes[to - 1], bytes);
        if (to >= must && fits(states[i], bytes)) return true;
      }
    }
  }
  return false;
}

void MountModel::named(const FileKey& folder, const std::string& name, std::size_t state) {
  auto& least = named_[{folder, name}];
  least = std::max(least, state);
}

std::size_t MountModel::named_state(const FileKey& folder, const std::string& name) const {
  const auto found = named_.find({folder, name});
  return found == named_.end() ? 0 : found->second;
}

std::size_t MountModel::named_state(const FileKey& folder) const {
  std::size_t least = 0;
  for (const auto& [name, state] : named_) {
    if (name.first == folder) least = std::max(least, state);
  }
  return least;
}

}  // namespace rushfs::sim

// A map of bounded size that forgets what was not used for longest.
#pragma once

#include <cstddef>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>

namespace rushfs::fs {

template <class Key, class Value>
class RecentMap {
 public:
  explicit RecentMap(std::size_t limit) : limit_(limit) {}

  /// Null: not there. Counts as a use.
  Value* find(const Key& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->second;
  }
  /// Returns what had to go for it.
  std::optional<Key> put(const Key& key, Value value) {
    if (Value* present = find(key)) {
      *present = std::move(value);
      return std::nullopt;
    }
    order_.emplace_front(key, std::move(value));
    index_.emplace(key, order_.begin());
    if (order_.size() <= limit_) return std::nullopt;
    std::optional<Key> gone(order_.back().first);
    index_.erase(*gone);
    order_.pop_back();
    return gone;
  }
  void erase(const Key& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return;
    order_.erase(found->second);
    index_.erase(found);
  }
  void clear() {
    index_.clear();
    order_.clear();
  }
  std::size_t size() const { return order_.size(); }
  /// Does not count as a use.
  bool contains(const Key& key) const { return index_.contains(key); }
  /// From the most recent on: pairs of key and value.
  const std::list<std::pair<Key, Value>>& all() const { return order_; }

 private:
  std::size_t limit_;
  std::list<std::pair<Key, Value>> order_;
  std::unordered_map<Key, typename std::list<std::pair<Key, Value>>::iterator> index_;
};

}  // namespace rushfs::fs

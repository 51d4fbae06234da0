// A set of 64-bit numbers kept as ranges: which packets arrived, which parts of a message are here.
//
// Sorted vector with its newest range at the back: adding in order is O(1), elsewhere O(log n) to
// find and a move of what lies above. Bounded: beyond `limit` ranges the lowest are forgotten.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rushfs::transport {

/// The numbers first, first + 1, ..., last.
struct NumberRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  auto operator<=>(const NumberRange&) const = default;
};

class RangeSet {
 public:
  /// Holds at most `limit` ranges (at least 1).
  explicit RangeSet(std::size_t limit) : limit_(limit) {}

  /// Adds the numbers first to last. True if at least one of them was new.
  bool add(std::uint64_t first, std::uint64_t last);
  bool add(std::uint64_t number) { return add(number, number); }
  /// Forgets every number below `number`.
  void remove_below(std::uint64_t number);
  void clear() {
    ranges_.clear();
    begin_ = 0;
  }

  /// The range that the number is in; null: none. Valid until the next change.
  const NumberRange* find(std::uint64_t number) const;
  bool contains(std::uint64_t number) const { return find(number) != nullptr; }
  /// True if every number from first to last is in the set.
  bool contains(std::uint64_t first, std::uint64_t last) const;
  bool empty() const { return begin_ == ranges_.size(); }
  /// The ranges, lowest first; neither touching nor overlapping.
  std::span<const NumberRange> ranges() const {
    return std::span<const NumberRange>(ranges_).subspan(begin_);
  }

 private:
  void insert(std::size_t index, std::uint64_t first, std::uint64_t last);

  std::size_t limit_;
  std::vector<NumberRange> ranges_;  // those before begin_ are forgotten
  std::size_t begin_ = 0;
};

}  // namespace rushfs::transport

#include "transport/range_set.h"

#include <algorithm>

namespace rushfs::transport {

namespace {

// The first range that ends at `number` or later.
template <typename Iterator>
Iterator first_reaching(Iterator begin, Iterator end, std::uint64_t number) {
  return std::lower_bound(begin, end, number, [](const NumberRange& range, std::uint64_t wanted) {
    return range.last < wanted;
  });
}

}  // namespace

bool RangeSet::add(std::uint64_t first, std::uint64_t last) {
  if (empty() || (first > ranges_.back().last && first - ranges_.back().last > 1)) {
    insert(ranges_.size(), first, last);
    return true;
  }
  NumberRange& newest = ranges_.back();
  if (first > newest.last) {  // continues the newest range: the usual case
    newest.last = last;
    return true;
  }
  // Ranges that overlap or touch [first, last] become one.
  const auto begin = ranges_.begin() + static_cast<std::ptrdiff_t>(begin_);
  const auto from = first_reaching(begin, ranges_.end(), first == 0 ? 0 : first - 1);
  auto to = from;
  while (to != ranges_.end() && (to->first <= last || to->first - last == 1)) ++to;
  if (from == to) {
    insert(static_cast<std::size_t>(from - ranges_.begin()), first, last);
    return true;
  }
  if (from->first <= first && from->last >= last) return false;
  from->first = std::min(from->first, first);
  from->last = std::max((to - 1)->last, last);
  ranges_.erase(from + 1, to);
  return true;
}

void RangeSet::insert(std::size_t index, std::uint64_t first, std::uint64_t last) {
  const std::size_t count = ranges_.size() - begin_;
  if (count == limit_) {
    if (index == begin_) return;  // lower than all that is kept
    ++begin_;
  }
  ranges_.insert(ranges_.begin() + static_cast<std::ptrdiff_t>(index), NumberRange{first, last});
  if (begin_ > 64 && begin_ > ranges_.size() / 2) {
    ranges_.erase(ranges_.begin(), ranges_.begin() + static_cast<std::ptrdiff_t>(begin_));
    begin_ = 0;
  }
}

void RangeSet::remove_below(std::uint64_t number) {
  const auto begin = ranges_.begin() + static_cast<std::ptrdiff_t>(begin_);
  const auto keep = first_reaching(begin, ranges_.end(), number);
  begin_ = static_cast<std::size_t>(keep - ranges_.begin());
  if (keep != ranges_.end()) keep->first = std::max(keep->first, number);
  if (begin_ == ranges_.size()) {
    clear();
  } else if (begin_ > 64 && begin_ > ranges_.size() / 2) {
    ranges_.erase(ranges_.begin(), keep);
    begin_ = 0;
  }
}

const NumberRange* RangeSet::find(std::uint64_t number) const {
  const auto all = ranges();
  const auto range = first_reaching(all.begin(), all.end(), number);
  return range != all.end() && range->first <= number ? &*range : nullptr;
}

bool RangeSet::contains(std::uint64_t first, std::uint64_t last) const {
  const NumberRange* range = find(first);
  return range != nullptr && range->last >= last;
}

}  // namespace rushfs::transport

#include "fs/spans.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace rushfs::fs {

Spans Spans::everything() { return {0, std::numeric_limits<std::uint64_t>::max()}; }

void Spans::add(std::uint64_t from, std::uint64_t to) {
  if (from >= to) return;
  const auto first = std::ranges::lower_bound(spans_, from, {}, &Span::to);
  const auto last = std::ranges::upper_bound(spans_, to, {}, &Span::from);
  if (first != last) {
    from = std::min(from, first->from);
    to = std::max(to, std::prev(last)->to);
  }
  spans_.insert(spans_.erase(first, last), {from, to});
  if (spans_.size() > kMost) join_closest();
}

void Spans::add(const Spans& more) {
  for (const Span& span : more) add(span.from, span.to);
}

void Spans::join_closest() {
  const auto gap = [](auto span) { return std::next(span)->from - span->to; };
  auto closest = spans_.begin();
  for (auto span = closest; std::next(span) != spans_.end(); ++span) {
    if (gap(span) < gap(closest)) closest = span;
  }
  closest->to = std::next(closest)->to;
  spans_.erase(std::next(closest));
}

}  // namespace rushfs::fs

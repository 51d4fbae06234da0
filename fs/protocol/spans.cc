#include "fs/protocol/spans.h"

#include <limits>

namespace rushfs::fs {

Spans Spans::everything() { return {0, std::numeric_limits<std::uint64_t>::max()}; }

void Spans::add(std::uint64_t from, std::uint64_t to) {
  if (from >= to) return;
  ranges_.add(from, to - 1);
  const auto ranges = ranges_.ranges();
  if (ranges.size() <= kMost) return;
  const auto gap = [&](std::size_t i) { return ranges[i + 1].first - ranges[i].last; };
  std::size_t closest = 0;
  for (std::size_t i = 1; i + 1 < ranges.size(); ++i) {
    if (gap(i) < gap(closest)) closest = i;
  }
  ranges_.add(ranges[closest].last, ranges[closest + 1].first);
}

void Spans::add(const Spans& more) {
  for (const Span& span : more.list()) add(span.from, span.to);
}

std::vector<Span> Spans::list() const {
  std::vector<Span> spans;
  for (const auto& range : ranges_.ranges()) spans.push_back({range.first, range.last + 1});
  return spans;
}

}  // namespace rushfs::fs

#include "cache/overlay.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <limits>

namespace rushfs::cache {
namespace {

constexpr std::uint64_t kEndOfTime = std::numeric_limits<std::uint64_t>::max();

}  // namespace

void Overlay::write(std::uint64_t sequence, std::uint64_t offset_bytes,
                    std::uint64_t length_bytes) {
  assert(length_bytes > 0 && offset_bytes <= kEndOfTime - length_bytes);
  const std::uint64_t end = offset_bytes + length_bytes;
  cut(offset_bytes, end);
  extents_.emplace(offset_bytes, Extent{end, sequence, false});
  note_end(sequence, end);
}

void Overlay::zero(std::uint64_t sequence, std::uint64_t begin_bytes, std::uint64_t end_bytes) {
  assert(begin_bytes < end_bytes);
  cut(begin_bytes, end_bytes);
  extents_.emplace(begin_bytes, Extent{end_bytes, sequence, true});
}

void Overlay::extend(std::uint64_t sequence, std::uint64_t size_bytes) {
  note_end(sequence, size_bytes);
}

void Overlay::note_end(std::uint64_t sequence, std::uint64_t end_bytes) {
  while (!write_ends_.empty() && write_ends_.back().bytes <= end_bytes) write_ends_.pop_back();
  write_ends_.push_back({sequence, end_bytes});
}

void Overlay::set_size(std::uint64_t sequence, std::uint64_t size_bytes) {
  cut(size_bytes, kEndOfTime);
  write_ends_.clear();
  while (!sizes_.empty() && sizes_.back().bytes >= size_bytes) sizes_.pop_back();
  sizes_.push_back({sequence, size_bytes});
}

// Removes what extents say about [begin, end).
void Overlay::cut(std::uint64_t begin_bytes, std::uint64_t end_bytes) {
  auto extent = extents_.upper_bound(begin_bytes);
  if (extent != extents_.begin()) {
    const auto before = std::prev(extent);
    Extent& left = before->second;
    if (left.end_bytes > begin_bytes) {
      const Extent whole = left;
      if (whole.end_bytes > end_bytes) extent = extents_.emplace_hint(extent, end_bytes, whole);
      left.end_bytes = begin_bytes;
      if (before->first == begin_bytes) extents_.erase(before);
    }
  }
  while (extent != extents_.end() && extent->first < end_bytes) {
    if (extent->second.end_bytes > end_bytes) {
      auto rest = extents_.extract(extent);
      rest.key() = end_bytes;
      extents_.insert(std::move(rest));
      return;
    }
    extent = extents_.erase(extent);
  }
}

void Overlay::complete_write(std::uint64_t sequence, std::uint64_t offset_bytes,
                             std::uint64_t length_bytes) {
  forget_extents(sequence, offset_bytes, offset_bytes + length_bytes);
  complete_extend(sequence);
}

void Overlay::complete_zero(std::uint64_t sequence, std::uint64_t begin_bytes,
                            std::uint64_t end_bytes) {
  forget_extents(sequence, begin_bytes, end_bytes);
}

void Overlay::complete_extend(std::uint64_t sequence) {
  while (!write_ends_.empty() && write_ends_.front().sequence <= sequence) write_ends_.pop_front();
}

void Overlay::forget_extents(std::uint64_t sequence, std::uint64_t begin_bytes,
                             std::uint64_t end_bytes) {
  auto extent = extents_.lower_bound(begin_bytes);
  while (extent != extents_.end() && extent->first < end_bytes) {
    extent = extent->second.sequence == sequence ? extents_.erase(extent) : std::next(extent);
  }
}

void Overlay::complete_set_size(std::uint64_t sequence) {
  while (!sizes_.empty() && sizes_.front().sequence <= sequence) sizes_.pop_front();
}

void Overlay::append_gap(std::uint64_t begin_bytes, std::uint64_t end_bytes,
                         std::vector<Part>& out) const {
  const std::uint64_t limit =
      std::clamp(base_limit_bytes().value_or(kEndOfTime), begin_bytes, end_bytes);
  if (begin_bytes < limit) {
    out.push_back({Piece::Kind::base, begin_bytes, limit - begin_bytes, 0});
  }
  if (limit < end_bytes) out.push_back({Piece::Kind::zero, limit, end_bytes - limit, 0});
}

std::vector<Overlay::Part> Overlay::parts(std::uint64_t offset_bytes,
                                          std::uint64_t length_bytes) const {
  assert(offset_bytes <= kEndOfTime - length_bytes);
  std::vector<Part> out;
  std::uint64_t position = offset_bytes;
  const std::uint64_t end = offset_bytes + length_bytes;
  auto extent = extents_.upper_bound(position);
  if (extent != extents_.begin() && std::prev(extent)->second.end_bytes > position) --extent;
  while (position < end) {
    if (extent == extents_.end() || extent->first >= end) {
      append_gap(position, end, out);
      break;
    }
    if (position < extent->first) append_gap(position, extent->first, out);
    position = std::max(position, extent->first);
    const std::uint64_t stop = std::min(end, extent->second.end_bytes);
    if (extent->second.zero) {
      out.push_back({Piece::Kind::zero, position, stop - position, 0});
    } else {
      out.push_back({Piece::Kind::data, position, stop - position, extent->second.sequence});
    }
    position = stop;
    ++extent;
  }
  return out;
}

SizeEffect Overlay::size_effect() const {
  SizeEffect effect;
  if (!sizes_.empty()) effect.set_size_bytes = sizes_.back().bytes;
  if (!write_ends_.empty()) effect.write_end_bytes = write_ends_.front().bytes;
  return effect;
}

std::optional<std::uint64_t> Overlay::base_limit_bytes() const {
  if (sizes_.empty()) return std::nullopt;
  return sizes_.front().bytes;
}

}  // namespace rushfs::cache

#include "fs/client/prefetcher.h"

#include <algorithm>

namespace rushfs::fs {

namespace {

/// The kernel sends parts of one read-ahead window in any order, and programs skip small gaps
/// rather than seek (libavformat: 4 KiB; muxed files: a track's worth).
constexpr std::uint64_t kTolerance = 1 << 20;
/// Who reads a file from its start probably wants all of it; worth one more request, or on a fast
/// path this part of what is kept under way there.
constexpr std::uint64_t kFirstWindow = 2 << 20;
constexpr std::uint64_t kFirstShare = 8;
/// The window is this many times the run: the pace doubles twice per round trip at the start.
constexpr std::uint64_t kGrowth = 8;

}  // namespace

Prefetcher::Wish Prefetcher::read(std::uint64_t offset, std::uint64_t length, std::uint64_t size,
                                  std::uint64_t path_window) {
  Wish wish;
  const std::uint64_t end = offset + length;
  const bool near = offset <= position_ + kTolerance && end + kTolerance >= position_;
  if (started_ && near) {
    run_ += end > position_ ? end - std::max(position_, offset) : 0;
    position_ = std::max(position_, end);
  } else {
    wish.jumped = started_;
    position_ = end;
    run_ = length;
  }
  const bool from_start = offset == 0 && !started_;
  started_ = true;
  std::uint64_t window = 0;
  if (sequential()) window = std::min(run_ * kGrowth, path_window);
  if (from_start) window = std::max({window, kFirstWindow, path_window / kFirstShare});
  wish.from = std::min(position_, size);
  wish.to = std::min(position_ + window, size);
  return wish;
}

}  // namespace rushfs::fs

// The extents of a file in memory: how they are kept, stored and dropped.
#include <algorithm>
#include <cassert>

#include "fs/client/reader.h"

namespace rushfs::fs {

namespace {

constexpr std::uint64_t kBlock = cache::kBlockBytes;
/// What was read a moment ago is often read again (probe, then play); and it is what lets a block
/// be put together from parts.
constexpr std::uint64_t kRecentMemory = 64 << 20;
/// Small writes far from each other leave a piece each: some 90 MiB beside their bytes.
constexpr std::size_t kMostExtents = 1 << 18;
/// Of one block. Those beyond are joined, at 4 KiB of copying for each.
constexpr std::size_t kMostPieces = 64;
/// A cache disk slower than the link must not make us hold all that came over it.
constexpr std::uint64_t kMostBeingStored = 128 << 20;
/// A slow one gets no more than this once its last block took so long: who opens a file asks it
/// what it has.
constexpr std::uint64_t kLittleBeingStored = 4 << 20;
constexpr transport::Duration kStoringPatience = std::chrono::milliseconds(250);

/// All of [begin, end) is there.
bool is_whole(const std::map<std::uint64_t, ExtentRef>& extents, std::uint64_t begin,
              std::uint64_t end) {
  auto next = extents.upper_bound(begin);
  if (next == extents.begin()) return false;
  std::uint64_t at = begin;
  for (--next; at < end && next != extents.end(); ++next) {
    const Extent& part = *next->second;
    if (part.state != Extent::State::ready || part.offset > at || part.end() <= at) return false;
    at = part.end();
  }
  return at >= end;
}

}  // namespace

Slice Slice::part(std::uint64_t from, std::uint64_t length) const {
  const auto some = bytes.subspan(from, length);
  if (2 * length >= owner->size()) return {owner, some};
  auto copy = std::make_shared<const Buffer>(some.begin(), some.end());
  return {copy, std::span(*copy)};
}

// `store_to`: what it has before may make blocks whole for the cache.
void Reader::ready(const InodeRef& inode, const ExtentRef& extent, std::uint64_t store_to) {
  extent->state = Extent::State::ready;
  if (extent->kept) {
    memory_ += extent->data.bytes.size();
    extent->place = recent_.insert(recent_.end(), {inode, extent->offset});
    if (store_to > extent->offset) store(*inode, extent->offset, store_to);
    make_room();
  }
  auto waiters = std::move(extent->waiters);
  extent->waiters.clear();
  for (auto& waiter : waiters) std::move(waiter)({});
}

void Reader::fail(Inode& inode, const ExtentRef& extent, boost::system::error_code error) {
  unkeep(inode, extent);
  auto waiters = std::move(extent->waiters);
  extent->waiters.clear();
  for (auto& waiter : waiters) std::move(waiter)(error);
}

void Reader::unkeep(Inode& inode, const ExtentRef& extent) {
  if (!extent->kept) return;
  extent->kept = false;
  if (extent->place != recent_.end()) {
    memory_ -= extent->data.bytes.size();
    recent_.erase(extent->place);
    extent->place = recent_.end();
  }
  const ExtentRef guard = extent;  // may be a reference into the map
  inode.content.extents.erase(guard->offset);
}

// Takes [from, to) out of an extent that is ready: what it has on both sides stays.
void Reader::cut(Inode& inode, const ExtentRef& extent, std::uint64_t from, std::uint64_t to) {
  const ExtentRef whole = extent;  // may be a reference into the map
  const std::weak_ptr<Inode> owner = whole->place->first;
  unkeep(inode, whole);
  const auto keep = [&](std::uint64_t begin, std::uint64_t end) {
    if (begin >= end) return;
    const auto part = add(inode, begin, end);
    part->state = Extent::State::ready;
    part->epoch = whole->epoch;
    part->data_at = std::clamp(whole->data_at, begin, end);
    const std::uint64_t data_end = std::clamp(whole->data_end(), part->data_at, end);
    if (part->data_at < data_end) {
      part->data = whole->data.part(part->data_at - whole->data_at, data_end - part->data_at);
    }
    memory_ += part->data.bytes.size();
    part->place = recent_.insert(recent_.end(), {owner, begin});
  };
  keep(whole->offset, from);
  keep(to, whole->end());
}

void Reader::touch(const ExtentRef& extent) {
  if (extent->place != recent_.end()) recent_.splice(recent_.end(), recent_, extent->place);
}

void Reader::make_room() {
  const auto too_much = [this] {
    return memory_ > kRecentMemory + 2 * window_ || recent_.size() > kMostExtents;
  };
  while (too_much() && !recent_.empty()) {
    const auto [weak, offset] = recent_.front();
    const auto inode = weak.lock();
    assert(inode && "forget() takes a file's extents out first");
    give_up(*inode, inode->content.extents.at(offset));
  }
}

void Reader::give_up(Inode& inode, const ExtentRef& extent) {
  if (extent->state == Extent::State::ready) store(inode, extent->offset, extent->end());
  unkeep(inode, extent);
}

// A block in many small pieces, as small writes leave it, is slow to go through. Where much is
// missing between them it is better asked for as one.
void Reader::join_pieces(const InodeRef& inode, std::uint64_t block) {
  const auto& extents = inode->content.extents;
  const std::uint64_t begin = block * kBlock, end = begin + kBlock;
  std::vector<ExtentRef> pieces;
  std::vector<std::size_t> runs;  // where each begins in `pieces`
  for (auto next = extents.lower_bound(begin); next != extents.end() && next->first < end; ++next) {
    const auto& piece = next->second;
    if (piece->state != Extent::State::ready || piece->end() > end) continue;
    if (pieces.empty() || pieces.back()->end() != piece->offset) runs.push_back(pieces.size());
    pieces.push_back(piece);
  }
  if (pieces.size() <= kMostPieces) return;
  runs.push_back(pieces.size());
  const bool scattered = runs.size() > kMostPieces / 2;
  for (std::size_t i = 0; i + 1 < runs.size(); ++i) {
    const auto run = std::span(pieces).subspan(runs[i], runs[i + 1] - runs[i]);
    if (!scattered && run.size() > 1) join(inode, run);
    if (scattered) std::ranges::for_each(run, [&](const auto& one) { unkeep(*inode, one); });
  }
}

void Reader::join(const InodeRef& inode, std::span<const ExtentRef> adjacent) {
  const std::uint64_t begin = adjacent.front()->offset, end = adjacent.back()->end();
  Slices slices;
  for (const ExtentRef& piece : adjacent) piece->show(piece->offset, piece->end(), slices);
  auto whole = std::make_shared<Buffer>();
  whole->reserve(end - begin);
  for (const Slice& slice : slices) {
    whole->insert(whole->end(), slice.bytes.begin(), slice.bytes.end());
  }
  for (const ExtentRef& piece : adjacent) unkeep(*inode, piece);
  const auto joined = add(*inode, begin, end);
  joined->data = {whole, std::span(*whole)};
  ready(inode, joined, begin);
}

// Puts blocks of [from, to) that are whole into the block cache.
void Reader::store(Inode& inode, std::uint64_t from, std::uint64_t to) {
  const auto& extents = inode.content.extents;
  const std::uint64_t size = inode.server.size;
  for (std::uint64_t block = from / kBlock; block * kBlock < to; ++block) {
    const std::uint64_t begin = block * kBlock, end = std::min(begin + kBlock, size);
    if (inode.content.disk_known && inode.content.maybe_on_disk(block)) continue;
    if (begin >= end || !is_whole(extents, begin, end)) continue;
    Slices parts;
    auto next = std::prev(extents.upper_bound(begin));
    for (std::uint64_t at = begin; at < end; at = (next++)->second->end()) {
      next->second->show(at, std::min(end, next->second->end()), parts);
    }
    store_block(inode, block, std::move(parts));
  }
}

void Reader::written(Inode& inode) {
  const std::uint64_t size = inode.server.size;
  if (size > 0 && inode.local.operations == 0) store(inode, size - 1, size);
}

void Reader::keep(Inode& inode) {
  for (const auto& [offset, extent] : inode.content.extents) {
    if (extent->state == Extent::State::ready) store(inode, offset, extent->end());
  }
}

void Reader::store_block(Inode& inode, std::uint64_t block, Slices parts) {
  std::uint64_t bytes = 0;
  for (const auto& part : parts) bytes += part.bytes.size();
  const bool slow = storing_took_ > kStoringPatience;
  if (being_stored_ + bytes > (slow ? kLittleBeingStored : kMostBeingStored)) return;
  being_stored_ += bytes;
  inode.content.on_disk.insert(block);
  parts_.blocks_loop.run(
      [&cache = parts_.blocks, node = inode.node, version = inode.server.version, block,
       parts = std::move(parts)] {
        if (parts.size() == 1) {
          return cache.put(node.bytes, version.value, block, parts.front().bytes);
        }
        Buffer whole;
        whole.reserve(kBlock);
        for (const auto& part : parts) {
          whole.insert(whole.end(), part.bytes.begin(), part.bytes.end());
        }
        cache.put(node.bytes, version.value, block, whole);
      },
      [this, bytes, since = parts_.time.now] {
        being_stored_ -= bytes;
        storing_took_ = parts_.time.now - since;
      });
}

void Reader::discard(Inode& inode) {
  ++inode.content.drops;
  while (!inode.content.extents.empty()) {
    unkeep(inode, inode.content.extents.begin()->second);
  }
  inode.content.on_disk.clear();
  inode.content.disk_known = true;  // of the version to come there is nothing on disk
  // The version need not tell: two changes within a tick of the server's clock may have the same.
  // But what changes of ours were made to is needed where two versions meet.
  const bool needed = inode.local.operations > 0 || inode.rescuing;
  parts_.blocks_loop.run([&cache = parts_.blocks, node = inode.node, needed,
                          version = inode.server.version] {
    needed ? cache.set_version(node.bytes, version.value) : cache.drop(node.bytes);
  });
}

// What is just arriving is no older than the news that came with it.
void Reader::drop(Inode& inode, const Span& part) {
  auto& content = inode.content;
  ++content.drops;
  std::vector<ExtentRef> overlapping;
  auto next = content.extents.upper_bound(part.from);
  if (next != content.extents.begin()) --next;  // may reach into the range
  for (; next != content.extents.end() && next->first < part.to; ++next) {
    if (next->second->end() > part.from) overlapping.push_back(next->second);
  }
  for (const auto& extent : overlapping) {
    if (extent->state == Extent::State::ready) {
      cut(inode, extent, part.from, part.to);
    } else if (extent->state != Extent::State::arriving) {
      unkeep(inode, extent);
    }
  }
  const std::uint64_t first = part.from / kBlock, last = (part.to - 1) / kBlock;
  if (last - first < content.on_disk.size()) {
    for (std::uint64_t block = first; block <= last; ++block) content.on_disk.erase(block);
  } else {
    std::erase_if(content.on_disk,
                  [&](std::uint64_t block) { return first <= block && block <= last; });
  }
  parts_.blocks_loop.run([&cache = parts_.blocks, node = inode.node, first, last] {
    cache.drop_range(node.bytes, first, last - first + 1);
  });
}

void Reader::changed(Inode& inode, Version before, const Spans& parts) {
  for (const Span& part : parts.list()) drop(inode, part);
  if (before == inode.server.version) return;
  parts_.blocks_loop.run([&cache = parts_.blocks, node = inode.node, before,
                          after = inode.server.version] {
    cache.retag(node.bytes, before.value, after.value);
  });
}

void Reader::forget(Inode& inode) {
  while (!inode.content.extents.empty()) {
    give_up(inode, inode.content.extents.begin()->second);
  }
}

}  // namespace rushfs::fs

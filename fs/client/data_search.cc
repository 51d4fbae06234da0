#include "fs/client/data_search.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <vector>

namespace rushfs::fs {

namespace {

constexpr std::uint32_t kRangesAtOnce = 4096;

}  // namespace

// Brings inode->data_ranges up to date around `offset`.
void DataSearch::with_ranges(const InodeRef& inode, std::uint64_t offset, Reply<void> reply) {
  const auto& known = inode->data_ranges;
  const bool covers = known && known->version == inode->server.version && known->from <= offset &&
                      offset < known->known_to;
  if (covers && known_.fresh(*inode)) return reply.ok();
  ask(parts_.remote, Priority::urgent, DataRanges{inode->node, offset, kRangesAtOnce},
      [this, inode, offset, epoch = known_.epoch(),
       reply = std::move(reply)](Result<Answer<DataRangesReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        known_.learn(*inode, (*answer)->attributes, epoch);
        // No way on: the file has become shorter.
        const std::uint64_t to = (*answer)->known_to > offset
                                     ? (*answer)->known_to
                                     : std::numeric_limits<std::uint64_t>::max();
        inode->data_ranges = {(*answer)->attributes.version, offset, to,
                              std::move(answer->reply.ranges)};
        reply.ok();
      });
}

struct DataSearch::Walk {
  InodeRef inode;
  std::uint64_t from;
  std::uint64_t at;
  bool data;  // looked for
  Reply<std::uint64_t> reply;
  std::vector<cache::Piece> pieces;  // from the first `at` to the end of the file

  enum class Outcome : std::uint8_t { found, end, unknown };
  Outcome step();
  bool in_base(std::uint64_t end);
};

// Moves `at` through what the server's file shows up to `end`; true: here is what is looked for.
bool DataSearch::Walk::in_base(std::uint64_t end) {
  const auto& known = *inode->data_ranges;
  const std::uint64_t limit = std::min({end, known.known_to, inode->server.size});
  auto range =
      std::upper_bound(known.ranges.begin(), known.ranges.end(), at,
                       [](std::uint64_t value, const Span& r) { return value < r.to; });
  while (at < limit) {
    const bool here = range != known.ranges.end() && range->from <= at;
    if (here == data) return true;
    if (here) {
      at = std::min(limit, range->to);
      ++range;
    } else {
      at = range == known.ranges.end() ? limit : std::min(limit, range->from);
    }
  }
  if (at >= inode->server.size && at < end) {  // past its end, zeros
    if (!data) return true;
    at = end;
  }
  return false;
}

DataSearch::Walk::Outcome DataSearch::Walk::step() {
  for (const cache::Piece& piece : pieces) {
    const std::uint64_t end = piece.offset_bytes + piece.length_bytes;
    if (end <= at) continue;
    if (piece.kind != cache::Piece::Kind::base) {
      if ((piece.kind == cache::Piece::Kind::data) == data) return Outcome::found;
      at = end;
      continue;
    }
    const auto& known = inode->data_ranges;
    const bool covered =
        at >= inode->server.size || (known && known->from <= at && at < known->known_to);
    if (!covered) return Outcome::unknown;
    if (!known) inode->data_ranges = {inode->server.version, 0, 0, {}};
    if (in_base(end)) return Outcome::found;
    if (at < end) return Outcome::unknown;
  }
  return Outcome::end;
}

void DataSearch::go_on(std::shared_ptr<Walk> walk) {
  switch (walk->step()) {
    case Walk::Outcome::found:
      return walk->reply(walk->at);
    case Walk::Outcome::end:
      // There is a hole behind every file (lseek(2)); it may have become shorter meanwhile.
      if (walk->data || walk->inode->size() <= walk->from) return walk->reply.fail(ENXIO);
      return walk->reply(walk->inode->size());
    case Walk::Outcome::unknown:
      break;
  }
  with_ranges(walk->inode, walk->at, [this, walk](Result<void> done) {
    if (!done) return walk->reply.fail(done.error());
    go_on(walk);
  });
}

namespace {

/// Disks know data and holes by blocks: what is queued shows as it will once it is there.
constexpr std::uint64_t kDiskBlock = 4096;  // bytes

/// The pieces with those of data grown to whole blocks, but not beyond the file's `size`.
std::vector<cache::Piece> by_blocks(const std::vector<cache::Piece>& pieces, std::uint64_t size) {
  std::vector<cache::Piece> result;
  for (cache::Piece piece : pieces) {
    std::uint64_t begin = piece.offset_bytes, end = begin + piece.length_bytes;
    if (piece.kind == cache::Piece::Kind::data) {
      begin = begin / kDiskBlock * kDiskBlock;
      end = std::min(size, (end + kDiskBlock - 1) / kDiskBlock * kDiskBlock);
      while (!result.empty() && result.back().offset_bytes >= begin) result.pop_back();
      if (!result.empty()) {
        auto& last = result.back();
        last.length_bytes = std::min(last.length_bytes, begin - last.offset_bytes);
      }
    } else if (!result.empty()) {
      begin = std::max(begin, result.back().offset_bytes + result.back().length_bytes);
    }
    if (begin >= end) continue;
    piece.offset_bytes = begin;
    piece.length_bytes = end - begin;
    result.push_back(piece);
  }
  return result;
}

}  // namespace

void DataSearch::seek(const InodeRef& inode, std::uint64_t offset, Seek what,
                      Reply<std::uint64_t> reply) {
  if (known_.fresh(*inode)) return search(inode, offset, what, std::move(reply));
  // It may be longer by now.
  with_ranges(inode, offset, [this, inode, offset, what,
                              reply = std::move(reply)](Result<void> done) mutable {
    if (!done) return reply.fail(done.error());
    search(inode, offset, what, std::move(reply));
  });
}

void DataSearch::search(const InodeRef& inode, std::uint64_t offset, Seek what,
                        Reply<std::uint64_t> reply) {
  const std::uint64_t size = inode->size();
  if (offset >= size) return reply.fail(ENXIO);
  const bool data = what == Seek::data;
  auto walk = std::make_shared<Walk>(Walk{inode, offset, offset, data, std::move(reply), {}});
  parts_.queue_loop.run(
      [&queue = parts_.queue, node = inode->node, offset, size] {
        const std::uint64_t from = offset / kDiskBlock * kDiskBlock;
        return by_blocks(queue.layout(node.bytes, from, size - from), size);
      },
      [this, walk](std::vector<cache::Piece> pieces) {
        walk->pieces = std::move(pieces);
        const auto& known = walk->inode->data_ranges;
        const bool stale = known && known->version != walk->inode->server.version;
        const bool any =
            std::any_of(walk->pieces.begin(), walk->pieces.end(),
                        [](const auto& piece) { return piece.kind == cache::Piece::Kind::base; });
        const bool current = !stale && known_.fresh(*walk->inode);
        if (!any || walk->inode->server.size <= walk->at || current) {
          if (stale) walk->inode->data_ranges.reset();
          return go_on(walk);
        }
        with_ranges(walk->inode, walk->at, [this, walk](Result<void> done) {
          if (!done) return walk->reply.fail(done.error());
          go_on(walk);
        });
      });
}

}  // namespace rushfs::fs

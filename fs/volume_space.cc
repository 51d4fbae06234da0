// Space, holes, and copies that stay on the server. docs/semantics.md, "Space and holes" and
// "Copies".
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "fs/volume_change.h"

namespace rushfs::fs {

namespace {

constexpr std::uint32_t kRangesAtOnce = 4096;

}  // namespace

// Whether the disk can do it, and has room, only the server can say; where the file has nothing in
// the queue, it is asked. Later ones of the same kind then find their place behind the data.
void Volume::allocate(HandleNumber number, std::uint32_t mode, std::uint64_t offset,
                      std::uint64_t length, Reply<void> reply) {
  const Handle* handle = handles_.find(number);
  if (!handle) return reply.fail(EBADF);
  const auto inode = handle->inode;
  Allocate change{CallNumber{}, inode->node, mode, offset, length};
  const bool queued = inode->local.operations > 0;
  if (queued && allocation_modes_.contains(mode)) {
    return log_.allocate(inode, change, std::move(reply));
  }
  AppliedOperation operation;
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
    operation.offset = offset;
    operation.length = length;
  }
  log_.drain(inode,
        [this, inode, change, operation, reply = std::move(reply)](Result<void> drained) mutable {
          if (!drained) return reply.fail(drained.error());
          change_at_server(inode, change, operation,
                           [this, inode, mode = change.mode,
                            reply = std::move(reply)](Result<void> done) mutable {
                             if (!done) return reply.fail(done.error());
                             allocation_modes_.insert(mode);
                             inode->data_ranges.reset();
                             reply.ok();
                           });
        });
}

// ---- Data and holes -------------------------------------------------------------------------

// Brings inode->data_ranges up to date around `offset`.
void Volume::with_ranges(const InodeRef& inode, std::uint64_t offset, Reply<void> reply) {
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

struct Volume::SeekWalk {
  InodeRef inode;
  std::uint64_t at;
  bool data;  // looked for
  Reply<std::uint64_t> reply;
  std::vector<cache::Piece> pieces;  // from the first `at` to the end of the file

  enum class Outcome : std::uint8_t { found, end, unknown };
  Outcome step();
  bool in_base(std::uint64_t end);
};

// Moves `at` through what the server's file shows up to `end`; true: here is what is looked for.
bool Volume::SeekWalk::in_base(std::uint64_t end) {
  const auto& known = *inode->data_ranges;
  const std::uint64_t limit = std::min({end, known.known_to, inode->server.size});
  auto range =
      std::upper_bound(known.ranges.begin(), known.ranges.end(), at,
                       [](std::uint64_t value, const DataRange& r) { return value < r.end; });
  while (at < limit) {
    const bool here = range != known.ranges.end() && range->begin <= at;
    if (here == data) return true;
    if (here) {
      at = std::min(limit, range->end);
      ++range;
    } else {
      at = range == known.ranges.end() ? limit : std::min(limit, range->begin);
    }
  }
  if (at >= inode->server.size && at < end) {  // past its end, zeros
    if (!data) return true;
    at = end;
  }
  return false;
}

Volume::SeekWalk::Outcome Volume::SeekWalk::step() {
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

void Volume::seek_on(std::shared_ptr<SeekWalk> walk) {
  switch (walk->step()) {
    case SeekWalk::Outcome::found:
      return walk->reply(walk->at);
    case SeekWalk::Outcome::end:
      // There is a hole behind every file (lseek(2)).
      return walk->data ? walk->reply.fail(ENXIO) : walk->reply(walk->inode->size());
    case SeekWalk::Outcome::unknown:
      break;
  }
  with_ranges(walk->inode, walk->at, [this, walk](Result<void> done) {
    if (!done) return walk->reply.fail(done.error());
    seek_on(walk);
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

void Volume::seek(HandleNumber number, std::uint64_t offset, Seek what,
                  Reply<std::uint64_t> reply) {
  const Handle* handle = handles_.find(number);
  if (!handle) return reply.fail(EBADF);
  const auto inode = handle->inode;
  const std::uint64_t size = inode->size();
  if (offset >= size) return reply.fail(ENXIO);
  auto walk =
      std::make_shared<SeekWalk>(SeekWalk{inode, offset, what == Seek::data, std::move(reply), {}});
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
          return seek_on(walk);
        }
        with_ranges(walk->inode, walk->at, [this, walk](Result<void> done) {
          if (!done) return walk->reply.fail(done.error());
          seek_on(walk);
        });
      });
}

// ---- Copies -------------------------------------------------------------------------------------

// What is queued of either file must have happened first. Where that takes too long, the kernel
// copies by reading and writing, which needs no link.
void Volume::copy_range(HandleNumber from, std::uint64_t from_offset, HandleNumber to,
                        std::uint64_t to_offset, std::uint64_t length, Reply<std::uint64_t> reply) {
  const Handle *source = handles_.find(from), *target = handles_.find(to);
  if (!source || !target) return reply.fail(EBADF);
  access_times_.read(*source->inode);
  CopyRange request{
      {}, source->inode->node, from_offset, target->inode->node, to_offset, length};
  auto copy = [this, inode = target->inode, request,
               reply = std::move(reply)](Result<void> drained) mutable {
    if (!drained) return reply.fail(EXDEV);
    ++inode->changes_in_flight;
    ask(parts_.remote, Priority::urgent, request,
        [this, inode, request,
         reply = std::move(reply)](Result<Answer<CopyRangeReply>> answer) mutable {
          --inode->changes_in_flight;
          if (!answer) {
            inode->validated = {};
            const int error = answer.error().value();
            const bool elsewhere = error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
            return reply.fail(elsewhere ? EXDEV : error);
          }
          AppliedOperation operation;
          operation.offset = request.to_offset;
          operation.length = (*answer)->copied;
          operation.change = (*answer)->change;
          known_.changed(inode, operation);
          inode->copied_into = true;
          reply((*answer)->copied);
        });
  };
  log_.drain(source->inode,
        [this, inode = target->inode, copy = std::move(copy)](Result<void> drained) mutable {
          if (!drained) return copy(drained);
          log_.drain(inode, std::move(copy));
        });
}

}  // namespace rushfs::fs

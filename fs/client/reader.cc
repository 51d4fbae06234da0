#include "fs/client/reader.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

namespace rushfs::fs {

namespace {

/// Files up to this size are fetched whole around any read of them.
constexpr std::uint64_t kSmallFile = 1 << 20;
/// Prefetch is asked for in pieces of this size, so that its requests stay large.
constexpr std::uint64_t kAheadStep = 1 << 20;
/// Until the path was measured: keeps a fast one busy.
constexpr std::uint64_t kFirstWindow = 32 << 20;

const Slice& zeros() {
  static const Slice slice = [] {
    auto owner = std::make_shared<const Buffer>(1 << 20, std::uint8_t{0});
    return Slice{owner, std::span(*owner)};
  }();
  return slice;
}

void add_zeros(Slices& slices, std::uint64_t length) {
  while (length > 0) {
    const auto part = std::min<std::uint64_t>(length, zeros().bytes.size());
    slices.push_back({zeros().owner, zeros().bytes.first(part)});
    length -= part;
  }
}

}  // namespace

void Extent::show(std::uint64_t from, std::uint64_t to, Slices& slices) const {
  const std::uint64_t begin = std::clamp(data_at, from, to), end = std::clamp(data_end(), from, to);
  add_zeros(slices, begin - from);
  if (begin < end) {
    slices.push_back({data.owner, data.bytes.subspan(begin - data_at, end - begin)});
  }
  add_zeros(slices, to - std::max(begin, end));
}

/// One read under way: waits for the extents it needs, then puts them together.
struct Reader::Operation {
  InodeRef inode;
  std::shared_ptr<ReadStream> stream;
  std::uint64_t offset, length;
  Reply<Slices> reply;
  std::vector<cache::Piece> pieces;
  std::vector<ExtentRef> extents;
  cache::SizeEffect queued_size;  // what our queue made of the size when it began
  std::size_t waiting = 1;        // one for the setting up itself
  boost::system::error_code error;
};

Reader::Reader(const ClientParts& parts, Judge judge)
    : parts_(parts), judge_(std::move(judge)), window_(kFirstWindow) {}

Reader::~Reader() = default;

void Reader::read(const InodeRef& inode, std::shared_ptr<ReadStream> stream, std::uint64_t offset,
                  std::uint64_t length, Reply<Slices> reply) {
  const std::uint64_t size = inode->size();
  if (offset >= size || length == 0) return reply(Slices{});
  length = std::min(length, size - offset);
  const auto operation = operations_.insert(
      operations_.end(), {inode, std::move(stream), offset, length, std::move(reply), {}, {},
                          inode->local.size, 1, {}});
  if (inode->local.operations == 0) {
    cache::Piece piece;
    piece.kind = cache::Piece::Kind::base;
    piece.offset_bytes = offset;
    piece.length_bytes = length;
    std::vector<cache::Piece> pieces;
    pieces.push_back(std::move(piece));
    return resolve(operation, std::move(pieces));
  }
  parts_.queue_loop.run([&queue = parts_.queue, node = inode->node, offset,
                         length] { return queue.read(node.bytes, offset, length); },
                        [this, operation](Result<std::vector<cache::Piece>> pieces) {
                          if (!pieces) return arrived(operation, pieces.error());
                          resolve(operation, std::move(*pieces));
                        });
}

void Reader::resolve(Operations::iterator operation, std::vector<cache::Piece> pieces) {
  operation->pieces = std::move(pieces);
  for (const auto& piece : operation->pieces) {
    if (piece.kind != cache::Piece::Kind::base) continue;
    // Past the end of the server's file the base is zeros; there is nothing to ask for.
    const std::uint64_t end = std::min(piece.offset_bytes + piece.length_bytes,
                                       std::max(operation->inode->server.size, piece.offset_bytes));
    cover(operation->inode, piece.offset_bytes, end, Priority::demand, nullptr,
          [&](const ExtentRef& extent) {
            operation->extents.push_back(extent);
            if (extent->state == Extent::State::ready) return;
            ++operation->waiting;
            extent->waiters.push_back(
                [this, operation](boost::system::error_code error) { arrived(operation, error); });
          });
  }
  if (operation->stream) {
    follow(operation->inode, *operation->stream, operation->offset, operation->length);
  }
  arrived(operation, {});
}

// Asks for what is likely to be read next; after the demand, so that it leaves after it.
void Reader::follow(const InodeRef& inode, ReadStream& stream, std::uint64_t offset,
                    std::uint64_t length) {
  const std::uint64_t size = inode->server.size;
  const auto wish = stream.prefetcher.read(offset, length, size, window_);
  if (wish.jumped) close(stream);
  auto& before = stream.ahead;
  const Version version = inode->server.version;
  if (wish.jumped || before.version != version) before = {version, std::nullopt, 0};
  auto ahead = [&](std::uint64_t from, std::uint64_t to) {
    cover(inode, from, std::min(to, size), Priority::ahead, &stream, [](const ExtentRef&) {});
  };
  const std::uint64_t block = (offset + length - 1) / cache::kBlockBytes;
  const bool whole = stream.prefetcher.sequential() || size <= kSmallFile || offset == 0;
  const bool moved = before.block != block;
  if (whole && moved) {
    const std::uint64_t first = offset / cache::kBlockBytes * cache::kBlockBytes;
    const std::uint64_t past = (block + 1) * cache::kBlockBytes;
    if (first < size) ahead(size <= kSmallFile ? 0 : first, size <= kSmallFile ? size : past);
    before.block = block;
  }
  const std::uint64_t to =
      wish.to == size ? size : wish.to / kAheadStep * kAheadStep;  // whole steps
  if (!moved && before.to == to) return;
  before.to = 0;  // until it was asked for
  if (!inode->content.disk_known || ahead_ > 2 * window_) return;
  // All of it now and then, for some may have been given up since.
  if (wish.from < to) ahead(wish.from, to);
  before.to = to;
}

void Reader::arrived(Operations::iterator operation, boost::system::error_code error) {
  assert(operation->waiting > 0);
  if (error) operation->error = error;
  if (--operation->waiting == 0) finish(operation);
}

/// Where the file ends for this read. News of it may have come with the bytes: what was cut off by
/// others meanwhile is not zeros.
std::uint64_t Reader::end_of_file(const Operation& operation) {
  std::uint64_t end = operation.inode->server.size;
  for (const auto& extent : operation.extents) end = std::min(end, extent->file_end.value_or(end));
  return std::max(operation.queued_size.apply(end), operation.inode->local.size.apply(end));
}

void Reader::finish(Operations::iterator ended) {
  Operations taken;
  taken.splice(taken.end(), operations_, ended);
  Operation& operation = taken.front();
  if (operation.error) return operation.reply.fail(operation.error);
  Slices slices;
  const std::uint64_t size = end_of_file(operation);
  for (auto& piece : operation.pieces) {
    if (piece.offset_bytes >= size) break;
    const std::uint64_t end = std::min(piece.offset_bytes + piece.length_bytes, size);
    const std::uint64_t length = end - piece.offset_bytes;
    switch (piece.kind) {
      case cache::Piece::Kind::data: {
        auto owner = std::make_shared<const Buffer>(std::move(piece.data));
        slices.push_back({owner, std::span(*owner).first(length)});
        break;
      }
      case cache::Piece::Kind::zero:
        add_zeros(slices, length);
        break;
      case cache::Piece::Kind::base:
        add_base(operation, piece.offset_bytes, end, slices);
        break;
    }
  }
  operation.reply(std::move(slices));
}

void Reader::add_base(const Operation& operation, std::uint64_t from, std::uint64_t to,
                      Slices& slices) {
  std::uint64_t at = from;
  for (const auto& extent : operation.extents) {
    if (extent->end() <= at || extent->offset >= to) continue;
    const std::uint64_t begin = std::max(at, extent->offset), end = std::min(to, extent->end());
    if (begin > at) add_zeros(slices, begin - at);
    extent->show(begin, end, slices);
    at = end;
  }
  if (at < to) add_zeros(slices, to - at);
}

void Reader::close(ReadStream& stream) {
  for (const auto& wished : std::exchange(stream.wished, {})) {
    const ExtentRef extent = wished.lock();
    if (!extent || extent->stream != &stream) continue;
    extent->stream = nullptr;
    const bool unwanted = extent->state == Extent::State::remote && extent->waiters.empty();
    if (unwanted) parts_.remote.cancel(extent->call);
  }
}

}  // namespace rushfs::fs

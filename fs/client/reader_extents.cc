// The extents of a file in memory: how they are found and fetched.
#include <algorithm>
#include <cerrno>

#include "fs/client/reader.h"

namespace rushfs::fs {

namespace {

constexpr std::uint64_t kBlock = cache::kBlockBytes;
/// 4 MiB under way fill 100 Mb/s over 300 ms.
constexpr std::uint64_t kSmallestWindow = 4 << 20;
/// Times of what arrives in a round trip: where packets are lost, a reply takes two or three.
constexpr std::uint64_t kRoundTripsInFlight = 4;
/// 10 Gb/s over 100 ms, and a bound on memory.
constexpr std::uint64_t kLargestWindow = 128 << 20;
constexpr std::uint64_t kWorthStoring = 64 << 10;

/// A smaller part of a block may be followed by others, and by small writes that would make the
/// block be stored again each time: it is stored with its last part, or when memory gives it up.
/// The last part of a file that is open for writing need not be that.
bool is_worth_storing(const Inode& inode, std::uint64_t from, std::uint64_t to) {
  const bool last = to >= inode.server.size && inode.writers == 0;
  return to - from >= kWorthStoring || to % kBlock == 0 || last;
}

}  // namespace

void Reader::attached(std::uint32_t max_read) { max_read_ = std::min(max_read, kMaxTransfer); }

bool Reader::has_start(const Inode& inode) const {
  const auto& content = inode.content;
  if (inode.server.size == 0) return true;
  return content.extents.contains(0) || content.maybe_on_disk(0);
}

void Reader::prepare(const InodeRef& inode, Loop::Job done) {
  if (inode->content.disk_known || inode->server.size == 0) {
    inode->content.disk_known = true;
    return std::move(done)();
  }
  parts_.blocks_loop.run(
      [&cache = parts_.blocks, node = inode->node, version = inode->server.version] {
        return cache.blocks_of(node.bytes, version.value);
      },
      [inode, version = inode->server.version,
       done = std::move(done)](std::vector<std::uint64_t> found) mutable {
        if (!inode->content.disk_known) {
          inode->content.disk_known = true;
          if (inode->server.version == version) {
            inode->content.on_disk.insert(found.begin(), found.end());
          }
        }
        std::move(done)();
      });
}

void Reader::seed(const InodeRef& inode, std::uint64_t offset, std::shared_ptr<const Buffer> owner,
                  std::span<const std::uint8_t> bytes, std::uint64_t zeros) {
  if (bytes.empty() && zeros == 0) return;
  auto& extents = inode->content.extents;
  const std::uint64_t end = offset + bytes.size();
  const auto next = extents.lower_bound(offset);
  if (next != extents.end() && next->first < std::max(end, offset + 1)) return;
  if (next != extents.begin() && std::prev(next)->second->end() > offset) return;
  const auto extent = add(*inode, offset, end);
  fit(*inode, extent, bytes.size() + zeros);
  extent->data = {std::move(owner), bytes};
  ready(inode, extent, is_worth_storing(*inode, offset, end) ? end : offset);
  if (bytes.size() < kWorthStoring) join_pieces(inode, offset / kBlock);
}

/// Of what the server told, from the extent's offset on, what no other extent has.
void Reader::fit(Inode& inode, const ExtentRef& extent, std::uint64_t length) {
  const auto next = inode.content.extents.upper_bound(extent->offset);
  const bool last = next == inode.content.extents.end();
  extent->length = last ? length : std::min(length, next->first - extent->offset);
}

// Calls `visit` for each extent that covers part of the range, after making those that are missing.
void Reader::cover(const InodeRef& inode, std::uint64_t from, std::uint64_t to, Priority priority,
                   ReadStream* stream, const std::function<void(const ExtentRef&)>& visit) {
  auto& extents = inode->content.extents;
  std::uint64_t at = from;
  bool hole = false;
  while (at < to) {
    auto next = extents.upper_bound(at);
    if (next != extents.begin()) {
      const auto here = std::prev(next)->second;
      if (here->end() > at) {
        const std::uint64_t end = std::min(here->end(), to);
        if (here->state == Extent::State::ready) touch(here);
        if (priority == Priority::demand) {
          here->stream = nullptr;  // no longer only a guess
          status_.hits += end - at;
          hole |= here->state == Extent::State::ready && here->data_end() < end;
        }
        visit(here);
        at = end;
        continue;
      }
    }
    const std::uint64_t gap_end = next == extents.end() ? to : std::min(to, next->first);
    fill_gap(inode, at, gap_end, priority, stream, visit);
    at = gap_end;
  }
  // What a hole is known to be is stored where programs look.
  if (hole && is_worth_storing(*inode, from, to)) store(*inode, from, to);
}

// [from, to) lies in no extent. Blocks on disk are loaded one by one; the rest is asked of the
// server in as few requests as it allows. Guesses leave alone what is on disk.
void Reader::fill_gap(const InodeRef& inode, std::uint64_t from, std::uint64_t to,
                      Priority priority, ReadStream* stream,
                      const std::function<void(const ExtentRef&)>& visit) {
  std::uint64_t at = from;
  while (at < to) {
    const std::uint64_t block = at / kBlock;
    const bool disk = inode->content.maybe_on_disk(block);
    std::uint64_t end = std::min(to, (block + 1) * kBlock);
    if (!disk) {
      while (end < to && !inode->content.maybe_on_disk(end / kBlock)) {
        end = std::min(to, end + kBlock);
      }
      end = std::min(end, at + max_read_);
    } else if (priority == Priority::ahead) {
      at = end;
      continue;
    }
    const auto extent = add(*inode, at, end);
    extent->priority = priority;
    if (stream != nullptr) wish(*stream, extent);
    (disk ? status_.hits : status_.misses) += end - at;
    visit(extent);
    if (disk) {
      look_on_disk(inode, extent, block);
    } else {
      ask_server(inode, extent);
    }
    at = end;
  }
}

void Reader::wish(ReadStream& stream, const ExtentRef& extent) {
  extent->stream = &stream;
  const auto arrived = [](const ExtentRef& first) {
    return !first || first->state == Extent::State::ready;
  };
  while (!stream.wished.empty() && arrived(stream.wished.front().lock())) {
    stream.wished.pop_front();
  }
  stream.wished.push_back(extent);
}

ExtentRef Reader::add(Inode& inode, std::uint64_t from, std::uint64_t to) {
  auto extent = std::make_shared<Extent>();
  extent->offset = extent->data_at = from;
  extent->length = to - from;
  extent->epoch = inode.epoch;
  extent->place = recent_.end();
  inode.content.extents.emplace(from, extent);
  return extent;
}

void Reader::look_on_disk(const InodeRef& inode, const ExtentRef& extent, std::uint64_t block) {
  parts_.blocks_loop.run(
      [&cache = parts_.blocks, node = inode->node, version = inode->server.version, block] {
        return cache.read(node.bytes, version.value, block);
      },
      [this, inode, extent, block, drops = inode->content.drops](
          std::optional<cache::Buffer> bytes) {
        if (!bytes) {
          inode->content.on_disk.erase(block);
          status_.hits -= std::min(status_.hits, extent->length);
          status_.misses += extent->length;
          return ask_server(inode, extent);
        }
        const auto owner = std::make_shared<const Buffer>(std::move(*bytes));
        if (drops == inode->content.drops && extent->kept) {
          widen(*inode, extent, block * kBlock, block * kBlock + owner->size());
        }
        const std::uint64_t skip = std::min(extent->offset - block * kBlock, owner->size());
        const std::uint64_t length = std::min(extent->length, owner->size() - skip);
        extent->data = Slice{owner, std::span(*owner)}.part(skip, length);
        ready(inode, extent, extent->offset);
      });
}

// More has come with it, [from, to): it takes what no other extent has.
void Reader::widen(Inode& inode, const ExtentRef& extent, std::uint64_t from, std::uint64_t to) {
  auto& extents = inode.content.extents;
  const auto here = extents.find(extent->offset);
  if (here != extents.begin()) from = std::max(from, std::prev(here)->second->end());
  if (const auto next = std::next(here); next != extents.end()) to = std::min(to, next->first);
  const std::uint64_t end = std::max(to, extent->end());
  extents.erase(here);
  extent->offset = extent->data_at = from;
  extent->length = end - from;
  extents.emplace(from, extent);
}

void Reader::ask_server(const InodeRef& inode, const ExtentRef& extent) {
  extent->state = Extent::State::remote;
  extent->epoch = inode->epoch;
  if (extent->priority == Priority::ahead) ahead_ += extent->length;
  extent->call = ask(parts_.remote, extent->priority,
                     Read{inode->node, extent->offset, static_cast<std::uint32_t>(extent->length)},
                     [this, inode, extent](Result<Answer<ReadReply>> answer) {
                       server_answered(inode, extent, std::move(answer));
                     });
}

void Reader::server_answered(const InodeRef& inode, const ExtentRef& extent,
                             Result<Answer<ReadReply>> answer) {
  if (extent->priority == Priority::ahead) ahead_ -= extent->length;
  if (!answer) {
    // A guess that timed out or failed is no verdict on the read that joined it: ask for real.
    const bool joined = extent->priority == Priority::ahead && !extent->waiters.empty();
    if (joined && answer.error().value() != ENOTCONN) {
      extent->priority = Priority::demand;
      return ask_server(inode, extent);
    }
    return fail(*inode, extent, answer.error());
  }
  const ReadReply reply = answer->reply;
  auto owner = std::make_shared<const Buffer>(std::move(answer->bytes));
  delivered(reply.data.size());
  extent->state = Extent::State::arriving;
  const Heard heard = judge_(*inode, reply, extent->epoch);
  if (heard != Heard::same) unkeep(*inode, extent);
  if (heard != Heard::same) extent->file_end = reply.attributes.size;
  const std::uint64_t asked_to = extent->end();
  std::uint64_t told = reply.zeros_before + reply.data.size() + reply.zeros_after;
  // A change of ours that was answered meanwhile may lie beyond what was asked for.
  if (extent->epoch < inode->epoch) told = std::min(told, extent->length);
  extent->data = {std::move(owner), reply.data};
  extent->data_at = extent->offset + reply.zeros_before;
  if (told == 0) unkeep(*inode, extent);
  if (extent->kept) fit(*inode, extent, told);
  ready(inode, extent, std::min(asked_to, extent->end()));
}

// The window follows what arrived in the last round trip: it grows while the path takes more, and
// settles at a multiple of its capacity (the idea of TCP's receive buffer auto-tuning).
void Reader::delivered(std::uint64_t bytes) {
  const auto now = parts_.time.now;
  period_bytes_ += bytes;
  const auto elapsed = now - period_start_;
  if (elapsed < round_trip_) return;
  if (elapsed < 4 * round_trip_) {
    const double share = transport::seconds(round_trip_) / transport::seconds(elapsed);
    const auto sample = static_cast<std::uint64_t>(static_cast<double>(period_bytes_) * share);
    window_ = std::clamp(std::max(kRoundTripsInFlight * sample, window_ - window_ / 64),
                         kSmallestWindow, kLargestWindow);
  }
  period_start_ = now;
  period_bytes_ = 0;
}

}  // namespace rushfs::fs

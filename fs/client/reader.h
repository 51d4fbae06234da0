// Reader answers reads: bytes that wait in the write queue first, the rest from memory, from the
// block cache, or from the server; and fetches ahead. What was fetched is kept in memory for a
// while and written to the block cache afterwards.
//
// A file in memory is a set of extents, each one fetch: any byte range, without overlap. A read
// joins the extents that are there or on their way and starts fetches for the gaps, exactly what
// was asked first. Owner: the file loop.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "fs/client/client_parts.h"
#include "fs/client/freshness.h"
#include "fs/client/inodes.h"
#include "fs/client/mount_status.h"
#include "fs/client/prefetcher.h"
#include "fs/client/reply.h"
#include "fs/protocol/spans.h"

namespace rushfs::fs {

/// Bytes that stay where they are as long as the slice lives.
struct Slice {
  std::shared_ptr<const Buffer> owner;
  std::span<const std::uint8_t> bytes;
  /// To be kept. Copied where it is little of what its owner holds: all of that would stay, too.
  Slice part(std::uint64_t from, std::uint64_t length) const;
};
using Slices = std::vector<Slice>;

struct Extent;
using ExtentRef = std::shared_ptr<Extent>;

/// Who reads: the pattern is judged per open file.
struct ReadStream {
  Prefetcher prefetcher;
  /// What was asked for ahead: small reads lead to the same wishes again and again.
  struct Ahead {
    Version version;
    std::optional<std::uint64_t> block;  // around the last read
    std::uint64_t to = 0;
  } ahead;
  std::deque<std::weak_ptr<Extent>> wished;  // asked for ahead, what has arrived not all removed
};

struct Extent {
  enum class State : std::uint8_t { disk, remote, arriving, ready };
  using Waiter = absl::AnyInvocable<void(boost::system::error_code) &&>;

  std::uint64_t offset = 0, length = 0;
  State state = State::disk;
  Priority priority = Priority::demand;
  // When ready: what is not zeros. A hole has none, and may reach far.
  Slice data;
  std::uint64_t data_at = 0;
  std::uint64_t epoch = 0;      // the inode's when it was asked for
  bool kept = true;             // still in Content::extents
  std::optional<std::uint64_t> file_end;  // the server's, when it was not what we knew
  CallId call;                  // when remote
  const ReadStream* stream = nullptr;  // whose prefetch it is
  std::vector<Waiter> waiters;
  std::list<std::pair<std::weak_ptr<Inode>, std::uint64_t>>::iterator place;  // when ready

  std::uint64_t end() const { return offset + length; }
  std::uint64_t data_end() const { return data_at + data.bytes.size(); }
  /// Adds the bytes [from, to) of the file, which it covers.
  void show(std::uint64_t from, std::uint64_t to, Slices& slices) const;
};

class Reader {
 public:
  /// Judges what a reply tells of the file, and drops what is not good any more.
  using Judge =
      std::function<Heard(Inode&, const ReadReply&, std::uint64_t asked_epoch)>;
  Reader(const ClientParts& parts, Judge judge);
  /// Reads under way are dropped.
  ~Reader();

  void attached(std::uint32_t max_read);
  /// A handle on the file is opened for reading: finds out what the block cache has.
  void prepare(const InodeRef& inode, Loop::Job done);
  /// Its first bytes are here already.
  bool has_start(const Inode& inode) const;
  /// Bytes of the server's file, at its version, that are here without a read: they came with
  /// another reply (Open), or we have just written them. `zeros`: so many follow.
  void seed(const InodeRef& inode, std::uint64_t offset, std::shared_ptr<const Buffer> owner,
            std::span<const std::uint8_t> bytes, std::uint64_t zeros = 0);
  /// Short only at the end of the file.
  void read(const InodeRef& inode, std::shared_ptr<ReadStream> stream, std::uint64_t offset,
            std::uint64_t length, Reply<Slices> reply);
  /// The handle is closed: what it had asked for ahead is not wanted any more.
  void close(ReadStream& stream);
  /// Nobody writes to the file any more: its last block will not be another soon.
  void written(Inode& inode);
  /// It may change any moment, and somebody will look in the block cache for what it is now.
  void keep(Inode& inode);

  // What became of the server's file.

  /// Somebody else changed it: nothing held is good.
  void discard(Inode& inode);
  /// A change of these parts took it from one version to another.
  void changed(Inode& inode, Version before, const Spans& parts);
  /// The inode is given up; its blocks stay on disk.
  void forget(Inode& inode);

  void set_round_trip(transport::Duration round_trip) { round_trip_ = round_trip; }
  /// Bytes worth having under way.
  std::uint64_t window() const { return window_; }
  const CacheStatus& status() const { return status_; }
  std::uint64_t memory_bytes() const { return memory_; }

 private:
  struct Operation;
  using Operations = std::list<Operation>;

  // reader.cc
  void resolve(Operations::iterator operation, std::vector<cache::Piece> pieces);
  void arrived(Operations::iterator operation, boost::system::error_code error);
  static std::uint64_t end_of_file(const Operation& operation);
  void finish(Operations::iterator ended);
  void add_base(const Operation& operation, std::uint64_t from, std::uint64_t to, Slices& slices);
  void follow(const InodeRef& inode, ReadStream& stream, std::uint64_t offset,
              std::uint64_t length);

  // reader_extents.cc
  void cover(const InodeRef& inode, std::uint64_t from, std::uint64_t to, Priority priority,
             ReadStream* stream, const std::function<void(const ExtentRef&)>& visit);
  void fill_gap(const InodeRef& inode, std::uint64_t from, std::uint64_t to, Priority priority,
                ReadStream* stream, const std::function<void(const ExtentRef&)>& visit);
  static void wish(ReadStream& stream, const ExtentRef& extent);
  ExtentRef add(Inode& inode, std::uint64_t from, std::uint64_t to);
  void look_on_disk(const InodeRef& inode, const ExtentRef& extent, std::uint64_t block);
  static void widen(Inode& inode, const ExtentRef& extent, std::uint64_t from, std::uint64_t to);
  void ask_server(const InodeRef& inode, const ExtentRef& extent);
  void server_answered(const InodeRef& inode, const ExtentRef& extent,
                       Result<Answer<ReadReply>> answer);
  void fit(Inode& inode, const ExtentRef& extent, std::uint64_t length);
  void delivered(std::uint64_t bytes);

  // reader_memory.cc
  void ready(const InodeRef& inode, const ExtentRef& extent, std::uint64_t store_to);
  void fail(Inode& inode, const ExtentRef& extent, boost::system::error_code error);
  void unkeep(Inode& inode, const ExtentRef& extent);
  void drop(Inode& inode, const Span& part);
  void cut(Inode& inode, const ExtentRef& extent, std::uint64_t from, std::uint64_t to);
  void touch(const ExtentRef& extent);
  void make_room();
  void join_pieces(const InodeRef& inode, std::uint64_t block);
  void join(const InodeRef& inode, std::span<const ExtentRef> adjacent);
  void give_up(Inode& inode, const ExtentRef& extent);
  void store(Inode& inode, std::uint64_t from, std::uint64_t to);
  void store_block(Inode& inode, std::uint64_t block, Slices parts);

  ClientParts parts_;
  Judge judge_;
  std::uint32_t max_read_ = kDefaultTransfer;
  Operations operations_;  // under way; extents they wait for refer to them
  std::list<std::pair<std::weak_ptr<Inode>, std::uint64_t>> recent_;  // least recent first
  std::uint64_t memory_ = 0;        // bytes of ready extents
  std::uint64_t ahead_ = 0;         // bytes asked for ahead and not arrived
  std::uint64_t being_stored_ = 0;  // bytes on their way to the block cache
  transport::Duration storing_took_{};  // the block that last got there
  // What the path delivers, measured per round trip.
  transport::Duration round_trip_ = std::chrono::milliseconds(100);
  transport::TimePoint period_start_{};
  std::uint64_t period_bytes_ = 0;
  std::uint64_t window_;
  CacheStatus status_;
};

}  // namespace rushfs::fs

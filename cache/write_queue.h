// The durable, ordered log of operations that are not yet on the server's stable storage.
//
// Synchronous; one owner (the queue disk loop); no internal locking. What is appended is visible
// to read(), next() and pending() at once and survives kill -9 and power loss from the moment
// commit() has returned success. Sequence numbers are reserved durably before they are handed out,
// so one that was ever sent to a server is never used again, even if its append was lost.
// Errors are errno values: ENOSPC (disk full) and EIO leave the queue as it was before the call;
// EDQUOT means that there are as many bytes or operations as may be: wait for completions and try
// again.
// Layout on disk: docs/disk-format.md.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/operation.h"
#include "cache/result.h"

namespace rushfs::cache {

// Longest single write: a whole number of these fits a data file and one fits a request.
inline constexpr std::uint64_t kMaximumWriteBytes = 4 * 1024 * 1024;
// Longest payload of the other kinds.
inline constexpr std::uint64_t kMaximumPayloadBytes = 64 * 1024;
// Of what a file was before.
inline constexpr std::size_t kMaximumBaseBytes = 1024;
// Offsets and sizes are those of POSIX files.
inline constexpr std::uint64_t kMaximumFileBytes = std::numeric_limits<std::int64_t>::max();
// What a write counts beside its bytes in WriteQueue::certain_bytes(): so many that memory or
// sequence numbers run out are not certain.
inline constexpr std::uint64_t kWriteCost = 256;
// Operations loaded at once: some ten milliseconds, however small they are.
inline constexpr std::size_t kMostAtOnce = 8192;

struct WriteQueueStats {
  std::uint64_t operations = 0;  // queued, parked ones included
  std::uint64_t data_bytes = 0;
  std::uint64_t parked_operations = 0;   // failed or damaged (not those waiting behind them)
  std::uint64_t damaged_operations = 0;  // found by checksum since this object was made
  std::uint64_t uncommitted_operations = 0;
  std::optional<std::chrono::system_clock::time_point> oldest;  // when the oldest was appended
};

class WriteQueue {
 public:
  struct Options {
    std::filesystem::path folder;  // created when missing; belongs to this object alone
    // Of queued data; a single write always fits an empty queue.
    std::uint64_t budget_bytes = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t most_operations = 1 << 20;  // with data; each takes some 350 bytes of memory
  };
  using Id = std::array<std::uint8_t, 16>;

  // Opens or creates the queue; one of an older format with nothing in it is begun anew. Throws
  // std::runtime_error, changing nothing, when the folder cannot be used: another process holds it
  // (the message names its pid), no permission, a newer format, an older one with operations in it,
  // or a log so damaged that operations would be lost by going on.
  explicit WriteQueue(const Options& options);
  ~WriteQueue();  // tries to commit; no promise
  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;

  // Random, made with the folder: names the space of sequence numbers towards the server.
  const Id& id() const;

  // --- the file side -------------------------------------------------------------------------
  // All return the operation's sequence. Data is 1 to kMaximumWriteBytes long.
  Result<std::uint64_t> append_write(const Origin& origin, std::uint64_t offset_bytes,
                                     std::span<const std::uint8_t> data,
                                     OperationKind kind = OperationKind::write);  // or append
  // Writes that follow are taken whatever happens to the space on this disk, as long as their
  // bytes and kWriteCost for each are not more than this. Appends lessen it, and a disk that fails.
  std::uint64_t certain_bytes() const;
  // `encoded` is opaque here; `size_bytes` repeats the new size when the operation sets one.
  Result<std::uint64_t> append_attributes(const Origin& origin,
                                          std::span<const std::uint8_t> encoded,
                                          std::optional<std::uint64_t> size_bytes);
  // What leaves content and size alone (change), makes [begin, end) zeros (zero), or the file at
  // least `end` long (extend).
  Result<std::uint64_t> append_change(const Origin& origin, OperationKind kind,
                                      std::span<const std::uint8_t> encoded,
                                      std::uint64_t begin_bytes = 0, std::uint64_t end_bytes = 0);
  // Makes everything that was appended, completed, parked or discarded so far durable. On error
  // nothing is lost: it all stays in memory and the next commit tries again.
  Result<void> commit();

  // The range as queued operations leave it. The caller cuts it to the file's size first
  // (pending(node).size). EIO when queued bytes in it are damaged, or an operation on the file
  // whose range is no longer known.
  Result<std::vector<Piece>> read(std::string_view node, std::uint64_t offset_bytes,
                                  std::uint64_t length_bytes);
  PendingNode pending(std::string_view node) const;
  // What is queued for the node changes its content at its end only, wherever that is.
  bool only_appends(std::string_view node) const;
  // Every node with queued operations; for start-up and status.
  std::vector<PendingNode> nodes() const;
  // The range as read() would give it, without the bytes.
  std::vector<Piece> layout(std::string_view node, std::uint64_t offset_bytes,
                            std::uint64_t length_bytes) const;
  // Payloads of the node's queued changes beside data, oldest first.
  std::vector<Buffer> queued_changes(std::string_view node) const;

  // --- the sending side ----------------------------------------------------------------------
  // Operations after `after_sequence` in order, with data, until max_bytes or kMostAtOnce of them
  // are loaded (at least one if there is one). Not those of parked nodes, also later, until
  // retry_parked(). Includes uncommitted ones. Data found damaged parks its operation.
  std::vector<Operation> next(std::uint64_t after_sequence, std::uint64_t max_bytes);
  // The same for chosen sequences (a retry); unknown, damaged and parked ones are left out.
  std::vector<Operation> load(std::span<const std::uint64_t> sequences);

  // These are on the server's stable storage: forget them. Per node in order of sequence; unknown
  // sequences are ignored. Space on disk is free after the next commit(). The server's file has
  // changed by then: what was cached of the node under the operations' ranges (and past a set
  // size) must be dropped or replaced by the caller, or base pieces would show old bytes.
  void complete(std::span<const std::uint64_t> sequences);
  void complete(std::string_view node, std::uint64_t up_to_sequence);

  // What is known from now on of what these files were before; empty: nothing. Durable, once this
  // returns success: their operations may be sent.
  struct NewBase {
    NodeId node;
    std::string base;
  };
  Result<void> replace_bases(std::span<const NewBase> bases);

  // Where the server put these appends, neighbours of one file, in order: writes from now on, so
  // that sending them again does no harm. Unknown sequences are ignored.
  void place_appends(std::span<const std::uint64_t> sequences, std::uint64_t offset_bytes);
  // The server refused it: kept, shown, and it holds back its node. Others go on.
  void fail(std::uint64_t sequence, int error, std::string_view message);
  // The same of all that is queued for the node.
  void fail_all(std::string_view node, int error, std::string_view message);
  // Frees all parked nodes except damaged operations; returns all sequences that may be sent
  // again, in order (those behind the failed ones too).
  std::vector<std::uint64_t> retry_parked();
  std::vector<ParkedOperation> parked() const;
  // The file is gone: forgets all its operations.
  void discard(std::string_view node);

  WriteQueueStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rushfs::cache

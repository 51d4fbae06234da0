// The inside of WriteQueue: log, data and index kept in step.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cache/folder_lock.h"
#include "cache/queue_data.h"
#include "cache/queue_index.h"
#include "cache/queue_log.h"
#include "cache/space_reserve.h"
#include "cache/write_queue.h"

namespace rushfs::cache {

struct WriteQueue::State {
  explicit State(const Options& options);

  Result<std::uint64_t> append(const Origin& origin, QueuedOperation operation,
                               std::span<const std::uint8_t> bytes);
  Result<void> store_changes();
  void remove(std::uint64_t sequence) { data.free(index.remove(sequence)); }

  // The operation with its data; none when it is unknown, held back, or found damaged.
  std::optional<Operation> load(std::uint64_t sequence);
  // A part of a write's data, from an operation that was verified as a whole before.
  Result<Buffer> read_part(std::uint64_t sequence, std::uint64_t skip_bytes,
                           std::uint64_t length_bytes);
  PendingNode describe(const QueuedNode& node) const;

  Options options;
  FolderLock lock;
  SpaceReserve reserve;
  QueueData data;
  QueueLog log;
  QueueIndex index;
  std::uint64_t next_sequence = 1;
  std::uint64_t damaged = 0;  // operations found so

 private:
  void load_log();
  void load_operation(const OperationRow& row, QueuedNode* node);
  Result<std::uint64_t> allocate();
  Result<Buffer> read_verified(QueuedOperation& operation);
  void park_unreadable(std::uint64_t sequence, boost::system::error_code error);
};

}  // namespace rushfs::cache

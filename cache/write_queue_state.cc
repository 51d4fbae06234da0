#include "cache/write_queue_state.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <stdexcept>
#include <unordered_map>

#include "cache/sparse_file.h"

namespace rushfs::cache {
namespace {

// Sequence numbers reserved at a time: one small transaction per million operations or start.
constexpr std::uint64_t kReservedSequences = 1 << 20;

std::uint64_t microseconds_of(std::chrono::system_clock::time_point time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count());
}

// One of an older format with nothing in it makes way for a new one.
QueueLog open_log(const std::filesystem::path& file, QueueData& data) {
  try {
    return QueueLog(file);
  } catch (const DatabaseError& error) {
    if (error.kind() != DatabaseError::Kind::older || !QueueLog::holds_nothing(file)) throw;
    spdlog::info("{}. Nothing is queued in it: a new one takes its place", error.what());
  }
  data.collect_garbage();
  Database::remove(file);
  return QueueLog(file);
}

}  // namespace

WriteQueue::State::State(const Options& chosen)
    : options(chosen),
      lock(chosen.folder),
      reserve(chosen.folder / "reserve"),
      data(chosen.folder / "data"),
      log(open_log(chosen.folder / "queue.db", data)) {
  load_log();
  if (const Result<void> synced = sync_folder(chosen.folder); !synced) {
    throw std::runtime_error("cannot sync folder " + chosen.folder.string() + ": " +
                             synced.error().message());
  }
  next_sequence = log.header().reserved_sequence;
  if (!log.reserve(next_sequence + kReservedSequences)) {
    throw std::runtime_error(log.last_failure());
  }
  data.collect_garbage();
  reserve.take();
}

void WriteQueue::State::load_log() {
  const std::string file = (options.folder / "queue.db").string();
  std::unordered_map<std::uint64_t, QueuedNode*> nodes;
  const Result<void> loaded = log.load(
      [&](const NodeRow& row) { nodes.emplace(row.id, &index.enter_stored(row)); },
      [&](const OperationRow& row) {
        const auto& known = index.operations();
        if (row.sequence >= log.header().reserved_sequence ||
            (!known.empty() && row.sequence <= known.rbegin()->first)) {
          throw DatabaseError(
              fmt::format("{} is damaged: no operation can have number {}", file, row.sequence),
              DatabaseError::Kind::damaged);
        }
        const auto node = nodes.find(row.node);
        load_operation(row, node == nodes.end() ? nullptr : node->second);
      });
  if (!loaded) throw DatabaseError(log.last_failure(), DatabaseError::Kind::damaged);
  if (log.is_new() && !data.empty()) {
    throw DatabaseError(file + " is missing or empty, but there is data of queued operations",
                        DatabaseError::Kind::damaged);
  }
  const LogTotals& expected = log.header().totals;
  const LogTotals& found = index.totals();
  if (found.operations != expected.operations) {
    throw DatabaseError(
        fmt::format("{} is damaged: it should hold {} queued operations, but has {}", file,
                    expected.operations, found.operations),
        DatabaseError::Kind::damaged);
  }
  if (found.checksums != expected.checksums) {
    spdlog::error("{} is damaged: operations that do not match their checksums will be held back",
                  file);
  }
}

// A row that cannot be true is kept, parked, in view.
void WriteQueue::State::load_operation(const OperationRow& row, QueuedNode* node) {
  QueuedOperation operation;
  operation.node = node != nullptr ? node : &index.enter("", "unknown file");
  operation.kind = static_cast<OperationKind>(row.kind);
  operation.offset_bytes = row.offset_bytes;
  operation.size_bytes = row.size_bytes;
  operation.place = row.place;
  operation.payload.assign(row.payload.begin(), row.payload.end());
  operation.bytes_checksum = row.bytes_checksum;
  operation.row_checksum = row.row_checksum;
  operation.appended_us = row.appended_us;
  operation.has_row = true;
  operation.verified = !carries_data(operation.kind);
  bool usable = node != nullptr && row.kind <= std::numeric_limits<std::uint8_t>::max() &&
                row_checksum_of(row.sequence, operation) == row.row_checksum;
  if (operation.kind == OperationKind::zero) {
    usable = usable && row.size_bytes.value_or(0) > row.offset_bytes;
  }
  if (carries_data(operation.kind)) {
    usable = usable && row.offset_bytes <= kMaximumFileBytes && data.keep(row.place);
  } else {
    usable = usable && bytes_checksum_of(operation.payload) == row.bytes_checksum;
  }
  operation.usable = usable;
  if (!usable) operation.place = {};
  index.add(row.sequence, std::move(operation));
  if (!usable) {
    ++damaged;
    index.park(row.sequence, {EIO, "its entry in the local queue is damaged", true});
  } else if (row.error != 0) {
    index.park(row.sequence, {static_cast<int>(row.error), std::string(row.message), false});
  }
}

// A number may reach the server as soon as it is handed out, so its reservation must be durable.
Result<std::uint64_t> WriteQueue::State::allocate() {
  if (next_sequence >= log.header().reserved_sequence) {
    const Result<void> reserved = log.reserve(next_sequence + kReservedSequences);
    if (!reserved) return reserved.error();
  }
  return next_sequence;
}

Result<std::uint64_t> WriteQueue::State::append(const Origin& origin, QueuedOperation operation,
                                                std::span<const std::uint8_t> bytes) {
  assert(!origin.node.empty() && origin.node.size() <= kMaximumNodeIdBytes);
  assert(origin.base.size() <= kMaximumBaseBytes);
  const Result<std::uint64_t> sequence = allocate();
  if (!sequence) return sequence.error();
  if (carries_data(operation.kind)) {
    const Result<DataPlace> place = data.append(bytes);
    if (!place) return place.error();
    operation.place = *place;
  } else {
    operation.payload.assign(bytes.begin(), bytes.end());
  }
  ++next_sequence;
  operation.node = &index.enter(origin.node, origin.display_name, origin.base);
  operation.appended_us = microseconds_of(origin.now);
  operation.bytes_checksum = bytes_checksum_of(bytes);
  operation.row_checksum = row_checksum_of(*sequence, operation);
  operation.verified = true;
  index.add(*sequence, std::move(operation));
  return *sequence;
}

// Data before the rows that refer to it, rows gone before the data they referred to.
Result<void> WriteQueue::State::store_changes() {
  if (!index.has_changes()) return {};
  if (const Result<void> synced = data.sync(); !synced) return synced.error();
  const QueueLog::Changes changes = index.changes();
  Result<void> stored = log.apply(changes);
  while (!stored && stored.error().value() == ENOSPC && reserve.release_part()) {
    stored = log.apply(changes);
  }
  if (!stored) {
    spdlog::error("{}", log.last_failure());
    return stored.error();
  }
  index.changes_stored();
  data.reclaim();
  reserve.take();
  return {};
}

Result<Buffer> WriteQueue::State::read_verified(QueuedOperation& operation) {
  if (!carries_data(operation.kind)) return operation.payload;
  Buffer bytes(operation.place.length_bytes);
  if (const Result<void> read = data.read(operation.place, 0, bytes); !read) return read.error();
  if (bytes_checksum_of(bytes) != operation.bytes_checksum) {
    return error_from_errno(EBADMSG);
  }
  operation.verified = true;
  return bytes;
}

void WriteQueue::State::park_unreadable(std::uint64_t sequence, boost::system::error_code error) {
  const bool is_damaged = error.value() == EBADMSG || error.value() == EIO;
  ParkedState state{EIO,
                    is_damaged ? "its data in the local queue is damaged"
                               : "its data in the local queue cannot be read: " + error.message(),
                    is_damaged};
  const QueuedOperation& operation = *index.find(sequence);
  spdlog::error("operation {} on {}: {}", sequence, operation.node->name, state.message);
  if (is_damaged) ++damaged;
  index.park(sequence, std::move(state));
}

Result<Buffer> WriteQueue::State::read_part(std::uint64_t sequence, std::uint64_t skip_bytes,
                                            std::uint64_t length_bytes) {
  QueuedOperation& operation = *index.find(sequence);
  if (!operation.verified) {
    if (const Result<Buffer> whole = read_verified(operation); !whole) {
      park_unreadable(sequence, whole.error());
      return error_from_errno(EIO);
    }
  }
  Buffer bytes(length_bytes);
  if (const Result<void> read = data.read(operation.place, skip_bytes, bytes); !read) {
    return read.error();
  }
  return bytes;
}

std::optional<Operation> WriteQueue::State::load(std::uint64_t sequence) {
  QueuedOperation* queued = index.find(sequence);
  if (queued == nullptr || queued->node->holds_back(sequence)) return std::nullopt;
  Result<Buffer> bytes = read_verified(*queued);
  if (!bytes) {
    park_unreadable(sequence, bytes.error());
    return std::nullopt;
  }
  Operation operation;
  operation.sequence = sequence;
  const auto& sequences = queued->node->sequences;
  const auto position = std::lower_bound(sequences.begin(), sequences.end(), sequence);
  if (position != sequences.begin()) operation.after = *std::prev(position);
  operation.node = queued->node->node;
  operation.display_name = queued->node->name;
  operation.kind = queued->kind;
  operation.offset_bytes = queued->offset_bytes;
  operation.size_bytes = queued->size_bytes;
  operation.data = std::move(*bytes);
  return operation;
}

PendingNode WriteQueue::State::describe(const QueuedNode& node) const {
  PendingNode pending;
  pending.node = node.node;
  pending.display_name = node.name;
  pending.operations = node.sequences.size();
  pending.data_bytes = node.data_bytes;
  if (!node.sequences.empty()) pending.last_sequence = node.sequences.back();
  pending.size = node.overlay.size_effect();
  pending.parked = !node.parked.empty();
  pending.base = node.base;
  return pending;
}

}  // namespace rushfs::cache

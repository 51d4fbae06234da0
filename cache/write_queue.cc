#include "cache/write_queue.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <limits>
#include <stdexcept>

#include "cache/write_queue_state.h"

namespace rushfs::cache {

WriteQueue::WriteQueue(const Options& options) {
  try {
    state_ = std::make_unique<State>(options);
  } catch (const DatabaseError& error) {
    if (error.kind() == DatabaseError::Kind::unusable ||
        error.kind() == DatabaseError::Kind::newer) {
      throw;
    }
    if (error.kind() == DatabaseError::Kind::older) {
      throw std::runtime_error(std::string(error.what()) +
                               ". Changes that were not sent are in it, and nothing was changed."
                               " Mount with that one until `rushfs wait` returns, then with this"
                               " one");
    }
    throw std::runtime_error(std::string(error.what()) + ". Nothing was changed. Move " +
                             options.folder.string() +
                             " aside to start with an empty queue; what was not sent is in it");
  }
}

WriteQueue::~WriteQueue() {
  (void)commit();
}

const WriteQueue::Id& WriteQueue::id() const {
  return state_->log.header().id;
}

Result<std::uint64_t> WriteQueue::append_write(const Origin& origin, std::uint64_t offset_bytes,
                                               std::span<const std::uint8_t> data,
                                               OperationKind kind) {
  assert(carries_data(kind));
  assert(!data.empty() && data.size() <= kMaximumWriteBytes);
  if (offset_bytes > kMaximumFileBytes - data.size()) return error_from_errno(EFBIG);
  std::uint64_t queued = state_->index.data_bytes();
  if (const QueuedNode* other = state_->index.find(origin.instead_of)) queued -= other->data_bytes;
  const Options& limits = state_->options;
  const bool many = state_->index.operations().size() >= limits.most_operations;
  const bool much = queued > 0 && queued + data.size() > limits.budget_bytes;
  if (much || (many && origin.instead_of.empty())) return error_from_errno(EDQUOT);
  QueuedOperation operation;
  operation.kind = kind;
  operation.offset_bytes = offset_bytes;
  return state_->append(origin, std::move(operation), data);
}

std::uint64_t WriteQueue::certain_bytes() const {
  const std::uint64_t ahead = state_->data.ahead_bytes();
  const std::uint64_t many = ahead / kWriteCost;
  const Options& limits = state_->options;
  const std::uint64_t queued = state_->index.data_bytes();
  const bool numbers = state_->next_sequence + many <= state_->log.header().reserved_sequence;
  const bool memory = state_->index.operations().size() + many <= limits.most_operations;
  if (!numbers || !memory || queued > limits.budget_bytes) return 0;
  return std::min(ahead, limits.budget_bytes - queued);
}

Result<std::uint64_t> WriteQueue::append_attributes(const Origin& origin,
                                                    std::span<const std::uint8_t> encoded,
                                                    std::optional<std::uint64_t> size_bytes) {
  assert(encoded.size() <= kMaximumPayloadBytes);
  if (size_bytes.value_or(0) > kMaximumFileBytes) return error_from_errno(EFBIG);
  QueuedOperation operation;
  operation.kind = OperationKind::set_attributes;
  operation.size_bytes = size_bytes;
  return state_->append(origin, std::move(operation), encoded);
}

Result<std::uint64_t> WriteQueue::append_change(const Origin& origin, OperationKind kind,
                                                std::span<const std::uint8_t> encoded,
                                                std::uint64_t begin_bytes,
                                                std::uint64_t end_bytes) {
  assert(encoded.size() <= kMaximumPayloadBytes && begin_bytes <= end_bytes);
  if (end_bytes > kMaximumFileBytes) return error_from_errno(EFBIG);
  QueuedOperation operation;
  operation.kind = kind;
  if (kind == OperationKind::zero) operation.offset_bytes = begin_bytes;
  if (kind != OperationKind::change) operation.size_bytes = end_bytes;
  return state_->append(origin, std::move(operation), encoded);
}

Result<void> WriteQueue::commit() {
  return state_->store_changes();
}

Result<std::vector<Piece>> WriteQueue::read(std::string_view node, std::uint64_t offset_bytes,
                                            std::uint64_t length_bytes) {
  QueuedNode* queued = state_->index.find(node);
  std::vector<Piece> pieces;
  if (queued == nullptr) {
    if (length_bytes > 0) pieces.push_back({Piece::Kind::base, offset_bytes, length_bytes, {}});
    return pieces;
  }
  if (queued->unusable > 0) return error_from_errno(EIO);
  for (const Overlay::Part& part : queued->overlay.parts(offset_bytes, length_bytes)) {
    Piece piece{part.kind, part.offset_bytes, part.length_bytes, {}};
    if (part.kind == Piece::Kind::data) {
      const std::uint64_t start = state_->index.find(part.sequence)->offset_bytes;
      Result<Buffer> bytes =
          state_->read_part(part.sequence, part.offset_bytes - start, part.length_bytes);
      if (!bytes) return bytes.error();
      piece.data = std::move(*bytes);
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

PendingNode WriteQueue::pending(std::string_view node) const {
  const QueuedNode* queued = state_->index.find(node);
  if (queued != nullptr) return state_->describe(*queued);
  PendingNode nothing;
  nothing.node = node;
  return nothing;
}

bool WriteQueue::only_appends(std::string_view node) const {
  const QueuedNode* queued = state_->index.find(node);
  if (queued == nullptr) return true;
  return std::ranges::all_of(queued->sequences, [this](std::uint64_t sequence) {
    const QueuedOperation& operation = *state_->index.find(sequence);
    const bool attributes = !carries_data(operation.kind) && !operation.size_bytes;
    return operation.usable && (operation.kind == OperationKind::append || attributes);
  });
}

std::vector<PendingNode> WriteQueue::nodes() const {
  std::vector<PendingNode> nodes;
  nodes.reserve(state_->index.nodes().size());
  for (const auto& [id, node] : state_->index.nodes()) nodes.push_back(state_->describe(*node));
  return nodes;
}

std::vector<Piece> WriteQueue::layout(std::string_view node, std::uint64_t offset_bytes,
                                      std::uint64_t length_bytes) const {
  const QueuedNode* queued = state_->index.find(node);
  const Overlay nothing;
  const Overlay& overlay = queued != nullptr ? queued->overlay : nothing;
  std::vector<Piece> pieces;
  for (const Overlay::Part& part : overlay.parts(offset_bytes, length_bytes)) {
    pieces.push_back({part.kind, part.offset_bytes, part.length_bytes, {}});
  }
  return pieces;
}

std::vector<Buffer> WriteQueue::queued_changes(std::string_view node) const {
  std::vector<Buffer> payloads;
  const QueuedNode* queued = state_->index.find(node);
  if (queued == nullptr) return payloads;
  for (const std::uint64_t sequence : queued->sequences) {
    const QueuedOperation& operation = *state_->index.find(sequence);
    if (!carries_data(operation.kind) && operation.usable) payloads.push_back(operation.payload);
  }
  return payloads;
}

std::vector<Operation> WriteQueue::next(std::uint64_t after_sequence, std::uint64_t max_bytes) {
  std::vector<Operation> batch;
  std::uint64_t bytes = 0;
  const QueueIndex::Operations& operations = state_->index.operations();
  for (auto queued = operations.upper_bound(after_sequence);
       queued != operations.end() && (batch.empty() || bytes < max_bytes) &&
       batch.size() < kMostAtOnce;
       ++queued) {
    std::optional<Operation> operation = state_->load(queued->first);
    if (!operation) continue;
    bytes += operation->data.size();
    if (!batch.empty() && bytes > max_bytes) break;
    batch.push_back(std::move(*operation));
  }
  return batch;
}

std::vector<Operation> WriteQueue::load(std::span<const std::uint64_t> sequences) {
  std::vector<Operation> batch;
  for (const std::uint64_t sequence : sequences) {
    if (auto operation = state_->load(sequence)) batch.push_back(std::move(*operation));
  }
  return batch;
}

void WriteQueue::complete(std::span<const std::uint64_t> sequences) {
  for (const std::uint64_t sequence : sequences) {
    if (state_->index.find(sequence) != nullptr) state_->remove(sequence);
  }
}

void WriteQueue::complete(std::string_view node, std::uint64_t up_to_sequence) {
  const QueuedNode* queued = state_->index.find(node);
  if (queued == nullptr) return;
  const auto& all = queued->sequences;
  const std::vector<std::uint64_t> done(all.begin(),
                                        std::upper_bound(all.begin(), all.end(), up_to_sequence));
  for (const std::uint64_t sequence : done) state_->remove(sequence);
}

Result<void> WriteQueue::replace_bases(std::span<const NewBase> bases) {
  for (const auto& [node, base] : bases) state_->index.replace_base(node, base);
  return commit();
}

void WriteQueue::place_appends(std::span<const std::uint64_t> sequences,
                               std::uint64_t offset_bytes) {
  state_->index.place_appends(sequences, offset_bytes);
}

void WriteQueue::fail(std::uint64_t sequence, int error, std::string_view message) {
  state_->index.park(sequence, {error, std::string(message), false});
}

void WriteQueue::fail_all(std::string_view node, int error, std::string_view message) {
  const QueuedNode* queued = state_->index.find(node);
  if (queued == nullptr) return;
  const std::uint64_t first = queued->sequences.front();
  if (!queued->parked.contains(first)) fail(first, error, message);
}

std::vector<std::uint64_t> WriteQueue::retry_parked() {
  std::vector<std::uint64_t> freed;
  std::vector<std::uint64_t> again;
  for (const auto& [sequence, parked] : state_->index.parked()) {
    if (!parked.damaged) freed.push_back(sequence);
  }
  for (const std::uint64_t sequence : freed) {
    const auto& queued = state_->index.find(sequence)->node->sequences;
    again.insert(again.end(), std::lower_bound(queued.begin(), queued.end(), sequence),
                 queued.end());
    state_->index.unpark(sequence);
  }
  std::sort(again.begin(), again.end());
  again.erase(std::unique(again.begin(), again.end()), again.end());
  std::erase_if(again, [&](std::uint64_t sequence) {
    return state_->index.find(sequence)->node->holds_back(sequence);
  });
  return again;
}

std::vector<ParkedOperation> WriteQueue::parked() const {
  std::vector<ParkedOperation> parked;
  for (const auto& [sequence, state] : state_->index.parked()) {
    const QueuedNode& node = *state_->index.find(sequence)->node;
    parked.push_back({sequence, node.node, node.name, state.error, state.message, state.damaged});
  }
  return parked;
}

void WriteQueue::discard(std::string_view node) {
  complete(node, std::numeric_limits<std::uint64_t>::max());
}

WriteQueueStats WriteQueue::stats() const {
  const QueueIndex& index = state_->index;
  WriteQueueStats stats;
  stats.operations = index.operations().size();
  stats.data_bytes = index.data_bytes();
  stats.parked_operations = index.parked().size();
  stats.damaged_operations = state_->damaged;
  stats.uncommitted_operations = index.unstored_operations();
  if (!index.operations().empty()) {
    const std::chrono::microseconds appended(index.operations().begin()->second.appended_us);
    stats.oldest = std::chrono::system_clock::time_point(appended);
  }
  return stats;
}

}  // namespace rushfs::cache

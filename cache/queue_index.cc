#include "cache/queue_index.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cassert>

namespace rushfs::cache {

std::uint64_t bytes_checksum_of(std::span<const std::uint8_t> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t row_checksum_of(std::uint64_t sequence, const QueuedOperation& operation) {
  const std::array<std::uint64_t, 11> numbers = {sequence,
                                                 static_cast<std::uint64_t>(operation.kind),
                                                 operation.offset_bytes,
                                                 operation.size_bytes.has_value() ? 1U : 0U,
                                                 operation.size_bytes.value_or(0),
                                                 operation.place.file,
                                                 operation.place.position_bytes,
                                                 operation.place.length_bytes,
                                                 operation.payload.size(),
                                                 operation.bytes_checksum,
                                                 operation.appended_us};
  const NodeId& node = operation.node->node;
  return XXH3_64bits_withSeed(numbers.data(), sizeof numbers,
                              XXH3_64bits(node.data(), node.size()));
}

QueuedNode* QueueIndex::find(std::string_view node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : found->second.get();
}

QueuedOperation* QueueIndex::find(std::uint64_t sequence) {
  const auto found = operations_.find(sequence);
  return found == operations_.end() ? nullptr : &found->second;
}

QueuedNode& QueueIndex::enter(std::string_view node, std::string_view name,
                              std::string_view base) {
  std::unique_ptr<QueuedNode>& entry = nodes_[NodeId(node)];
  if (entry == nullptr) {
    entry = std::make_unique<QueuedNode>();
    entry->row = next_node_row_++;
    entry->node = node;
    entry->base = base;
  }
  if (!entry->has_row || entry->name != name) changed_nodes_.insert(entry.get());
  entry->name = name;
  return *entry;
}

void QueueIndex::replace_base(std::string_view node, std::string_view base) {
  QueuedNode* queued = find(node);
  if (queued == nullptr || queued->base == base) return;
  queued->base = base;
  changed_nodes_.insert(queued);
}

QueuedNode& QueueIndex::enter_stored(const NodeRow& row) {
  next_node_row_ = std::max(next_node_row_, row.id + 1);
  std::unique_ptr<QueuedNode>& entry = nodes_[NodeId(row.node)];
  if (entry == nullptr) {
    entry = std::make_unique<QueuedNode>();
    entry->row = row.id;
    entry->node = row.node;
    entry->name = row.name;
    entry->base = row.base;
    entry->has_row = true;
  }
  return *entry;
}

void QueueIndex::add(std::uint64_t sequence, QueuedOperation operation) {
  assert(operations_.empty() || operations_.rbegin()->first < sequence);
  QueuedNode& node = *operation.node;
  node.sequences.push_back(sequence);
  node.data_bytes += operation.place.length_bytes;
  data_bytes_ += operation.place.length_bytes;
  ++totals_.operations;
  totals_.checksums ^= operation.row_checksum;
  if (!operation.usable) {
    ++node.unusable;
  } else {
    enter_overlay(sequence, operation);
  }
  if (!operation.has_row) changed_operations_.push_back(sequence);
  operations_.emplace_hint(operations_.end(), sequence, std::move(operation));
}

DataPlace QueueIndex::remove(std::uint64_t sequence) {
  const auto found = operations_.find(sequence);
  const QueuedOperation& operation = found->second;
  QueuedNode& node = *operation.node;
  const DataPlace place = operation.place;
  if (!operation.usable) {
    --node.unusable;
  } else {
    leave_overlay(sequence, operation);
  }
  node.data_bytes -= place.length_bytes;
  data_bytes_ -= place.length_bytes;
  --totals_.operations;
  totals_.checksums ^= operation.row_checksum;
  if (operation.has_row) removed_operations_.push_back(sequence);
  node.parked.erase(sequence);
  parked_.erase(sequence);
  const auto position = std::lower_bound(node.sequences.begin(), node.sequences.end(), sequence);
  node.sequences.erase(position);
  operations_.erase(found);
  if (node.sequences.empty()) {
    remove(node);
  } else if (!node.base.empty()) {
    node.base.clear();
    changed_nodes_.insert(&node);
  }
  return place;
}

void QueueIndex::enter_overlay(std::uint64_t sequence, const QueuedOperation& operation) {
  Overlay& overlay = operation.node->overlay;
  const std::uint64_t size = operation.size_bytes.value_or(0);
  switch (operation.kind) {
    case OperationKind::write:
    case OperationKind::append:
      return overlay.write(sequence, operation.offset_bytes, operation.place.length_bytes);
    case OperationKind::zero:
      return overlay.zero(sequence, operation.offset_bytes, size);
    case OperationKind::extend:
      return overlay.extend(sequence, size);
    default:
      if (operation.size_bytes) overlay.set_size(sequence, size);
  }
}

void QueueIndex::leave_overlay(std::uint64_t sequence, const QueuedOperation& operation) {
  Overlay& overlay = operation.node->overlay;
  switch (operation.kind) {
    case OperationKind::write:
    case OperationKind::append:
      return overlay.complete_write(sequence, operation.offset_bytes,
                                    operation.place.length_bytes);
    case OperationKind::zero:
      return overlay.complete_zero(sequence, operation.offset_bytes, *operation.size_bytes);
    case OperationKind::extend:
      return overlay.complete_extend(sequence);
    default:
      if (operation.size_bytes) overlay.complete_set_size(sequence);
  }
}

void QueueIndex::remove(QueuedNode& node) {
  if (node.has_row) removed_nodes_.push_back(node.row);
  changed_nodes_.erase(&node);
  const NodeId id = node.node;
  nodes_.erase(id);
}

void QueueIndex::place_appends(std::span<const std::uint64_t> sequences,
                               std::uint64_t offset_bytes) {
  QueuedNode* moved = nullptr;
  for (const std::uint64_t sequence : sequences) {
    const auto found = operations_.find(sequence);
    if (found == operations_.end() || found->second.kind != OperationKind::append) continue;
    QueuedOperation& operation = found->second;
    if (operation.offset_bytes != offset_bytes) moved = operation.node;
    totals_.checksums ^= operation.row_checksum;
    operation.kind = OperationKind::write;
    operation.offset_bytes = offset_bytes;
    operation.row_checksum = row_checksum_of(sequence, operation);
    totals_.checksums ^= operation.row_checksum;
    changed_operations_.push_back(sequence);
    offset_bytes += operation.place.length_bytes;
  }
  if (moved != nullptr) rebuild_overlay(*moved);
}

void QueueIndex::rebuild_overlay(QueuedNode& node) {
  node.overlay = Overlay();
  for (const std::uint64_t each : node.sequences) {
    const QueuedOperation& queued = operations_.at(each);
    if (queued.usable) enter_overlay(each, queued);
  }
}

void QueueIndex::park(std::uint64_t sequence, ParkedState state) {
  const auto found = operations_.find(sequence);
  if (found == operations_.end()) return;
  found->second.node->parked.insert(sequence);
  parked_[sequence] = std::move(state);
  changed_operations_.push_back(sequence);
}

void QueueIndex::unpark(std::uint64_t sequence) {
  if (parked_.erase(sequence) == 0) return;
  operations_.at(sequence).node->parked.erase(sequence);
  changed_operations_.push_back(sequence);
}

QueueLog::Changes QueueIndex::changes() const {
  QueueLog::Changes changes;
  changes.removed_operations = removed_operations_;
  changes.removed_nodes = removed_nodes_;
  for (const QueuedNode* node : changed_nodes_) {
    changes.nodes.push_back({node->row, node->node, node->name, node->base});
  }
  for (const std::uint64_t sequence : changed_operations_) {
    const auto found = operations_.find(sequence);
    if (found == operations_.end()) continue;
    const QueuedOperation& operation = found->second;
    OperationRow row;
    row.sequence = sequence;
    row.node = operation.node->row;
    row.kind = static_cast<std::uint64_t>(operation.kind);
    row.offset_bytes = operation.offset_bytes;
    row.size_bytes = operation.size_bytes;
    row.place = operation.place;
    row.payload = operation.payload;
    row.bytes_checksum = operation.bytes_checksum;
    row.row_checksum = operation.row_checksum;
    row.appended_us = operation.appended_us;
    if (const auto parked = parked_.find(sequence); parked != parked_.end()) {
      row.error = static_cast<std::uint64_t>(parked->second.error);
      row.message = parked->second.message;
    }
    changes.operations.push_back(row);
  }
  changes.totals = totals_;
  return changes;
}

bool QueueIndex::has_changes() const {
  return !changed_operations_.empty() || !removed_operations_.empty() || !removed_nodes_.empty() ||
         !changed_nodes_.empty();
}

std::uint64_t QueueIndex::unstored_operations() const {
  std::uint64_t count = 0;
  for (const std::uint64_t sequence : changed_operations_) {
    const auto found = operations_.find(sequence);
    if (found != operations_.end() && !found->second.has_row) ++count;
  }
  return count;
}

void QueueIndex::changes_stored() {
  for (const std::uint64_t sequence : changed_operations_) {
    const auto found = operations_.find(sequence);
    if (found != operations_.end()) found->second.has_row = true;
  }
  for (QueuedNode* node : changed_nodes_) node->has_row = true;
  changed_operations_.clear();
  removed_operations_.clear();
  removed_nodes_.clear();
  changed_nodes_.clear();
}

}  // namespace rushfs::cache

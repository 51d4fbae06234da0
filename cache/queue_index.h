// The queued operations in memory: in order, by node, and what they make of each file.
// Touches no disk; remembers what the log does not have yet.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "cache/operation.h"
#include "cache/overlay.h"
#include "cache/queue_log.h"

namespace rushfs::cache {

struct QueuedNode {
  std::uint64_t row = 0;
  NodeId node;
  std::string name;
  std::string base;  // as Origin::base
  std::deque<std::uint64_t> sequences;  // ascending
  std::uint64_t data_bytes = 0;
  Overlay overlay;
  std::set<std::uint64_t> parked;  // sequences; these and all later ones are held back
  std::uint64_t unusable = 0;      // operations whose effect on the file is unknown
  bool has_row = false;

  bool holds_back(std::uint64_t sequence) const {
    return !parked.empty() && sequence >= *parked.begin();
  }
};

struct QueuedOperation {
  QueuedNode* node = nullptr;
  OperationKind kind = OperationKind::write;
  std::uint64_t offset_bytes = 0;
  std::optional<std::uint64_t> size_bytes;
  DataPlace place;                   // writes and appends
  Buffer payload;                    // the others
  std::uint64_t bytes_checksum = 0;  // of the data or payload
  std::uint64_t row_checksum = 0;    // of what the operation says, and of bytes_checksum
  std::uint64_t appended_us = 0;
  bool has_row = false;
  bool verified = false;  // its data was checked, or written, by this process
  bool usable = true;     // false when its row is damaged: what it says must not be believed
};

std::uint64_t bytes_checksum_of(std::span<const std::uint8_t> bytes);
// Covers node, sequence and everything that does not change while the operation is queued.
std::uint64_t row_checksum_of(std::uint64_t sequence, const QueuedOperation& operation);

struct ParkedState {
  int error = 0;
  std::string message;
  bool damaged = false;
};

class QueueIndex {
 public:
  using Operations = std::map<std::uint64_t, QueuedOperation>;

  const Operations& operations() const { return operations_; }
  const NodeMap<std::unique_ptr<QueuedNode>>& nodes() const { return nodes_; }
  const std::map<std::uint64_t, ParkedState>& parked() const { return parked_; }
  std::uint64_t data_bytes() const { return data_bytes_; }
  const LogTotals& totals() const { return totals_; }

  QueuedNode* find(std::string_view node) const;
  QueuedOperation* find(std::uint64_t sequence);
  // The node, under its latest name; a new one with its base.
  QueuedNode& enter(std::string_view node, std::string_view name, std::string_view base = {});
  void replace_base(std::string_view node, std::string_view base);
  // As the log has it.
  QueuedNode& enter_stored(const NodeRow& row);

  // Later than all before it.
  void add(std::uint64_t sequence, QueuedOperation operation);
  // Returns the place of its data, to be freed. The sequence is known.
  DataPlace remove(std::uint64_t sequence);
  // Appends of one file, in order, have become writes from there on.
  void place_appends(std::span<const std::uint64_t> sequences, std::uint64_t offset_bytes);
  void park(std::uint64_t sequence, ParkedState state);
  void unpark(std::uint64_t sequence);

  // What the log lacks; the spans in it live until the next change here.
  QueueLog::Changes changes() const;
  std::uint64_t unstored_operations() const;
  bool has_changes() const;
  void changes_stored();

 private:
  void remove(QueuedNode& node);
  void rebuild_overlay(QueuedNode& node);
  static void enter_overlay(std::uint64_t sequence, const QueuedOperation& operation);
  static void leave_overlay(std::uint64_t sequence, const QueuedOperation& operation);

  Operations operations_;
  NodeMap<std::unique_ptr<QueuedNode>> nodes_;
  std::map<std::uint64_t, ParkedState> parked_;
  std::uint64_t data_bytes_ = 0;
  LogTotals totals_;
  std::uint64_t next_node_row_ = 1;

  std::vector<std::uint64_t> changed_operations_;  // some may be gone by now
  std::vector<std::uint64_t> removed_operations_;
  std::vector<std::uint64_t> removed_nodes_;
  std::unordered_set<QueuedNode*> changed_nodes_;
};

}  // namespace rushfs::cache

// The write queue's rows: which operations are queued, in SQLite, one transaction per commit.
// Tables: docs/disk-format.md.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cache/database.h"
#include "cache/queue_data.h"
#include "cache/result.h"

namespace rushfs::cache {

struct NodeRow {
  std::uint64_t id = 0;
  std::string_view node;
  std::string_view name;
  std::string_view base;
};

struct OperationRow {
  std::uint64_t sequence = 0;
  std::uint64_t node = 0;  // NodeRow::id
  std::uint64_t kind = 0;
  std::uint64_t offset_bytes = 0;
  std::optional<std::uint64_t> size_bytes;
  DataPlace place;                        // writes
  std::span<const std::uint8_t> payload;  // the others
  std::uint64_t bytes_checksum = 0;
  std::uint64_t row_checksum = 0;
  std::uint64_t appended_us = 0;  // since 1970
  std::uint64_t error = 0;        // errno of a parked operation
  std::string_view message;
};

// What the log should hold, kept in every commit: rows lost to damage do not go unnoticed.
struct LogTotals {
  std::uint64_t operations = 0;
  std::uint64_t checksums = 0;  // exclusive or of all row checksums
};

class QueueLog {
 public:
  // docs/disk-format.md has the meaning.
  static constexpr std::uint32_t kFormat = 2;
  static constexpr std::string_view kSchema =
      "CREATE TABLE queue (id BLOB NOT NULL, reserved_sequence INTEGER NOT NULL,"
      " operations INTEGER NOT NULL, checksums INTEGER NOT NULL, checksum INTEGER NOT NULL)"
      " STRICT;\n"
      "CREATE TABLE node (id INTEGER PRIMARY KEY, node BLOB NOT NULL, name BLOB NOT NULL,"
      " base BLOB NOT NULL) STRICT;\n"
      "CREATE TABLE operation (sequence INTEGER PRIMARY KEY, node INTEGER NOT NULL,"
      " kind INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER, file INTEGER NOT NULL,"
      " position INTEGER NOT NULL, length INTEGER NOT NULL, payload BLOB NOT NULL,"
      " bytes_checksum INTEGER NOT NULL, appended INTEGER NOT NULL, row_checksum INTEGER NOT NULL,"
      " error INTEGER NOT NULL, message BLOB NOT NULL) STRICT;\n";

  // Of any format: the file is sound and has no operation in it.
  static bool holds_nothing(const std::filesystem::path& file);

  // Throws DatabaseError, also when SQLite's check of the file finds damage.
  explicit QueueLog(const std::filesystem::path& file);

  struct Header {
    std::array<std::uint8_t, 16> id{};
    std::uint64_t reserved_sequence = 1;  // numbers below were or may have been handed out
    LogTotals totals;
  };
  const Header& header() const { return header_; }
  // There was no log before.
  bool is_new() const { return is_new_; }

  // Every node, then every operation in order of sequence.
  Result<void> load(const std::function<void(const NodeRow&)>& on_node,
                    const std::function<void(const OperationRow&)>& on_operation);

  // Durable when it returns success. Sequences below `up_to` may be handed out from then on.
  Result<void> reserve(std::uint64_t up_to);

  struct Changes {
    std::vector<std::uint64_t> removed_operations;
    std::vector<std::uint64_t> removed_nodes;
    std::vector<NodeRow> nodes;            // new or changed
    std::vector<OperationRow> operations;  // new or changed
    LogTotals totals;                      // once these are applied
  };
  // All of it durable, or nothing of it.
  Result<void> apply(const Changes& changes);

  const std::string& last_failure() const { return database_.last_failure(); }

 private:
  bool read_header();
  void create_header();
  Result<void> put_header(const Header& header);

  Database database_;
  Statement list_nodes_;
  Statement list_operations_;
  Statement put_node_;
  Statement put_operation_;
  Statement remove_node_;
  Statement remove_operation_;
  Statement put_header_;
  Header header_;
  bool is_new_ = false;
};

}  // namespace rushfs::cache

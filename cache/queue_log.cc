#include "cache/queue_log.h"

#include <sys/random.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>

namespace rushfs::cache {
namespace {

std::uint64_t checksum_of(const QueueLog::Header& header) {
  const std::uint64_t numbers[] = {header.reserved_sequence, header.totals.operations,
                                   header.totals.checksums};
  return XXH3_64bits_withSeed(numbers, sizeof numbers,
                              XXH3_64bits(header.id.data(), header.id.size()));
}

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

bool QueueLog::holds_nothing(const std::filesystem::path& file) {
  try {
    Database database(file, Database::Durability::every_commit);
    Statement count(database, "count the operations of",
                    "SELECT (SELECT count(*) FROM operation), operations FROM queue");
    if (!database.check()) return false;
    const Result<bool> row = count.step();
    return row && *row && count.integer(0) == 0 && count.integer(1) == 0;
  } catch (const DatabaseError&) {
    return false;
  }
}

QueueLog::QueueLog(const std::filesystem::path& file)
    : database_(file, Database::Durability::every_commit, kSchema, kFormat),
      list_nodes_(database_, "list the nodes of", "SELECT id, node, name, base FROM node"),
      list_operations_(database_, "list the operations of",
                       "SELECT sequence, node, kind, offset, size, file, position, length,"
                       " payload, bytes_checksum, appended, row_checksum, error, message"
                       " FROM operation ORDER BY sequence"),
      put_node_(database_, "store a node in", "INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?)"),
      put_operation_(database_, "store an operation in",
                     "INSERT OR REPLACE INTO operation"
                     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      remove_node_(database_, "remove a node from", "DELETE FROM node WHERE id = ?"),
      remove_operation_(database_, "remove an operation from",
                        "DELETE FROM operation WHERE sequence = ?"),
      put_header_(database_, "store the header of",
                  "INSERT OR REPLACE INTO queue (rowid, id, reserved_sequence, operations,"
                  " checksums, checksum) VALUES (1, ?, ?, ?, ?, ?)") {
  if (!database_.check()) throw DatabaseError(last_failure(), DatabaseError::Kind::damaged);
  is_new_ = !read_header();
  if (is_new_) create_header();
}

// False in a file that was only just created.
bool QueueLog::read_header() {
  Statement statement(database_, "read the header of",
                      "SELECT id, reserved_sequence, operations, checksums, checksum FROM queue");
  const Result<bool> row = statement.step();
  if (!row) {
    const bool damaged = row.error().value() == EBADMSG;
    throw DatabaseError(last_failure(),
                        damaged ? DatabaseError::Kind::damaged : DatabaseError::Kind::unusable);
  }
  if (!*row) return false;
  const std::span<const std::uint8_t> id = statement.blob(0);
  if (id.size() == header_.id.size()) std::copy(id.begin(), id.end(), header_.id.begin());
  header_.reserved_sequence = statement.integer(1);
  header_.totals = {statement.integer(2), statement.integer(3)};
  if (id.size() != header_.id.size() || statement.integer(4) != checksum_of(header_)) {
    throw DatabaseError("the header of the queue is damaged", DatabaseError::Kind::damaged);
  }
  return true;
}

void QueueLog::create_header() {
  std::array<std::uint8_t, 16> id;
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) {
    throw DatabaseError("no random bytes for the id of a new queue", DatabaseError::Kind::unusable);
  }
  header_.id = id;
  if (!put_header(header_)) {
    throw DatabaseError(last_failure(), DatabaseError::Kind::unusable);
  }
}

Result<void> QueueLog::put_header(const Header& header) {
  const std::span<const std::uint8_t> id = header.id;
  return put_header_.run(id, header.reserved_sequence, header.totals.operations,
                         header.totals.checksums, checksum_of(header));
}

Result<void> QueueLog::load(const std::function<void(const NodeRow&)>& on_node,
                            const std::function<void(const OperationRow&)>& on_operation) {
  list_nodes_.start();
  Result<bool> row = list_nodes_.step();
  for (; row && *row; row = list_nodes_.step()) {
    on_node({list_nodes_.integer(0), list_nodes_.text(1), list_nodes_.text(2),
             list_nodes_.text(3)});
  }
  if (!row) return row.error();
  Statement& list = list_operations_;
  list.start();
  row = list.step();
  for (; row && *row; row = list.step()) {
    OperationRow operation;
    operation.sequence = list.integer(0);
    operation.node = list.integer(1);
    operation.kind = list.integer(2);
    operation.offset_bytes = list.integer(3);
    operation.size_bytes = list.optional_integer(4);
    operation.place = {list.integer(5), list.integer(6), list.integer(7)};
    operation.payload = list.blob(8);
    operation.bytes_checksum = list.integer(9);
    operation.appended_us = list.integer(10);
    operation.row_checksum = list.integer(11);
    operation.error = list.integer(12);
    operation.message = list.text(13);
    on_operation(operation);
  }
  if (!row) return row.error();
  return {};
}

Result<void> QueueLog::reserve(std::uint64_t up_to) {
  Header header = header_;
  header.reserved_sequence = up_to;
  const Result<void> reserved = put_header(header);
  if (reserved) header_ = header;
  return reserved;
}

Result<void> QueueLog::apply(const Changes& changes) {
  Transaction transaction(database_);
  Result<void> done = transaction.begin();
  for (std::size_t i = 0; done && i < changes.removed_operations.size(); ++i) {
    done = remove_operation_.run(changes.removed_operations[i]);
  }
  for (std::size_t i = 0; done && i < changes.removed_nodes.size(); ++i) {
    done = remove_node_.run(changes.removed_nodes[i]);
  }
  for (std::size_t i = 0; done && i < changes.nodes.size(); ++i) {
    const NodeRow& row = changes.nodes[i];
    done = put_node_.run(row.id, bytes_of(row.node), bytes_of(row.name), bytes_of(row.base));
  }
  for (std::size_t i = 0; done && i < changes.operations.size(); ++i) {
    const OperationRow& row = changes.operations[i];
    done = put_operation_.run(row.sequence, row.node, row.kind, row.offset_bytes, row.size_bytes,
                              row.place.file, row.place.position_bytes, row.place.length_bytes,
                              row.payload, row.bytes_checksum, row.appended_us, row.row_checksum,
                              row.error, bytes_of(row.message));
  }
  Header header = header_;
  header.totals = changes.totals;
  if (done) done = put_header(header);
  if (done) done = transaction.commit();
  if (done) header_ = header;
  return done;
}

}  // namespace rushfs::cache

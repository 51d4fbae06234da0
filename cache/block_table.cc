#include "cache/block_table.h"

namespace rushfs::cache {
namespace {

constexpr std::uint32_t kFormat = 1;
constexpr std::string_view kSchema =
    "CREATE TABLE file (id INTEGER PRIMARY KEY, node BLOB NOT NULL, version INTEGER NOT NULL)"
    " STRICT;\n"
    "CREATE TABLE block (file INTEGER NOT NULL, number INTEGER NOT NULL, length INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL, last_use INTEGER NOT NULL, PRIMARY KEY (file, number))"
    " STRICT, WITHOUT ROWID;\n";

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

BlockTable::BlockTable(const std::filesystem::path& file)
    : database_(file, Database::Durability::consistent, kSchema, kFormat),
      list_files_(database_, "list the files of", "SELECT id, node, version FROM file"),
      list_blocks_(database_, "list the blocks of",
                   "SELECT file, number, length, checksum, last_use FROM block"
                   " ORDER BY last_use DESC"),
      put_file_(database_, "store a file in", "INSERT OR REPLACE INTO file VALUES (?, ?, ?)"),
      put_block_(database_, "store a block in",
                 "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?)"),
      remove_file_(database_, "remove a file from", "DELETE FROM file WHERE id = ?"),
      remove_block_(database_, "remove a block from",
                    "DELETE FROM block WHERE file = ? AND number = ?") {}

Result<void> BlockTable::load(const std::function<void(const FileRow&)>& on_file,
                              const std::function<void(const BlockRow&)>& on_block) {
  list_files_.start();
  Result<bool> row = list_files_.step();
  for (; row && *row; row = list_files_.step()) {
    on_file({list_files_.integer(0), list_files_.text(1), list_files_.integer(2)});
  }
  if (!row) return row.error();
  list_blocks_.start();
  row = list_blocks_.step();
  for (; row && *row; row = list_blocks_.step()) {
    on_block({list_blocks_.integer(0), list_blocks_.integer(1), list_blocks_.integer(2),
              list_blocks_.integer(3), list_blocks_.integer(4)});
  }
  if (!row) return row.error();
  return {};
}

Result<void> BlockTable::apply(const Changes& changes) {
  Transaction transaction(database_);
  Result<void> done = transaction.begin();
  for (std::size_t i = 0; done && i < changes.removed_files.size(); ++i) {
    done = remove_file_.run(changes.removed_files[i]);
  }
  for (std::size_t i = 0; done && i < changes.removed_blocks.size(); ++i) {
    done = remove_block_.run(changes.removed_blocks[i].first, changes.removed_blocks[i].second);
  }
  for (std::size_t i = 0; done && i < changes.files.size(); ++i) {
    const FileRow& row = changes.files[i];
    done = put_file_.run(row.id, bytes_of(row.node), row.version);
  }
  for (std::size_t i = 0; done && i < changes.blocks.size(); ++i) {
    const BlockRow& row = changes.blocks[i];
    done = put_block_.run(row.file, row.index, row.length_bytes, row.checksum, row.last_use);
  }
  if (done) done = transaction.commit();
  return done;
}

}  // namespace rushfs::cache

#include "cache/database.h"

#include <sqlite3.h>

#include <cassert>
#include <cerrno>

namespace rushfs::cache {
namespace {

int errno_of(sqlite3* handle, int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return ENOSPC;
    case SQLITE_IOERR: {
      const int reason = sqlite3_system_errno(handle);
      return reason == ENOSPC || reason == EDQUOT ? ENOSPC : EIO;
    }
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR:  // our statements are right, so the file has another schema
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT:
      return EBADMSG;
    case SQLITE_NOMEM:
      return ENOMEM;
    case SQLITE_READONLY:
      return EROFS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return EBUSY;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
      return EACCES;
    default:
      return EIO;
  }
}

}  // namespace

Database::Database(const std::filesystem::path& file, Durability durability,
                   std::string_view schema, std::uint32_t format)
    : file_(file) {
  try {
    open(durability);
    prepare_schema(schema, format);
  } catch (...) {
    sqlite3_close(handle_);
    throw;
  }
}

Database::Database(const std::filesystem::path& file, Durability durability) : file_(file) {
  try {
    open(durability);
  } catch (...) {
    sqlite3_close(handle_);
    throw;
  }
}

Database::~Database() {
  [[maybe_unused]] const int code = sqlite3_close(handle_);
  assert(code == SQLITE_OK);
}

void Database::open(Durability durability) {
  const int code =
      sqlite3_open_v2(file_.c_str(), &handle_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) throw_failure("open", code);
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  // Exclusive locking keeps the write-ahead log's index in memory: no shared-memory file whose
  // pages could fault on a full disk.
  const std::string settings = std::string(
                                   "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                                   "PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;"
                                   "PRAGMA journal_mode = WAL; PRAGMA synchronous = ") +
                               (durability == Durability::every_commit ? "FULL" : "NORMAL");
  const int set = sqlite3_exec(handle_, settings.c_str(), nullptr, nullptr, nullptr);
  if (set != SQLITE_OK) throw_failure("set up", set);
  // The log file stays when we close, so that its space is there for us when the disk is full.
  int keep = 1;
  sqlite3_file_control(handle_, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
}

void Database::prepare_schema(std::string_view schema, std::uint32_t format) {
  std::uint64_t found = 0;
  std::string tables;
  {
    Statement version(*this, "read the format version of", "PRAGMA user_version");
    if (!version.step()) throw DatabaseError(last_failure_, DatabaseError::Kind::damaged);
    found = version.integer(0);
    Statement list(*this, "read the schema of",
                   "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid");
    Result<bool> row = list.step();
    for (; row && *row; row = list.step()) tables.append(list.text(0)).append(";\n");
    if (!row) throw DatabaseError(last_failure_, DatabaseError::Kind::damaged);
  }
  if (found > format) {
    throw DatabaseError(file_.string() + " has format " + std::to_string(found) +
                            ", made by a newer rushfs; this one knows up to " +
                            std::to_string(format),
                        DatabaseError::Kind::newer);
  }
  if (found == 0 && tables.empty()) {
    const std::string create = "BEGIN IMMEDIATE; " + std::string(schema) +
                               "PRAGMA user_version = " + std::to_string(format) + "; COMMIT";
    const int code = sqlite3_exec(handle_, create.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) throw_failure("create the tables of", code);
  } else if (found < format && found > 0) {
    throw DatabaseError(file_.string() + " has format " + std::to_string(found) +
                            ", made by an older rushfs; this one knows format " +
                            std::to_string(format),
                        DatabaseError::Kind::older);
  } else if (found != format || tables != schema) {
    throw DatabaseError(file_.string() + " is damaged: its tables are not those of format " +
                            std::to_string(format),
                        DatabaseError::Kind::damaged);
  }
}

boost::system::error_code Database::failed(std::string_view attempt, int code) {
  const int value = errno_of(handle_, code);
  last_failure_ = "cannot " + std::string(attempt) + " " + file_.string() + ": " +
                  (handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code));
  return error_from_errno(value);
}

void Database::throw_failure(std::string_view attempt, int code) {
  const bool damaged = failed(attempt, code).value() == EBADMSG;
  throw DatabaseError(last_failure_,
                      damaged ? DatabaseError::Kind::damaged : DatabaseError::Kind::unusable);
}

Result<void> Database::execute(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failed(std::string("execute ") + sql + " on", code);
  return {};
}

void Database::remove(const std::filesystem::path& file) {
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + suffix);
}

Result<void> Database::check() {
  Statement check(*this, "check", "PRAGMA quick_check(1)");
  const Result<bool> row = check.step();
  if (!row) return row.error();
  if (*row && check.text(0) == "ok") return {};
  last_failure_ = file_.string() + " is damaged: " +
                  std::string(*row ? check.text(0) : std::string_view("no answer"));
  return error_from_errno(EBADMSG);
}

Statement::Statement(Database& database, std::string attempt, std::string_view sql)
    : database_(database), attempt_(std::move(attempt)) {
  const int code = sqlite3_prepare_v3(database.handle_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &handle_, nullptr);
  if (code != SQLITE_OK) database.throw_failure(attempt_, code);
}

Statement::~Statement() {
  sqlite3_finalize(handle_);
}

void Statement::reset() {
  sqlite3_reset(handle_);
  sqlite3_clear_bindings(handle_);
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return {boost::system::in_place_error, database_.failed(attempt_, code)};
}

Result<void> Statement::finish() {
  Result<bool> row = step();
  while (row && *row) row = step();
  reset();
  if (!row) return row.error();
  return {};
}

void Statement::bind(int position, std::uint64_t value) {
  sqlite3_bind_int64(handle_, position, static_cast<sqlite3_int64>(value));
}

void Statement::bind(int position, const std::optional<std::uint64_t>& value) {
  if (value) bind(position, *value);
}

void Statement::bind(int position, std::span<const std::uint8_t> blob) {
  // SQLite takes a null pointer for NULL, an empty blob is something else.
  static constexpr std::uint8_t kNothing = 0;
  sqlite3_bind_blob64(handle_, position, blob.empty() ? &kNothing : blob.data(), blob.size(),
                      SQLITE_STATIC);
}

void Statement::bind(int position, std::string_view text) {
  sqlite3_bind_text64(handle_, position, text.empty() ? "" : text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
}

std::uint64_t Statement::integer(int column) const {
  return static_cast<std::uint64_t>(sqlite3_column_int64(handle_, column));
}

std::optional<std::uint64_t> Statement::optional_integer(int column) const {
  if (sqlite3_column_type(handle_, column) == SQLITE_NULL) return std::nullopt;
  return integer(column);
}

std::span<const std::uint8_t> Statement::blob(int column) const {
  const void* data = sqlite3_column_blob(handle_, column);
  const int length = sqlite3_column_bytes(handle_, column);
  if (data == nullptr || length <= 0) return {};
  return {static_cast<const std::uint8_t*>(data), static_cast<std::size_t>(length)};
}

std::string_view Statement::text(int column) const {
  const std::span<const std::uint8_t> bytes = blob(column);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Transaction::~Transaction() {
  // SQLite has already rolled back by itself after some errors.
  if (sqlite3_get_autocommit(database_.handle_) == 0) {
    sqlite3_exec(database_.handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

Result<void> Transaction::begin() {
  return database_.execute("BEGIN IMMEDIATE");
}

Result<void> Transaction::commit() {
  // An error inside the transaction may have ended it; committing nothing is not a commit.
  if (sqlite3_get_autocommit(database_.handle_) != 0) return error_from_errno(EIO);
  return database_.execute("COMMIT");
}

}  // namespace rushfs::cache

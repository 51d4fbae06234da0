// The one home of SQLite: a connection of our own to one database file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "cache/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace rushfs::cache {

// Start-up failure; what() names the file, the attempt and SQLite's reason.
class DatabaseError : public std::runtime_error {
 public:
  enum class Kind {
    unusable,  // it cannot be reached
    damaged,   // not a sound database of ours
    older,     // an older rushfs's
    newer,     // a newer rushfs's
  };

  DatabaseError(const std::string& message, Kind kind) : std::runtime_error(message), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

// In steady state failures are errno values: ENOSPC, EIO, EBADMSG (damaged), EROFS, ENOMEM, ...;
// last_failure() says what was attempted and SQLite's words.
class Database {
 public:
  // What survives a power cut: every commit, or a sound database with the latest ones missing.
  // Both survive kill -9.
  enum class Durability { every_commit, consistent };

  // Opens or creates the file, in write-ahead-log mode and locked for this process alone.
  // A new file gets `schema` and `format` (as user_version). Throws DatabaseError; a file of a
  // another format is refused with a sentence, one whose schema differs counts as damaged.
  Database(const std::filesystem::path& file, Durability durability, std::string_view schema,
           std::uint32_t format);
  // Opens the file as it is, whatever its tables are.
  Database(const std::filesystem::path& file, Durability durability);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Result<void> execute(const char* sql);
  // Runs SQLite's own check of the file's structure; EBADMSG when it finds something.
  Result<void> check();
  const std::string& last_failure() const { return last_failure_; }

  // The file and its log, in an order that a crash cannot make an older state of.
  static void remove(const std::filesystem::path& file);

 private:
  friend class Statement;
  friend class Transaction;
  boost::system::error_code failed(std::string_view attempt, int code);
  [[noreturn]] void throw_failure(std::string_view attempt, int code);
  void open(Durability durability);
  void prepare_schema(std::string_view schema, std::uint32_t format);

  std::filesystem::path file_;
  sqlite3* handle_ = nullptr;
  std::string last_failure_;
};

// A prepared statement. `attempt` is what to call it in messages ("store an operation").
class Statement {
 public:
  Statement(Database& database, std::string attempt, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Runs it to its end with these values for its parameters.
  template <class... Values>
  Result<void> run(const Values&... values) {
    start(values...);
    return finish();
  }
  // Binds and begins; then step() until it returns false. Values must live until then.
  template <class... Values>
  void start(const Values&... values) {
    reset();
    [[maybe_unused]] int position = 0;
    (bind(++position, values), ...);
  }
  Result<bool> step();

  // Columns of the current row, from 0.
  std::uint64_t integer(int column) const;
  std::optional<std::uint64_t> optional_integer(int column) const;
  std::span<const std::uint8_t> blob(int column) const;  // valid until the next step()
  std::string_view text(int column) const;               // likewise

 private:
  void reset();
  Result<void> finish();
  void bind(int position, std::uint64_t value);
  void bind(int position, const std::optional<std::uint64_t>& value);
  void bind(int position, std::span<const std::uint8_t> blob);
  void bind(int position, std::string_view text);

  Database& database_;
  std::string attempt_;
  sqlite3_stmt* handle_ = nullptr;
};

// All or nothing: rolled back unless commit() returned success.
class Transaction {
 public:
  explicit Transaction(Database& database) : database_(database) {}
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  Result<void> begin();
  Result<void> commit();

 private:
  Database& database_;
};

}  // namespace rushfs::cache

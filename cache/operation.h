// What waits in the write queue: one change of one file or folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/result.h"

namespace rushfs::cache {

// Values are stored on disk (docs/disk-format.md). All but write and append have a payload that the
// queue does not look into; what they make of the file's content is said beside it.
enum class OperationKind : std::uint8_t {
  write = 1,
  set_attributes = 2,  // may set a size
  change = 3,          // leaves content and size alone
  zero = 4,            // a range becomes zeros; the size stays
  extend = 5,          // the file becomes at least so long
  append = 6           // a write where we believe the end to be
};
inline bool carries_data(OperationKind kind) {
  return kind == OperationKind::write || kind == OperationKind::append;
}

// Where an operation comes from. `display_name` is the path at the time, for people to read.
struct Origin {
  std::string_view node;
  std::string_view display_name;
  std::chrono::system_clock::time_point now;
  // What the file was before the first operation queued for it, opaque here, up to
  // kMaximumBaseBytes; empty: unknown. Kept until replace_bases(), or until the node's first
  // operation is forgotten.
  std::string_view base = {};
  // A node that this one takes the place of: what it has queued does not count against the budget.
  std::string_view instead_of = {};
};

struct Operation {
  std::uint64_t sequence = 0;          // unique for the life of the queue, never reused
  std::optional<std::uint64_t> after;  // previous operation on the node that is still queued
  NodeId node;
  std::string display_name;
  OperationKind kind = OperationKind::write;
  std::uint64_t offset_bytes = 0;           // write, append: where the data goes; zero: the begin
  std::optional<std::uint64_t> size_bytes;  // set_attributes: the file's new size, if it sets one;
                                            // zero: the end of the range; extend: the least size
  Buffer data;  // write, append: the bytes; other kinds: the payload as it was appended
};

// What the queued operations of one node do to its size.
struct SizeEffect {
  std::optional<std::uint64_t> set_size_bytes;  // last queued truncation or extension
  std::uint64_t write_end_bytes = 0;            // furthest end of writes and extensions after it

  // The file's size as its user sees it, given the server's.
  std::uint64_t apply(std::uint64_t server_size_bytes) const {
    const std::uint64_t base = set_size_bytes.value_or(server_size_bytes);
    return base > write_end_bytes ? base : write_end_bytes;
  }
};

// A part of a file as queued operations leave it. Pieces of a read follow each other without gaps.
struct Piece {
  enum class Kind : std::uint8_t {
    data,  // bytes that are still queued
    zero,  // a hole made by queued operations
    base   // shows through: fetch from the block cache or the server (zeros past its end of file)
  };
  Kind kind = Kind::base;
  std::uint64_t offset_bytes = 0;  // in the file
  std::uint64_t length_bytes = 0;
  Buffer data;  // length_bytes long when kind is data, else empty
};

struct PendingNode {
  NodeId node;
  std::string display_name;
  std::uint64_t operations = 0;
  std::uint64_t data_bytes = 0;
  std::optional<std::uint64_t> last_sequence;  // none when nothing is queued
  SizeEffect size;
  bool parked = false;
  std::string base;  // as Origin::base
};

// An operation that cannot be sent and holds back the later ones of its node.
struct ParkedOperation {
  std::uint64_t sequence = 0;
  NodeId node;
  std::string display_name;
  int error = 0;         // errno
  std::string message;   // a sentence for the user
  bool damaged = false;  // its bytes on local disk are not what was written: retrying cannot help
};

}  // namespace rushfs::cache

// What the queued operations of one file make of it: ranges of queued data over the server's file.
//
// Pure and in memory. Operations are entered in order of sequence and completed in the same order;
// a completed one is part of the server's file. It knows ranges and sequences, never bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "cache/operation.h"

namespace rushfs::cache {

class Overlay {
 public:
  // `length_bytes` is not 0 and the end fits 64 bits.
  void write(std::uint64_t sequence, std::uint64_t offset_bytes, std::uint64_t length_bytes);
  void set_size(std::uint64_t sequence, std::uint64_t size_bytes);
  // The range becomes zeros; the size stays.
  void zero(std::uint64_t sequence, std::uint64_t begin_bytes, std::uint64_t end_bytes);
  // The file becomes at least so long.
  void extend(std::uint64_t sequence, std::uint64_t size_bytes);

  // With the values they were entered with.
  void complete_write(std::uint64_t sequence, std::uint64_t offset_bytes,
                      std::uint64_t length_bytes);
  void complete_set_size(std::uint64_t sequence);
  void complete_zero(std::uint64_t sequence, std::uint64_t begin_bytes, std::uint64_t end_bytes);
  void complete_extend(std::uint64_t sequence);

  struct Part {
    Piece::Kind kind = Piece::Kind::base;
    std::uint64_t offset_bytes = 0;
    std::uint64_t length_bytes = 0;
    std::uint64_t sequence = 0;  // of the write that holds the bytes, when kind is data
  };
  // The range in parts that follow each other without gaps.
  std::vector<Part> parts(std::uint64_t offset_bytes, std::uint64_t length_bytes) const;

  SizeEffect size_effect() const;
  // How much of the server's file can show through: queued truncations cut it for good, also when
  // the file has grown again since. None: all of it.
  std::optional<std::uint64_t> base_limit_bytes() const;

 private:
  struct Extent {
    std::uint64_t end_bytes;
    std::uint64_t sequence;
    bool zero;
  };
  struct Mark {
    std::uint64_t sequence;
    std::uint64_t bytes;
  };

  void note_end(std::uint64_t sequence, std::uint64_t end_bytes);
  void forget_extents(std::uint64_t sequence, std::uint64_t begin_bytes, std::uint64_t end_bytes);
  void cut(std::uint64_t begin_bytes, std::uint64_t end_bytes);
  void append_gap(std::uint64_t begin_bytes, std::uint64_t end_bytes, std::vector<Part>& out) const;

  std::map<std::uint64_t, Extent> extents_;  // by begin; they never overlap
  // Only marks that can still matter, so that both ends of each answer in constant time:
  // queued sizes, ascending (the last is the latest, the first the smallest), and
  // ends of writes and extensions after the latest size, descending (the first is the furthest).
  std::deque<Mark> sizes_;
  std::deque<Mark> write_ends_;
};

}  // namespace rushfs::cache

// Parts of a file, a few: what changes cover. Beyond kMost the two that lie closest are joined, so
// that more may be covered than was added, and never less.
//
// Pure value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "transport/range_set.h"

namespace rushfs::fs {

/// The bytes of a file from `from` to before `to`.
struct Span {
  std::uint64_t from = 0, to = 0;
  bool operator==(const Span&) const = default;
};

class Spans {
 public:
  /// A recording grows at its end while its header and its index are written anew; more parts cost
  /// every notice bytes.
  static constexpr std::size_t kMost = 16;

  Spans() = default;
  Spans(std::uint64_t from, std::uint64_t to) { add(from, to); }
  /// All there is and will be.
  static Spans everything();

  /// An empty part adds nothing.
  void add(std::uint64_t from, std::uint64_t to);
  void add(const Spans& more);

  bool empty() const { return ranges_.empty(); }
  /// In order; they neither touch nor overlap.
  std::vector<Span> list() const;
  bool operator==(const Spans& other) const { return list() == other.list(); }

 private:
  transport::RangeSet ranges_{kMost + 1};  // one more until two are joined
};

}  // namespace rushfs::fs

// Prefetcher guesses from the reads of one open file what will be read next.
//
// Sequential reading, in requests of any size and slightly out of order as the kernel's read-ahead
// sends them, earns a window that grows with the run up to what the path holds; a jump loses it.
// Pure: one per handle; no clock, no I/O.
#pragma once

#include <cstdint>

namespace rushfs::fs {

class Prefetcher {
 public:
  /// Bytes worth having beyond what was asked: [from, to). Empty: nothing.
  struct Wish {
    std::uint64_t from = 0, to = 0;
    bool jumped = false;  // what was wished for before is no longer wanted
  };

  /// A read of [offset, offset + length) of a file of `size` bytes came. `path_window`: bytes to
  /// have in flight to fill the path.
  Wish read(std::uint64_t offset, std::uint64_t length, std::uint64_t size,
            std::uint64_t path_window);
  /// Reads come in sequence, so that the whole block around a read is worth fetching.
  bool sequential() const { return run_ >= kTrusted; }

  /// A run this long is no accident; two requests of the kernel's default size.
  static constexpr std::uint64_t kTrusted = 256 << 10;

 private:
  std::uint64_t position_ = 0;  // furthest end of the current run
  std::uint64_t run_ = 0;       // bytes read in it
  bool started_ = false;
};

}  // namespace rushfs::fs

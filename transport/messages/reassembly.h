// One message on its way in: parts in any order, put straight into the buffer that the application
// gets. Pure; owner: Exchange.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "transport/message.h"
#include "transport/range_set.h"
#include "transport/wire/frames.h"

namespace rushfs::transport {

/// Pieces of one message: 4 MiB in parts of 128 bytes, every second missing. Senders do not begin
/// shorter parts; more pieces are a protocol violation, and so are more than a few that are shorter
/// in the mean than half of that, as each costs a search and a move.
inline constexpr std::size_t kMaxPieces = 16384;
inline constexpr std::size_t kFewPieces = 64;
inline constexpr std::size_t kLeastMeanPiece = 64;  // bytes

class Reassembly {
 public:
  explicit Reassembly(std::uint32_t total) : total_(total) {}

  std::uint32_t total() const { return total_; }
  std::uint32_t charge() const { return total_ + kMessageOverhead; }
  /// Takes a part whose total is ours. What is known already is ignored.
  Violation add(const MessageFrame& part);
  bool complete() const { return complete_; }
  /// The body, once complete.
  Buffer take() { return std::move(buffer_); }
  /// The body is not wanted: only notices when all of it has come.
  void discard();

 private:
  /// Of a message of more than one part.
  struct Parts {
    RangeSet received{kMaxPieces + 1};
    std::multimap<std::uint32_t, Buffer> aside;  // too far ahead of the buffer's end, by offset
    std::size_t aside_cost = 0;
    std::uint64_t arrived = 0;  // bytes, what came twice in other parts included
    std::uint64_t cleared = 0;  // bytes of the buffer that were skipped
  };
  void place(const MessageFrame& part);
  bool is_near(std::uint32_t offset) const;
  void put(std::uint32_t offset, std::span<const std::uint8_t> data);

  std::uint32_t total_;
  bool complete_ = false;
  bool discarded_ = false;
  Buffer buffer_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace rushfs::transport

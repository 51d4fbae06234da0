// One message on its way in: parts in any order, put straight into the buffer that the application
// gets. Pure; owner: Exchange.
#pragma once

#include <cstdint>
#include <memory>

#include "transport/frames.h"
#include "transport/message.h"
#include "transport/range_set.h"

namespace rushfs::transport {

/// Gaps in one message: 4 MiB in parts of 128 bytes, every second missing. Senders do not begin
/// shorter parts; more gaps are a protocol violation.
inline constexpr std::size_t kMaxGaps = 16384;

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
  void place(const MessageFrame& part);

  std::uint32_t total_;
  bool complete_ = false;
  bool discarded_ = false;
  Buffer buffer_;
  std::unique_ptr<RangeSet> received_;  // once there is more than one part
};

}  // namespace rushfs::transport

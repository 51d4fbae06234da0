#include "transport/messages/reassembly.h"

#include <algorithm>

namespace rushfs::transport {
namespace {

// Bytes of the buffer that may be skipped, and so cleared, for each that arrived: few bytes never
// make us touch many.
constexpr std::uint64_t kSkippedPerByte = 8;
// What a part that waits aside costs besides its bytes.
constexpr std::size_t kAsideOverhead = 128;

}  // namespace

Violation Reassembly::add(const MessageFrame& part) {
  if (complete_) return std::nullopt;
  if (part.data.size() == total_) {
    if (!discarded_) buffer_.assign(part.data.begin(), part.data.end());
    parts_.reset();
    complete_ = true;
    return std::nullopt;
  }
  if (!parts_) parts_ = std::make_unique<Parts>();
  RangeSet& received = parts_->received;
  if (!received.add(part.offset, part.offset + part.data.size() - 1)) return std::nullopt;
  parts_->arrived += part.data.size();
  const std::size_t most = kFewPieces + parts_->arrived / kLeastMeanPiece;
  if (received.ranges().size() > std::min(most, kMaxPieces)) return "a message in too many pieces";
  if (!discarded_) place(part);
  if (received.contains(0, total_ - 1)) {
    parts_.reset();
    complete_ = true;
  }
  return std::nullopt;
}

void Reassembly::discard() {
  discarded_ = true;
  buffer_ = {};
  if (parts_) parts_->aside.clear();
}

// Grows the buffer as bytes arrive, so that a message announced and not sent costs no memory.
void Reassembly::place(const MessageFrame& part) {
  const std::size_t cost = part.data.size() + kAsideOverhead;
  if (!is_near(part.offset) && parts_->aside_cost + cost <= total_) {
    parts_->aside_cost += cost;
    parts_->aside.emplace(part.offset, Buffer(part.data.begin(), part.data.end()));
  } else {
    put(part.offset, part.data);
  }
  auto& aside = parts_->aside;
  while (!aside.empty() && is_near(aside.begin()->first)) {
    const auto next = aside.extract(aside.begin());
    parts_->aside_cost -= next.mapped().size() + kAsideOverhead;
    put(next.key(), next.mapped());
  }
}

bool Reassembly::is_near(std::uint32_t offset) const {
  if (offset <= buffer_.size()) return true;
  return parts_->cleared + (offset - buffer_.size()) <= kSkippedPerByte * parts_->arrived;
}

void Reassembly::put(std::uint32_t offset, std::span<const std::uint8_t> data) {
  if (buffer_.capacity() == 0) buffer_.reserve(total_);
  if (offset == buffer_.size()) {
    buffer_.insert(buffer_.end(), data.begin(), data.end());
    return;
  }
  const std::size_t end = offset + data.size();
  if (offset > buffer_.size()) parts_->cleared += offset - buffer_.size();
  if (end > buffer_.size()) buffer_.resize(end);
  std::copy(data.begin(), data.end(), buffer_.begin() + offset);
}

}  // namespace rushfs::transport

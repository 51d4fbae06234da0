#include "transport/reassembly.h"

#include <algorithm>

namespace rushfs::transport {

Violation Reassembly::add(const MessageFrame& part) {
  if (complete_) return std::nullopt;
  if (part.data.size() == total_) {
    if (!discarded_) buffer_.assign(part.data.begin(), part.data.end());
    received_.reset();
    complete_ = true;
    return std::nullopt;
  }
  if (!received_) {
    received_ = std::make_unique<RangeSet>(kMaxGaps + 1);
    if (!discarded_) buffer_.reserve(total_);
  }
  if (!received_->add(part.offset, part.offset + part.data.size() - 1)) return std::nullopt;
  if (received_->ranges().size() > kMaxGaps) return "a message in too many pieces";
  if (!discarded_) place(part);
  if (received_->contains(0, total_ - 1)) {
    received_.reset();
    complete_ = true;
  }
  return std::nullopt;
}

void Reassembly::discard() {
  discarded_ = true;
  buffer_ = {};
}

// Grows the buffer as bytes arrive, so that a message announced and not sent costs no memory.
void Reassembly::place(const MessageFrame& part) {
  if (part.offset == buffer_.size()) {
    buffer_.insert(buffer_.end(), part.data.begin(), part.data.end());
    return;
  }
  const std::size_t end = part.offset + part.data.size();
  if (end > buffer_.size()) buffer_.resize(end);
  std::copy(part.data.begin(), part.data.end(), buffer_.begin() + part.offset);
}

}  // namespace rushfs::transport

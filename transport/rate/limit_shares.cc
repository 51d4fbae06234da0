#include "transport/rate/limit_shares.h"

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

void LimitShares::note(SendLimit limit, TimePoint now) {
  if (limit == current_ && since_ != TimePoint{}) return;
  const double kept = std::exp(-seconds(now - since_) / seconds(kMemory));
  for (double& share : shares_) share *= kept;
  if (since_ != TimePoint{}) shares_[static_cast<std::size_t>(current_)] += 1 - kept;
  current_ = limit;
  since_ = now;
}

SendLimit LimitShares::largest(TimePoint now) const {
  const double kept = std::exp(-seconds(now - since_) / seconds(kMemory));
  auto shares = shares_;
  for (double& share : shares) share *= kept;
  shares[static_cast<std::size_t>(current_)] += 1 - kept;
  const auto largest = std::max_element(shares.begin(), shares.end());
  return static_cast<SendLimit>(largest - shares.begin());
}

}  // namespace rushfs::transport

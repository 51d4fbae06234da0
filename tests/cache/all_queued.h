// All that a write queue holds, in order, however many batches it takes.
#pragma once

#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "cache/write_queue.h"

namespace rushfs::cache {

inline std::vector<Operation> all_queued(WriteQueue& queue) {
  std::vector<Operation> all;
  for (;;) {
    auto batch = queue.next(all.empty() ? 0 : all.back().sequence, 1ULL << 40);
    if (batch.empty()) return all;
    std::move(batch.begin(), batch.end(), std::back_inserter(all));
  }
}

}  // namespace rushfs::cache

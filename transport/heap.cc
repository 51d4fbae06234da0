#include "transport/heap.h"

#include <malloc.h>

namespace rushfs::transport {

// Set together: each alone ends glibc's own guessing at both.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, static_cast<int>(kLargestFromHeap.count));
  mallopt(M_TRIM_THRESHOLD, static_cast<int>(kFreedMemoryKept.count));
}

}  // namespace rushfs::transport

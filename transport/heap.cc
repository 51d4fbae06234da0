#include "transport/heap.h"

#include <jemalloc/jemalloc.h>

// A sanitizer's own allocator takes its place in such a build.
#pragma weak mallctl

// Read by jemalloc before main() begins; MALLOC_CONF in the environment comes after it.
extern "C" {
const char* malloc_conf = "thp:always";
}

namespace rushfs::transport {

void give_back_idle_memory() {
  if (mallctl == nullptr) return;
  bool on = true;
  mallctl("background_thread", nullptr, nullptr, &on, sizeof on);
}

}  // namespace rushfs::transport

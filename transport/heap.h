// Message buffers come and go by the hundred a second, each a megabyte and more. The C library
// gives such memory back to the system at once, which clears it anew for the next: half of the time
// that a fast transfer takes.
#pragma once

#include "transport/units.h"

namespace rushfs::transport {

/// What each heap (glibc has one for about each thread) keeps of what was freed: some round trips
/// of a fast local network, and little beside what a cache or a queue has in memory.
inline constexpr Bytes kFreedMemoryKept = 32_MiB;
/// Larger ones are no messages, and go back at once.
inline constexpr Bytes kLargestFromHeap = 8_MiB;

/// For the whole process; first of all, before there are threads.
void keep_freed_memory();

}  // namespace rushfs::transport

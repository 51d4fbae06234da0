// How long the calling thread could have run and had no processor: on a busy machine that, and not
// its own work, is what a loop's time goes into.
#pragma once

#include "transport/units.h"

namespace rushfs::transport {

/// Since the thread began; zero where the kernel does not tell (/proc/thread-self/schedstat).
Duration processor_wait();

}  // namespace rushfs::transport

// A MemoryDisk as what a server exports.
#pragma once

#include <memory>

#include "fs/server/store.h"
#include "tests/sim/memory_disk.h"

namespace rushfs::sim {

/// `disk` outlives it.
std::shared_ptr<const fs::Store> open_memory_store(MemoryDisk& disk);

}  // namespace rushfs::sim

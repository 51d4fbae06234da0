// A world whose server exports a disk in memory: it goes the same way for each seed, and its disk
// can do what a real one seldom does.
#pragma once

#include <memory>
#include <utility>

#include "tests/fs/client_world.h"
#include "tests/sim/memory_disk.h"
#include "tests/sim/memory_store.h"

namespace rushfs::sim {

/// `disk`: made when the world first opens it; stays the caller's, and outlives the world.
inline std::unique_ptr<fs::test::World> make_memory_world(std::unique_ptr<MemoryDisk>& disk,
                                                          fs::test::WorldOptions options) {
  options.shortest_delay = std::chrono::milliseconds(1);
  options.place = testing::TemporaryFolder::Place::memory;
  options.store = [&disk](const fs::LoopTime& time) {
    if (!disk) disk = std::make_unique<MemoryDisk>(time);
    return open_memory_store(*disk);
  };
  return std::make_unique<fs::test::World>(std::move(options));
}

}  // namespace rushfs::sim

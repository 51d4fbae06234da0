// What the parts of a client work with: the server, the two disk loops and what they own, the time.
// All outlive the parts.
#pragma once

#include "cache/block_cache.h"
#include "cache/write_queue.h"
#include "fs/client/remote.h"
#include "fs/disk_loop.h"
#include "fs/loop_time.h"

namespace rushfs::fs {

struct ClientParts {
  Remote& remote;
  DiskLoop& blocks_loop;
  cache::BlockCache& blocks;  // on the blocks loop
  DiskLoop& queue_loop;
  cache::WriteQueue& queue;   // on the queue loop
  const LoopTime& time;
};

}  // namespace rushfs::fs

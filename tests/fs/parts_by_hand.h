// What the client's rooms work with, played by hand: a server, a disk that is always fast, an empty
// cache and an empty queue.
#pragma once

#include "direct_loop.h"
#include "fake_remote.h"
#include "fs/client/client_parts.h"
#include "tests/temporary_folder.h"

namespace rushfs::fs::test {

struct PartsByHand {
  rushfs::testing::TemporaryFolder folder;
  LoopTime time;
  FakeRemote remote;
  DirectLoop loop;
  DiskLoop disk{loop, loop};
  cache::BlockCache blocks{{folder / "blocks", 64 << 20}};
  cache::WriteQueue queue{{folder / "queue", 1 << 30}};
  ClientParts parts{remote, disk, blocks, disk, queue, time};
};

}  // namespace rushfs::fs::test

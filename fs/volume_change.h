// How Volume carries out a change at the server at once. Private to fs/volume_*.cc.
#pragma once

#include "fs/volume.h"

namespace rushfs::fs {

template <class R>
void Volume::change_at_server(const InodeRef& inode, R request, AppliedOperation operation,
                              Reply<void> reply) {
  request.node = inode->node;
  ++inode->changes_in_flight;
  ask(parts_.remote, Priority::urgent, std::move(request),
      [this, inode, operation,
       reply = std::move(reply)](Result<Answer<ChangeReply>> answer) mutable {
        --inode->changes_in_flight;
        if (!answer) {
          inode->validated = {};  // it may have happened
          return reply.fail(answer.error());
        }
        operation.change = (*answer)->change;
        known_.changed(inode, operation);
        reply.ok();
      });
}

}  // namespace rushfs::fs

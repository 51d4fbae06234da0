// Asks the kernel to let the calling thread run soon after its timers expire, also when other
// programs keep all processors busy: what paces datagrams is worth little when it wakes late.
#pragma once

namespace rushfs::transport {

/// Gives the calling thread a short time slice, which since Linux 6.12 means an early turn and not
/// a larger share (sched_setattr(2), EEVDF). Needs no privilege. Where the kernel does not know it
/// or the thread is scheduled by a real-time policy, nothing changes.
void ask_for_prompt_wakeup();

}  // namespace rushfs::transport

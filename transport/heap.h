// The memory of a program that moves much data: messages of a megabyte come and go by the hundred a
// second. jemalloc serves it, from pages of 2 MiB where the system has them (docs/decisions/0006):
// touching memory for the first time is much of what a copy costs otherwise. What was freed is kept
// for the next message, and goes back to the system within some ten seconds.
#pragma once

namespace rushfs::transport {

/// That it does so while nothing else is done, too. For a process that stays; once, after it has
/// forked to the background: a child does not inherit the thread that this starts.
void give_back_idle_memory();

}  // namespace rushfs::transport

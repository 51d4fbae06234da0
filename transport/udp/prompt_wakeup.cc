#include "transport/udp/prompt_wakeup.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace rushfs::transport {
namespace {

/// sched_attr of sched_setattr(2), first version; glibc 2.36 declares neither it nor the calls.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // ns; of SCHED_OTHER: the slice
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

// The least that the kernel takes. A turn of the network loop is about as long.
constexpr std::uint64_t kSlice = 100'000;  // ns

}  // namespace

void ask_for_prompt_wakeup() {
  SchedulingAttributes attributes;
  constexpr pid_t kThisThread = 0;
  if (::syscall(SYS_sched_getattr, kThisThread, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.runtime = kSlice;
  (void)::syscall(SYS_sched_setattr, kThisThread, &attributes, 0);
}

}  // namespace rushfs::transport

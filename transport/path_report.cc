#include "transport/path_report.h"

namespace rushfs::transport {

const char* name_of(SendLimit limit) {
  switch (limit) {
    case SendLimit::application: return "application";
    case SendLimit::network: return "network";
    case SendLimit::random_loss: return "random loss";
    case SendLimit::congestion: return "congestion";
    case SendLimit::target_rate: return "target rate";
    case SendLimit::receiver_credit: return "receiver's disk";
    case SendLimit::starting: return "starting";
    case SendLimit::policer: return "policer";
    case SendLimit::remote_cap: return "remote cap";
    case SendLimit::processor: return "CPU";
    case SendLimit::sender_storage: return "sender's disk";
  }
  return "unknown";
}

}  // namespace rushfs::transport

// How fast to send: "rate-response control", a model of the path on the skeleton of BBRv3
// (draft-ietf-ccwg-bbr) in which loss is judged by experiment. Congestion loss disappears when we
// slow down, random loss does not. docs/decisions/0001-rate-control.md has the reasons and figures.
//
// Pure; a value.
#pragma once

#include <cstdint>
#include <optional>

#include "transport/delivery_rate.h"
#include "transport/loss_detection.h"
#include "transport/path_report.h"
#include "transport/rate_limits.h"
#include "transport/units.h"

namespace rushfs::transport {

/// What a connection learned of a path, to start from when it sees that path again
/// (Careful Resume, draft-ietf-tsvwg-careful-resume).
struct RememberedPath {
  BitRate bandwidth{0};
  Duration minimum_round_trip{};
};

}  // namespace rushfs::transport

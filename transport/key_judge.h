// The question that authentication asks the application.
#pragma once

#include <functional>

namespace rushfs::transport {

struct PublicKey;  // transport/identity.h

/// Says whether a client of this key may connect (server), or is the expected server (client).
using KeyJudge = std::function<bool(const PublicKey&)>;

}  // namespace rushfs::transport

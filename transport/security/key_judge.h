// The question that authentication asks the application.
#pragma once

#include <functional>

#include "transport/units.h"

namespace rushfs::transport {

struct Address;    // transport/address.h
struct PublicKey;  // transport/security/identity.h

/// Says whether this is the key of the expected server (client), or of one of our clients (server).
using KeyJudge = std::function<bool(const PublicKey&)>;

/// Whether a client is let in, and what it may do on the link.
struct Admission {
  Admission(bool is_admitted) : admitted(is_admitted) {}  // NOLINT: yes or no is a whole answer
  bool admitted = false;
  BitRate max_rate = BitRate::infinite();  // of all its connections together, each way
};

/// Says whether a client of this key may come from this address: when it connects, and again for
/// each packet from a new address while it roams there.
using ClientJudge = std::function<Admission(const PublicKey&, const Address&)>;

}  // namespace rushfs::transport

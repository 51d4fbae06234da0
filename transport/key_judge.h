// The question that authentication asks the application.
#pragma once

#include <functional>

namespace rushfs::transport {

struct Address;    // transport/address.h
struct PublicKey;  // transport/identity.h

/// Says whether this is the key of the expected server (client), or of one of our clients (server).
using KeyJudge = std::function<bool(const PublicKey&)>;

/// Says whether a client of this key may connect from this address. Not asked again when it roams.
using ClientJudge = std::function<bool(const PublicKey&, const Address&)>;

}  // namespace rushfs::transport

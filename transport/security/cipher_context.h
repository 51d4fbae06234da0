// A cipher of OpenSSL with its key, set up once and used for many packets.
#pragma once

#include <memory>

#include "transport/security/key_schedule.h"

struct evp_cipher_ctx_st;
struct evp_cipher_st;

namespace rushfs::transport {

struct CipherContextDeleter {
  void operator()(evp_cipher_ctx_st* context) const;  // wipes the key
};
using CipherContext = std::unique_ptr<evp_cipher_ctx_st, CipherContextDeleter>;

CipherContext make_cipher_context(const evp_cipher_st* algorithm, const Secret& key, bool encrypt);

}  // namespace rushfs::transport

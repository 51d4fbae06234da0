#include "transport/security/cipher_context.h"

#include <openssl/evp.h>

#include <cassert>

namespace rushfs::transport {

void CipherContextDeleter::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

CipherContext make_cipher_context(const evp_cipher_st* algorithm, const Secret& key,
                                  bool encrypt) {
  CipherContext context(EVP_CIPHER_CTX_new());
  assert(context && algorithm);
  const int ready = EVP_CipherInit_ex2(context.get(), algorithm, key.bytes().data(), nullptr,
                                       encrypt ? 1 : 0, nullptr);
  assert(ready == 1);
  return context;
}

}  // namespace rushfs::transport

// AES-GCM by libipsec-mb: one call for a packet, and the vector instructions that OpenSSL 3.0 does
// not know yet.
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#include "transport/security/aead.h"

namespace rushfs::transport {
namespace {

/// The library asks the processor alone what it has; the system may not let us use all of it.
void choose(IMB_MGR* manager) {
  if (__builtin_cpu_supports("avx512f")) return init_mb_mgr_auto(manager, nullptr);
  if (__builtin_cpu_supports("avx2")) return init_mb_mgr_avx2(manager);
  init_mb_mgr_sse(manager);
}

/// The functions for this processor, chosen and tested once; none: it has no AES instructions.
const IMB_MGR* functions() {
  static const IMB_MGR* const chosen = []() -> const IMB_MGR* {
    IMB_MGR* const manager = alloc_mb_mgr(0);
    if (manager == nullptr) return nullptr;
    choose(manager);
    constexpr std::uint64_t kWanted = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    const bool usable = imb_get_errno(manager) == 0 && (manager->features & kWanted) == kWanted;
    if (usable) return manager;
    free_mb_mgr(manager);
    return nullptr;
  }();
  return chosen;
}

class MultiBufferAead : public Aead {
 public:
  MultiBufferAead(const IMB_MGR& functions, const PacketKeys& keys) {
    const bool short_key = keys.suite == CipherSuite::aes_128_gcm;
    seal_ = short_key ? functions.gcm128_enc : functions.gcm256_enc;
    open_ = short_key ? functions.gcm128_dec : functions.gcm256_dec;
    (short_key ? functions.gcm128_pre : functions.gcm256_pre)(keys.key.bytes().data(), &key_);
  }
  ~MultiBufferAead() override {
    OPENSSL_cleanse(&key_, sizeof key_);
    OPENSSL_cleanse(&state_, sizeof state_);
  }

  void seal(const Nonce& nonce, std::span<const std::uint8_t> header,
            std::span<std::uint8_t> payload, Tag tag) override {
    seal_(&key_, &state_, payload.data(), payload.data(), payload.size(), nonce.data(),
          header.data(), header.size(), tag.data(), tag.size());
  }

  bool open(const Nonce& nonce, std::span<const std::uint8_t> header,
            std::span<std::uint8_t> payload, Tag tag) override {
    std::array<std::uint8_t, kTagLength> expected;
    open_(&key_, &state_, payload.data(), payload.data(), payload.size(), nonce.data(),
          header.data(), header.size(), expected.data(), expected.size());
    return CRYPTO_memcmp(expected.data(), tag.data(), tag.size()) == 0;
  }

 private:
  aes_gcm_enc_dec_t seal_, open_;
  alignas(64) gcm_key_data key_{};  // so the functions want it; its own type says so for some
  gcm_context_data state_{};
};

}  // namespace

std::unique_ptr<Aead> make_multi_buffer_aead(const PacketKeys& keys) {
  const bool aes = keys.suite != CipherSuite::chacha20_poly1305;
  const IMB_MGR* const chosen = aes ? functions() : nullptr;
  return chosen ? std::make_unique<MultiBufferAead>(*chosen, keys) : nullptr;
}

}  // namespace rushfs::transport

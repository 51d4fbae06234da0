#include "fs/server/node_id.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cassert>
#include <cstring>
#include <stdexcept>

namespace rushfs::fs {
namespace {

constexpr char kByHandle = 1;
constexpr char kByInode = 2;
constexpr std::size_t kPrefix = 1 + 8;         // kind, file system
constexpr std::size_t kInodeBody = 8 + 8 + 4;  // inode, birth
constexpr std::size_t kMaxHandle = 128;        // MAX_HANDLE_SZ

template <class T>
void put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i)));
  }
}
template <class T>
T get(const char*& at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= std::uint64_t{static_cast<std::uint8_t>(*at++)} << (8 * i);
  }
  return static_cast<T>(value);
}

}  // namespace

void NodeIdCodec::Free::operator()(evp_mac_ctx_st* context) const {
  EVP_MAC_CTX_free(context);
}

NodeIdCodec::NodeIdCodec(const Key& key) {
  const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac(
      EVP_MAC_fetch(nullptr, "SIPHASH", nullptr), &EVP_MAC_free);
  keyed_.reset(mac ? EVP_MAC_CTX_new(mac.get()) : nullptr);
  std::size_t size = Tag().size();
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                   OSSL_PARAM_construct_end()};
  if (!keyed_ || EVP_MAC_init(keyed_.get(), key.data(), key.size(), parameters) != 1) {
    throw std::runtime_error("cannot make node ids: OpenSSL offers no SipHash");
  }
}

NodeIdCodec::Tag NodeIdCodec::tag(const char* bytes, std::size_t count) const {
  const std::unique_ptr<evp_mac_ctx_st, Free> context(EVP_MAC_CTX_dup(keyed_.get()));
  Tag out{};
  std::size_t length = 0;
  const bool done =
      context &&
      EVP_MAC_update(context.get(), reinterpret_cast<const unsigned char*>(bytes), count) == 1 &&
      EVP_MAC_final(context.get(), out.data(), &length, out.size()) == 1;
  assert(done && length == out.size());
  return out;
}

NodeId NodeIdCodec::seal(const NodeIdentity& identity) const {
  assert(identity.handle.size() <= kMaxHandle);
  NodeId node;
  std::string& out = node.bytes;
  out.push_back(identity.by_handle ? kByHandle : kByInode);
  put(out, identity.file_system);
  if (identity.by_handle) {
    put(out, identity.handle_type);
    out += identity.handle;
  } else {
    put(out, identity.inode);
    put(out, identity.birth.seconds);
    put(out, identity.birth.nanoseconds);
  }
  const Tag mac = tag(out.data(), out.size());
  out.append(reinterpret_cast<const char*>(mac.data()), mac.size());
  return node;
}

std::optional<NodeIdentity> NodeIdCodec::open(const NodeId& node) const {
  const std::string& in = node.bytes;
  const std::size_t mac_size = Tag().size();
  if (in.size() < kPrefix + 4 + mac_size || in.size() > kMaxNodeId) return std::nullopt;
  const std::size_t body = in.size() - mac_size;
  const Tag mac = tag(in.data(), body);
  if (CRYPTO_memcmp(mac.data(), in.data() + body, mac.size()) != 0) return std::nullopt;
  NodeIdentity identity;
  identity.by_handle = in[0] == kByHandle;
  const char* at = in.data() + 1;
  identity.file_system = get<std::uint64_t>(at);
  if (identity.by_handle) {
    identity.handle_type = get<std::int32_t>(at);
    identity.handle.assign(at, in.data() + body);
  } else {
    if (body != kPrefix + kInodeBody) return std::nullopt;
    identity.inode = get<std::uint64_t>(at);
    identity.birth.seconds = get<std::int64_t>(at);
    identity.birth.nanoseconds = get<std::uint32_t>(at);
  }
  return identity;
}

}  // namespace rushfs::fs

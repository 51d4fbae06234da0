#include "transport/security/cookie.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "transport/wire/varint.h"

namespace rushfs::transport {
namespace {

constexpr std::size_t kTimeLength = 8;
constexpr std::size_t kMacLength = 32;
constexpr std::size_t kMacInput = kTimeLength + 16 + 2 + 2 * ConnectionId::kLength;

using Mac = std::array<std::uint8_t, kMacLength>;

Mac mac(const Secret& secret, std::uint64_t time, const Address& from, const ConnectionId& client,
        const ConnectionId& original_destination) {
  std::array<std::uint8_t, kMacInput> input;
  std::span<std::uint8_t> output = input;
  const bool written = write_uint(output, time, kTimeLength) && write_bytes(output, from.ip) &&
                       write_uint(output, from.port, 2) && write_bytes(output, client.bytes) &&
                       write_bytes(output, original_destination.bytes);
  assert(written && output.empty());
  Mac result;
  unsigned length = 0;
  const auto* done = HMAC(EVP_sha256(), secret.bytes().data(), static_cast<int>(secret.size()),
                          input.data(), input.size(), result.data(), &length);
  assert(done && length == result.size());
  return result;
}

}  // namespace

CookieJar::CookieJar(RandomSource random, TimePoint now)
    : random_(std::move(random)), start_(now), rotated_(now) {
  random_(current_.bytes());
}

void CookieJar::rotate(TimePoint now) {
  if (now < rotated_ + kCookieLife) return;
  previous_.reset();
  if (now < rotated_ + 2 * kCookieLife) previous_ = current_;
  random_(current_.bytes());
  rotated_ = now;
}

Cookie CookieJar::make(const Address& from, const ConnectionId& client,
                       const ConnectionId& original_destination, TimePoint now) {
  rotate(now);
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - start_);
  const auto time = static_cast<std::uint64_t>(age.count());
  Cookie cookie;
  std::span<std::uint8_t> output = cookie;
  const bool written = write_uint(output, time, kTimeLength) &&
                       write_bytes(output, mac(current_, time, from, client, original_destination));
  assert(written && output.empty());
  return cookie;
}

bool CookieJar::check(std::span<const std::uint8_t> cookie, const Address& from,
                      const ConnectionId& client, const ConnectionId& original_destination,
                      TimePoint now) {
  if (cookie.size() != kCookieLength) return false;
  rotate(now);
  const std::uint64_t time = *read_uint(cookie, kTimeLength);  // leaves the MAC
  const auto matches = [&](const Secret& secret) {
    const Mac expected = mac(secret, time, from, client, original_destination);
    return CRYPTO_memcmp(cookie.data(), expected.data(), kMacLength) == 0;
  };
  if (!matches(current_) && !(previous_ && matches(*previous_))) return false;
  return now - (start_ + std::chrono::milliseconds(time)) <= kCookieLife;
}

}  // namespace rushfs::transport

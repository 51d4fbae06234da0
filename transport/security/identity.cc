#include "transport/security/identity.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include "transport/security/key_schedule.h"
#include "transport/security/private_file.h"

namespace rushfs::transport {
namespace {

/// A private key file is about 120 bytes.
constexpr std::size_t kMaxKeyFile = 16384;

constexpr std::string_view kSshType = "ssh-ed25519";

std::string to_base64(std::span<const std::uint8_t> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // OpenSSL adds a NUL
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

/// RFC 4253, section 6.6, and RFC 8709: two strings, each after its length in 4 bytes.
constexpr std::array<std::uint8_t, 19> kSshPrefix = {
    0, 0, 0, 11, 's', 's', 'h', '-', 'e', 'd', '2', '5', '5', '1', '9', 0, 0, 0, 32};

std::array<std::uint8_t, kSshPrefix.size() + 32> ssh_blob(const PublicKey& key) {
  std::array<std::uint8_t, kSshPrefix.size() + 32> blob;
  std::copy(kSshPrefix.begin(), kSshPrefix.end(), blob.begin());
  std::copy(key.bytes.begin(), key.bytes.end(), blob.begin() + kSshPrefix.size());
  return blob;
}

std::runtime_error openssl_failed(const std::string& attempt) {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return std::runtime_error(attempt + ": " + (reason ? reason : "unknown error"));
}

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;

/// TLS wants a certificate; ours only carries the key. Nobody reads its name, dates or serial
/// number, so all are fixed.
Certificate self_sign(EVP_PKEY* key) {
  Certificate certificate(X509_new());
  X509* const raw = certificate.get();
  X509_NAME* const name = X509_get_subject_name(raw);
  const bool made =
      X509_set_version(raw, X509_VERSION_3) && ASN1_INTEGER_set(X509_get_serialNumber(raw), 1) &&
      ASN1_TIME_set_string_X509(X509_getm_notBefore(raw), "20000101000000Z") &&
      ASN1_TIME_set_string_X509(X509_getm_notAfter(raw), "99991231235959Z") &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>("rushfs"), -1, -1, 0) &&
      X509_set_issuer_name(raw, name) && X509_set_pubkey(raw, key) &&
      X509_sign(raw, key, nullptr) > 0;
  if (!made) throw openssl_failed("make the certificate");
  return certificate;
}

}  // namespace

std::string to_openssh_base64(const PublicKey& key) {
  return to_base64(ssh_blob(key));
}

std::string fingerprint(const PublicKey& key) {
  const auto blob = ssh_blob(key);
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest;
  SHA256(blob.data(), blob.size(), digest.data());
  std::string text = to_base64(digest);
  while (text.back() == '=') text.pop_back();
  return "SHA256:" + text;
}

std::optional<PublicKey> from_openssh_base64(std::string_view base64) {
  constexpr std::size_t kBlobLength = kSshPrefix.size() + 32;
  constexpr std::size_t kTextLength = (kBlobLength + 2) / 3 * 4;
  static_assert(kBlobLength % 3 == 0, "no padding to care about");
  if (base64.size() != kTextLength) return std::nullopt;
  std::array<std::uint8_t, kBlobLength> blob;
  const int length =
      EVP_DecodeBlock(blob.data(), reinterpret_cast<const unsigned char*>(base64.data()),
                      static_cast<int>(base64.size()));
  if (length != static_cast<int>(kBlobLength)) return std::nullopt;
  if (!std::equal(kSshPrefix.begin(), kSshPrefix.end(), blob.begin())) return std::nullopt;
  PublicKey key;
  std::copy(blob.begin() + kSshPrefix.size(), blob.end(), key.bytes.begin());
  // One text per key: the decoder overlooks white space at the ends and stray padding.
  if (to_openssh_base64(key) != base64) return std::nullopt;
  return key;
}

std::string to_openssh_line(const PublicKey& key, std::string_view comment) {
  std::string line = std::string(kSshType) + " " + to_openssh_base64(key);
  if (!comment.empty()) line.append(" ").append(comment);
  return line;
}

struct Identity::Keys {
  Key private_key;
  Certificate certificate;
  PublicKey public_key;

  static Identity make(Key key) {
    auto keys = std::make_shared<Keys>();
    std::size_t length = keys->public_key.bytes.size();
    if (EVP_PKEY_get_raw_public_key(key.get(), keys->public_key.bytes.data(), &length) != 1 ||
        length != keys->public_key.bytes.size()) {
      throw openssl_failed("find the public key");
    }
    keys->certificate = self_sign(key.get());
    keys->private_key = std::move(key);
    return Identity(std::move(keys));
  }
};

Identity::Identity(std::shared_ptr<const Keys> keys) : keys_(std::move(keys)) {}

Identity Identity::generate() {
  Secret seed(32);
  if (RAND_priv_bytes(seed.bytes().data(), 32) != 1) throw openssl_failed("draw a random key");
  return from_seed(std::span<const std::uint8_t>(seed.bytes()).first<32>());
}

Identity Identity::from_seed(std::span<const std::uint8_t, 32> seed) {
  Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  if (!key) throw openssl_failed("make an Ed25519 key");
  return Keys::make(std::move(key));
}

Identity Identity::load(const std::filesystem::path& path) {
  std::optional<std::string> text = read_private_file(path, Privacy::secret, kMaxKeyFile);
  if (!text) throw std::runtime_error("read identity " + path.string() + ": no such file");
  const Bio bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  // A password of length -1: never ask on the terminal.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  OPENSSL_cleanse(text->data(), text->size());
  if (!key) throw openssl_failed("read identity " + path.string() + ": not a PEM private key");
  if (EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519) {
    throw std::runtime_error("read identity " + path.string() + ": not an Ed25519 key");
  }
  return Keys::make(std::move(key));
}

void Identity::save(const std::filesystem::path& path) const {
  const Bio bio(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), keys_->private_key.get(), nullptr, nullptr, 0,
                                    nullptr, nullptr) != 1) {
    throw openssl_failed("write identity " + path.string());
  }
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  create_private_file(path, {text, static_cast<std::size_t>(length)});
}

const PublicKey& Identity::public_key() const {
  return keys_->public_key;
}
evp_pkey_st* Identity::private_key() const {
  return keys_->private_key.get();
}
x509_st* Identity::certificate() const {
  return keys_->certificate.get();
}

}  // namespace rushfs::transport

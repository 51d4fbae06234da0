#include "tools/client_book.h"

#include <utility>

namespace rushfs::tools {
namespace {

bool allows_the_same(const transport::AuthorizedKey& a, const transport::AuthorizedKey& b) {
  return a.exports == b.exports && a.read_only == b.read_only && a.from == b.from &&
         a.max_rate == b.max_rate;
}

}  // namespace

std::optional<fs::ExportGrant> ClientBook::grant(const transport::PublicKey& key,
                                                 const std::string& export_name) const {
  const transport::AuthorizedKey* entry = keys_->find(key);
  if (entry == nullptr || !entry->may_use(export_name)) return std::nullopt;
  return fs::ExportGrant{entry->read_only};
}

std::string ClientBook::name(const transport::PublicKey& key) const {
  const transport::AuthorizedKey* entry = keys_->find(key);
  const std::string fingerprint = transport::fingerprint(key);
  return entry == nullptr || entry->comment.empty() ? fingerprint
                                                    : entry->comment + " (" + fingerprint + ")";
}

std::vector<ClientBook::Closing> ClientBook::replace(SharedKeys keys) {
  std::vector<Closing> closing;
  for (const auto& [connection, key] : connections_) {
    const transport::AuthorizedKey* before = keys_->find(key);
    const transport::AuthorizedKey* after = keys->find(key);
    if (after == nullptr) {
      closing.push_back({connection,
                         {transport::CloseCode::key_revoked, false,
                          "this key was taken out of authorized_keys"}});
    } else if (before != nullptr && !allows_the_same(*before, *after)) {
      closing.push_back({connection,
                         {transport::CloseCode::none, false, "what this key may do has changed"}});
    }
  }
  keys_ = std::move(keys);
  return closing;
}

}  // namespace rushfs::tools

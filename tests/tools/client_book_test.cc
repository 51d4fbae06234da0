#include "tools/client_book.h"

#include <catch2/catch.hpp>

namespace rushfs::tools {
namespace {

using transport::AuthorizedKeys;
using transport::CloseCode;
using transport::ConnectionHandle;
using transport::Identity;
using transport::PublicKey;

PublicKey key_of(std::uint8_t seed) {
  std::array<std::uint8_t, 32> bytes{};
  bytes[0] = seed;
  return Identity::from_seed(bytes).public_key();
}

const PublicKey kAnna = key_of(1);
const PublicKey kBert = key_of(2);

std::string line(const PublicKey& key, const std::string& options, const std::string& comment) {
  return (options.empty() ? "" : options + " ") + transport::to_openssh_line(key, comment) + "\n";
}

SharedKeys keys(const std::string& text) {
  return std::make_shared<const AuthorizedKeys>(AuthorizedKeys::parse(text));
}

}  // namespace

TEST_CASE("a key may use the exports its line allows, read-only if it says so") {
  const ClientBook book(keys(line(kAnna, "", "anna@edit1") +
                             line(kBert, "export=\"footage\",ro", "bert@lab")));
  REQUIRE(book.grant(kAnna, "anything"));
  CHECK_FALSE(book.grant(kAnna, "anything")->read_only);
  REQUIRE(book.grant(kBert, "footage"));
  CHECK(book.grant(kBert, "footage")->read_only);
  CHECK_FALSE(book.grant(kBert, "archive"));
  CHECK_FALSE(book.grant(key_of(3), "footage"));
}

TEST_CASE("a key that is taken out ends its connections and no others") {
  ClientBook book(keys(line(kAnna, "", "anna") + line(kBert, "", "bert")));
  book.connected(ConnectionHandle{1}, kAnna);
  book.connected(ConnectionHandle{2}, kBert);
  book.connected(ConnectionHandle{3}, kAnna);
  book.closed(ConnectionHandle{3});

  const auto closing = book.replace(keys(line(kBert, "", "bert")));

  REQUIRE(closing.size() == 1);
  CHECK(closing[0].connection == ConnectionHandle{1});
  CHECK(closing[0].reason.code == CloseCode::key_revoked);
  CHECK_FALSE(book.grant(kAnna, "footage"));
}

TEST_CASE("a key that may do other things than before has to come again") {
  ClientBook book(keys(line(kAnna, "", "anna") + line(kBert, "", "bert")));
  book.connected(ConnectionHandle{1}, kAnna);
  book.connected(ConnectionHandle{2}, kBert);

  const auto closing =
      book.replace(keys(line(kAnna, "ro", "anna") + line(kBert, "", "a new comment")));

  REQUIRE(closing.size() == 1);
  CHECK(closing[0].connection == ConnectionHandle{1});
  CHECK(closing[0].reason.code == CloseCode::none);
}

}  // namespace rushfs::tools

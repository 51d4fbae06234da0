// No text makes the parsers of trust files fail, and none gains a key that it does not spell out.
#include <cassert>

#include "transport/security/authorized_keys.h"
#include "transport/security/known_hosts.h"

using namespace rushfs::transport;

namespace {

void check_lines(const std::vector<BadLine>& lines) {
  std::size_t last = 0;
  for (const BadLine& line : lines) {
    assert(line.number > last && !line.reason.empty());
    last = line.number;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto keys = AuthorizedKeys::parse(text);
  check_lines(keys.bad_lines());
  for (const AuthorizedKey& key : keys.keys()) {
    assert(text.find(to_openssh_base64(key.key)) != std::string_view::npos);
    assert(!key.max_rate || key.max_rate->bits_per_second >= 1);
    assert(keys.find(key.key));
  }
  const auto hosts = KnownHosts::parse(text);
  check_lines(hosts.bad_lines());
  assert(hosts.look_up("nowhere.invalid:1", {}) != HostTrust::known ||
         text.find("nowhere.invalid:1") != std::string_view::npos);
  return 0;
}

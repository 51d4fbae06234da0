#include "transport/security/known_hosts.h"

#include <utility>

#include "transport/security/private_file.h"

namespace rushfs::transport {

using namespace trust_lines;

std::string host_port(std::string_view host, std::uint16_t port) {
  const bool is_ipv6 = host.find(':') != std::string_view::npos && !host.starts_with('[');
  return (is_ipv6 ? "[" + lower(host) + "]" : lower(host)) + ":" + std::to_string(port);
}

KnownHosts KnownHosts::parse(std::string_view text) {
  KnownHosts hosts;
  hosts.bad_lines_ = for_each_line(text, [&](std::string_view line) {
    Entry entry;
    std::string_view word = take_word(line);
    entry.revoked = word == "@revoked";
    if (entry.revoked) word = take_word(line);
    const bool has_port = word.rfind(':') != std::string_view::npos && word.back() != ':';
    if (!has_port && !(entry.revoked && word == "*")) throw LineError{"not a host:port"};
    entry.host = lower(word);
    entry.key = take_key(line);
    hosts.entries_.push_back(std::move(entry));
  });
  return hosts;
}

KnownHosts KnownHosts::load(const std::filesystem::path& path) {
  return parse(read_private_file(path, Privacy::trustable, kMaxTrustFile).value_or(""));
}

HostTrust KnownHosts::look_up(std::string_view host, const PublicKey& key) const {
  const std::string name = lower(host);
  HostTrust result = HostTrust::unknown;
  for (const Entry& entry : entries_) {
    if (entry.host != name && entry.host != "*") continue;
    if (entry.revoked) {
      if (entry.key == key) return HostTrust::revoked;
    } else if (entry.key == key) {
      result = HostTrust::known;
    } else if (result == HostTrust::unknown) {
      result = HostTrust::changed;
    }
  }
  return result;
}

void KnownHosts::add(const std::filesystem::path& path, std::string_view host,
                     const PublicKey& key) {
  const std::string present =
      read_private_file(path, Privacy::trustable, kMaxTrustFile).value_or("");
  const bool is_cut = !present.empty() && present.back() != '\n';
  append_private_file(path,
                      (is_cut ? "\n" : "") + lower(host) + " " + to_openssh_line(key, "") + "\n");
}

}  // namespace rushfs::transport

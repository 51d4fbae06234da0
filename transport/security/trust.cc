#include "transport/security/trust.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <utility>

#include "transport/security/private_file.h"

namespace rushfs::transport {
namespace {

constexpr std::string_view kKeyType = "ssh-ed25519";
constexpr std::string_view kRevoked = "@revoked";
constexpr std::string_view kBlank = " \t";

/// Why a line cannot be used; caught by for_each_line() alone.
struct LineError {
  std::string reason;
};

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

/// Takes the next word off the front of a line.
std::string_view next_word(std::string_view& line) {
  line = trim(line);
  const std::string_view word = line.substr(0, line.find_first_of(kBlank));
  line = trim(line.substr(word.size()));
  return word;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

void check_characters(std::string_view line) {
  if (line.size() > kMaxTrustLine) throw LineError{"longer than 8192 bytes"};
  const auto is_control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  };
  if (std::any_of(line.begin(), line.end(), is_control)) {
    throw LineError{"contains control characters"};
  }
}

/// Calls `take` with each line that is neither empty nor a comment, and collects what it throws.
std::vector<BadLine> for_each_line(std::string_view text,
                                   const std::function<void(std::string_view)>& take) {
  std::vector<BadLine> bad;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    try {
      check_characters(line);
      take(line);
    } catch (const LineError& error) {
      bad.push_back({number, error.reason});
    }
  }
  return bad;
}

/// `ssh-ed25519 BASE64`, taken off the front of a line.
PublicKey take_key(std::string_view& line) {
  const std::string_view type = next_word(line);
  if (type.empty()) throw LineError{"no key"};
  if (type != kKeyType) throw LineError{"not an ssh-ed25519 key"};
  const auto key = from_openssh_base64(next_word(line));
  if (!key) throw LineError{"the key is damaged"};
  return *key;
}

/// The length of the options in front of an authorized_keys line: up to the first blank outside
/// quotes.
std::size_t options_length(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (!quoted && kBlank.find(line[i]) != std::string_view::npos) return i;
  }
  throw LineError{quoted ? "a quote is not closed" : "no key"};
}

/// Splits at commas outside quotes.
std::vector<std::string_view> split_options(std::string_view options) {
  std::vector<std::string_view> parts;
  bool quoted = false;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= options.size(); ++i) {
    if (i < options.size() && options[i] == '"') quoted = !quoted;
    if (i < options.size() && (quoted || options[i] != ',')) continue;
    parts.push_back(options.substr(start, i - start));
    start = i + 1;
  }
  return parts;
}

/// The parts of a quoted list; none may be empty.
std::vector<std::string_view> split_list(std::string_view list) {
  std::vector<std::string_view> parts;
  for (bool more = true; more;) {
    const std::size_t comma = list.find(',');
    more = comma != std::string_view::npos;
    const std::string_view part = trim(list.substr(0, comma));
    if (part.empty()) throw LineError{"an empty name in a list"};
    parts.push_back(part);
    if (more) list.remove_prefix(comma + 1);
  }
  return parts;
}

std::string_view unquote(std::string_view name, std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    value = value.substr(1, value.size() - 2);
  }
  if (value.empty() || value.find('"') != std::string_view::npos) {
    throw LineError{std::string(name) + ": bad value"};
  }
  return value;
}

BitRate parse_rate(std::string_view text) {
  double factor = 1;
  switch (text.back()) {
    case 'K':
    case 'k':
      factor = 1e3;
      break;
    case 'M':
    case 'm':
      factor = 1e6;
      break;
    case 'G':
    case 'g':
      factor = 1e9;
      break;
    default:
      break;
  }
  if (factor > 1) text.remove_suffix(1);
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  const double rate = number * factor;
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(rate) ||
      rate < 1) {
    throw LineError{"max-rate: not a rate like 500M"};
  }
  return BitRate{rate};
}

void take_option(std::string_view option, AuthorizedKey& key) {
  const std::size_t equals = option.find('=');
  const std::string name = lower(trim(option.substr(0, equals)));
  if (equals == std::string_view::npos) {
    if (name != "ro") throw LineError{"unknown option: " + name};
    key.read_only = true;
    return;
  }
  const std::string_view value = unquote(name, option.substr(equals + 1));
  if (name == "export") {
    if (!key.exports) key.exports.emplace();
    for (const auto part : split_list(value)) key.exports->emplace_back(part);
  } else if (name == "from") {
    for (const auto part : split_list(value)) {
      const auto block = parse_address_block(part);
      if (!block) throw LineError{"from: not an address or CIDR block: " + std::string(part)};
      key.from.push_back(*block);
    }
  } else if (name == "max-rate") {
    key.max_rate = parse_rate(value);
  } else {
    throw LineError{"unknown option: " + name};
  }
}

AuthorizedKey parse_authorized_key(std::string_view line) {
  AuthorizedKey key;
  if (!line.starts_with(std::string(kKeyType) + " ") &&
      !line.starts_with(std::string(kKeyType) + "\t")) {
    const std::size_t length = options_length(line);
    for (const auto option : split_options(line.substr(0, length))) take_option(option, key);
    line = trim(line.substr(length));
  }
  key.key = take_key(line);
  key.comment = line;
  return key;
}

}  // namespace

std::string host_port(std::string_view host, std::uint16_t port) {
  const bool is_ipv6 = host.find(':') != std::string_view::npos && !host.starts_with('[');
  return (is_ipv6 ? "[" + lower(host) + "]" : lower(host)) + ":" + std::to_string(port);
}

KnownHosts KnownHosts::parse(std::string_view text) {
  KnownHosts hosts;
  hosts.bad_lines_ = for_each_line(text, [&](std::string_view line) {
    Entry entry;
    std::string_view word = next_word(line);
    entry.revoked = word == kRevoked;
    if (entry.revoked) word = next_word(line);
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

bool AddressBlock::contains(const Address& address) const {
  for (unsigned bit = 0; bit < prefix; bit += 8) {
    const unsigned bits = std::min(8u, prefix - bit);
    const auto mask = static_cast<std::uint8_t>(0xff00u >> bits);
    if ((ip[bit / 8] ^ address.ip[bit / 8]) & mask) return false;
  }
  return true;
}

std::optional<AddressBlock> parse_address_block(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  AddressBlock block;
  unsigned limit = 128;
  if (::inet_pton(AF_INET, address.c_str(), block.ip.data() + 12) == 1) {
    block.ip[10] = block.ip[11] = 0xff;
    limit = 32;
  } else if (::inet_pton(AF_INET6, address.c_str(), block.ip.data()) != 1) {
    return std::nullopt;
  }
  unsigned prefix = limit;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
    if (error != std::errc() || end != digits.data() + digits.size() || prefix > limit) {
      return std::nullopt;
    }
  }
  block.prefix = 128 - limit + prefix;
  return block;
}

bool AuthorizedKey::may_use(std::string_view export_name) const {
  return !exports || std::find(exports->begin(), exports->end(), export_name) != exports->end();
}

bool AuthorizedKey::may_come_from(const Address& address) const {
  return from.empty() || std::any_of(from.begin(), from.end(), [&](const AddressBlock& block) {
           return block.contains(address);
         });
}

AuthorizedKeys AuthorizedKeys::parse(std::string_view text) {
  AuthorizedKeys result;
  result.bad_lines_ = for_each_line(
      text, [&](std::string_view line) { result.keys_.push_back(parse_authorized_key(line)); });
  return result;
}

AuthorizedKeys AuthorizedKeys::load(const std::filesystem::path& path) {
  const auto text = read_private_file(path, Privacy::trustable, kMaxTrustFile);
  if (!text) throw std::runtime_error("read " + path.string() + ": no such file");
  return parse(*text);
}

const AuthorizedKey* AuthorizedKeys::find(const PublicKey& key) const {
  const auto found = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const AuthorizedKey& entry) { return entry.key == key; });
  return found == keys_.end() ? nullptr : &*found;
}

}  // namespace rushfs::transport

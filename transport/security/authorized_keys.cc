#include "transport/security/authorized_keys.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "transport/security/private_file.h"

namespace rushfs::transport {

using namespace trust_lines;

namespace {

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

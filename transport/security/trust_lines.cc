#include "transport/security/trust_lines.h"

#include <algorithm>

namespace rushfs::transport::trust_lines {
namespace {

void check_characters(std::string_view line) {
  if (line.size() > kMaxTrustLine) throw LineError{"longer than 8192 bytes"};
  const auto is_control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  };
  if (std::any_of(line.begin(), line.end(), is_control)) {
    throw LineError{"contains control characters"};
  }
}

}  // namespace

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::vector<BadLine> for_each_line(std::string_view text,
                                   absl::FunctionRef<void(std::string_view)> take) {
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

std::string_view take_word(std::string_view& line) {
  line = trim(line);
  const std::string_view word = line.substr(0, line.find_first_of(kBlank));
  line = trim(line.substr(word.size()));
  return word;
}

PublicKey take_key(std::string_view& line) {
  const std::string_view type = take_word(line);
  if (type.empty()) throw LineError{"no key"};
  if (type != kKeyType) throw LineError{"not an ssh-ed25519 key"};
  const auto key = from_openssh_base64(take_word(line));
  if (!key) throw LineError{"the key is damaged"};
  return *key;
}

}  // namespace rushfs::transport::trust_lines

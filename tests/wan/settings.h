// Names and units of what can be set on an emulated link, once for the command line and for
// changes while it runs.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "tests/wan/link.h"

namespace rushfs::wan {

/// Both directions of the link: from namespace A to B, and back.
struct LinkPair {
  LinkOptions ab, ba;
};

struct Setting {
  const char* name;  // "rate"; "ab-rate" and "ba-rate" set one direction
  const char* help;
  bool flag;
};
const std::vector<Setting>& settings();

/// Sets e.g. ("rate", "100"), ("ba-loss", "1.5"). Throws std::runtime_error that says what is wrong
/// with name or value.
void apply(LinkPair& pair, const std::string& name, const std::string& value);

/// Settings that take effect `at` after the start.
struct Change {
  Duration at;
  std::vector<std::pair<std::string, std::string>> values;
};
/// Reads "SECONDS:NAME=VALUE[,NAME=VALUE...]". Throws std::runtime_error.
Change parse_change(const std::string& text);

}  // namespace rushfs::wan

#include "tools/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

#include "tools/error.h"
#include "tools/quantity.h"

namespace rushfs::tools {
namespace {

struct Option {
  std::string name;
  std::optional<std::string> value;
};

/// "a=b,c" becomes {a, b}, {c}. A backslash keeps the comma (or backslash) that follows it.
std::vector<Option> split(std::string_view list) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '\\' && i + 1 < list.size() && (list[i + 1] == ',' || list[i + 1] == '\\')) {
      words.back() += list[++i];
    } else if (list[i] == ',') {
      words.emplace_back();
    } else {
      words.back() += list[i];
    }
  }
  std::vector<Option> options;
  for (const std::string& word : words) {
    if (word.empty()) continue;
    const auto equals = word.find('=');
    if (equals == std::string::npos) {
      options.push_back({word, std::nullopt});
    } else {
      options.push_back({word.substr(0, equals), word.substr(equals + 1)});
    }
  }
  return options;
}

const std::string& value_of(const Option& option) {
  if (!option.value || option.value->empty()) {
    throw usage_error(fmt::format("The option {0} needs a value: -o {0}=...", option.name));
  }
  return *option.value;
}

bool take_connect_option(const Option& option, ConnectOptions& result) {
  if (option.name == "identity") {
    result.identity = value_of(option);
  } else if (option.name == "known_hosts") {
    result.known_hosts = value_of(option);
  } else if (option.name == "timeout") {
    result.timeout = parse_duration(value_of(option));
    if (result.timeout < std::chrono::seconds(1)) {
      throw usage_error("timeout= must be at least one second.");
    }
  } else {
    return false;
  }
  return true;
}

transport::RatePolicy parse_policy(const std::string& text) {
  if (text == "fixed") return transport::RatePolicy::fixed;
  if (text == "high") return transport::RatePolicy::high;
  if (text == "fair") return transport::RatePolicy::fair;
  if (text == "low") return transport::RatePolicy::low;
  throw usage_error(fmt::format("policy={} is unknown: fixed, high, fair or low.", text));
}

bool take_rate_option(const Option& option, transport::RateLimits& rate) {
  if (option.name == "rate") {
    rate.target = parse_rate(value_of(option));
  } else if (option.name == "min_rate") {
    rate.minimum = parse_rate(value_of(option));
  } else if (option.name == "policy") {
    rate.policy = parse_policy(value_of(option));
  } else {
    return false;
  }
  return true;
}

void check_rate(const transport::RateLimits& rate) {
  if (rate.minimum > rate.target) {
    throw usage_error("min_rate= is above rate=: nothing could satisfy both.");
  }
  if (rate.policy == transport::RatePolicy::fixed &&
      rate.target == transport::BitRate::infinite()) {
    throw usage_error("policy=fixed sends at rate=: give one, for example rate=500M.");
  }
}

std::uint8_t parse_dscp(const std::string& text) {
  unsigned value = 0;
  const auto end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  constexpr unsigned kLargest = 63;
  if (error == std::errc{} && stopped == end && value <= kLargest) {
    return static_cast<std::uint8_t>(value);
  }
  throw usage_error(fmt::format("dscp={} is not a number from 0 to 63.", text));
}

bool take_rushfs_option(const Option& option, MountOptions& result) {
  if (take_rate_option(option, result.rate)) return true;
  if (option.name == "cache_dir") {
    result.cache_dir = value_of(option);
  } else if (option.name == "cache_size") {
    result.cache_size = parse_size(value_of(option));
  } else if (option.name == "dscp") {
    result.dscp = parse_dscp(value_of(option));
  } else if (option.name == "allow_other") {
    result.allow_other = true;
  } else if (option.name == "noinotify") {
    result.tell_watchers = false;
  } else {
    return false;
  }
  return true;
}

/// How reading is noted. These are known to others too, and so looked at once more.
void take_access_option(const std::string& name, fs::AccessTimes::Options& result) {
  using fs::AccessRule;
  if (name == "noatime") result.rule = AccessRule::none;
  if (name == "strictatime") result.rule = AccessRule::always;
  if (name == "atime" || name == "relatime" || name == "nostrictatime") {
    result.rule = AccessRule::relative;
  }
  if (name == "nodiratime" || name == "diratime") result.folders = name == "diratime";
}

/// Switches of mount(8) that a file system is told about. The later one of a pair wins.
bool take_generic_option(const Option& option, MountOptions& result) {
  struct Switch {
    std::string_view name;
    bool MountOptions::* member;
    bool on;
  };
  static constexpr std::array<Switch, 11> kSwitches{{
      {"remount", &MountOptions::remount, true},
      {"ro", &MountOptions::read_only, true}, {"rw", &MountOptions::read_only, false},
      {"noexec", &MountOptions::no_exec, true}, {"exec", &MountOptions::no_exec, false},
      {"nosuid", &MountOptions::no_suid, true}, {"suid", &MountOptions::no_suid, false},
      {"nodev", &MountOptions::no_device, true}, {"dev", &MountOptions::no_device, false},
      // mount(8) keeps "suid" and "dev" to itself, as its defaults.
      {"allow_suid", &MountOptions::no_suid, false},
      {"allow_dev", &MountOptions::no_device, false}}};
  for (const Switch& known : kSwitches) {
    if (option.name != known.name || option.value) continue;
    result.*known.member = known.on;
    return true;
  }
  if (!option.value) take_access_option(option.name, result.access_times);
  static constexpr std::array<std::string_view, 3> kKernel{"noatime", "sync", "dirsync"};
  if (std::ranges::find(kKernel, option.name) != kKernel.end() && !option.value) {
    result.kernel.push_back(option.name);
    return true;
  }
  return false;
}

/// For mount(8), systemd.mount(5) and fstab(5), or what we do anyway.
bool is_for_others(const Option& option) {
  static constexpr std::array<std::string_view, 26> kIgnored{
      "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev",
      "nofail", "fail", "async", "atime", "relatime", "norelatime", "strictatime", "nostrictatime",
      "lazytime", "nolazytime", "diratime", "nodiratime", "default_permissions", "loud", "silent",
      "comment", "big_writes"};
  return option.name.starts_with("x-") || option.name.starts_with("X-") ||
         std::ranges::find(kIgnored, option.name) != kIgnored.end();
}

}  // namespace

ConnectOptions parse_connect_options(const std::vector<std::string>& lists) {
  ConnectOptions result;
  for (const std::string& list : lists) {
    for (const Option& option : split(list)) {
      if (take_connect_option(option, result)) continue;
      throw usage_error(fmt::format(
          "The option {} is not known here. Known: identity=, known_hosts=, timeout=.",
          option.name));
    }
  }
  return result;
}

MountOptions parse_mount_options(const std::vector<std::string>& lists) {
  std::vector<Option> options;
  for (const std::string& list : lists) std::ranges::move(split(list), std::back_inserter(options));
  // nosuid and nodev win over allow_suid and allow_dev, though mount(8) puts them first.
  std::ranges::stable_partition(
      options, [](const Option& option) { return option.name.starts_with("allow_"); });
  MountOptions result;
  for (const Option& option : options) {
    if (take_connect_option(option, result.connect) || take_rushfs_option(option, result) ||
        take_generic_option(option, result) || is_for_others(option)) {
      continue;
    }
    throw usage_error(fmt::format(
        "The mount option {} is not known. Known: identity=, known_hosts=, cache_dir=, "
        "cache_size=, rate=, min_rate=, policy=, dscp=, timeout=, allow_other, noinotify, ro, "
        "and the generic ones of mount(8).",
        option.name));
  }
  check_rate(result.rate);
  return result;
}

transport::RateLimits change_rate(transport::RateLimits now,
                                  const std::vector<std::string>& lists) {
  for (const std::string& list : lists) {
    for (const Option& option : split(list)) {
      if (take_rate_option(option, now)) continue;
      throw usage_error(fmt::format(
          "{} cannot be changed while mounted. rate=, min_rate= and policy= can.", option.name));
    }
  }
  check_rate(now);
  return now;
}

}  // namespace rushfs::tools

#include "tests/wan/settings.h"

#include <functional>
#include <stdexcept>

namespace rushfs::wan {

namespace {

struct Entry {
  Setting setting;
  std::function<void(LinkOptions&, double, bool both)> set;
};

Duration milliseconds(double value) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(value));
}

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all{
      {{"rate", "Mbit/s of IP packets; 0: no limit", false},
       [](LinkOptions& o, double v, bool) { o.rate = v * 1e6; }},
      {{"buffer", "queue before the transmitter, ms at its rate", false},
       [](LinkOptions& o, double v, bool) { o.buffer = milliseconds(v); }},
      {{"delay", "ms: of the round trip, split in halves; with ab-/ba-: one way", false},
       [](LinkOptions& o, double v, bool both) { o.delay = milliseconds(both ? v / 2 : v); }},
      {{"loss", "% of packets", false},
       [](LinkOptions& o, double v, bool) { o.loss = v / 100; }},
      {{"burst", "mean length of a loss burst, packets; 1: independent", false},
       [](LinkOptions& o, double v, bool) { o.burst = v; }},
      {{"jitter", "ms the one-way delay varies up and down, order kept", false},
       [](LinkOptions& o, double v, bool) { o.jitter = milliseconds(v); }},
      {{"jitter-reorders", "draw the jitter for each packet, so that they overtake", true},
       [](LinkOptions& o, double v, bool) { o.jitter_reorders = v != 0; }},
      {{"reorder", "% of packets held back", false},
       [](LinkOptions& o, double v, bool) { o.reorder = v / 100; }},
      {{"reorder-by", "ms they are held back", false},
       [](LinkOptions& o, double v, bool) { o.reorder_by = milliseconds(v); }},
      {{"duplicate", "% of packets", false},
       [](LinkOptions& o, double v, bool) { o.duplicate = v / 100; }},
      {{"corrupt", "% of packets with a flipped bit", false},
       [](LinkOptions& o, double v, bool) { o.corrupt = v / 100; }},
      {{"corrupt-silently", "make the checksum fit the damage", true},
       [](LinkOptions& o, double v, bool) { o.corrupt_silently = v != 0; }},
      {{"policer", "Mbit/s of a token bucket that drops; 0: none", false},
       [](LinkOptions& o, double v, bool) { o.policer = v * 1e6; }},
      {{"policer-burst", "its depth, ms at its rate", false},
       [](LinkOptions& o, double v, bool) { o.policer_burst = milliseconds(v); }},
  };
  return all;
}

double parse_number(const std::string& name, const std::string& value) {
  try {
    std::size_t used = 0;
    const double number = std::stod(value, &used);
    if (used == value.size() && number >= 0) return number;
  } catch (const std::exception&) {
  }
  throw std::runtime_error("wan-emulator: " + name + " must be a number >= 0, not \"" + value +
                           "\"");
}

}  // namespace

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all = [] {
    std::vector<Setting> list;
    for (const Entry& entry : entries()) list.push_back(entry.setting);
    return list;
  }();
  return all;
}

void apply(LinkPair& pair, const std::string& name, const std::string& value) {
  const bool ab = name.starts_with("ab-"), ba = name.starts_with("ba-");
  const std::string plain = ab || ba ? name.substr(3) : name;
  for (const Entry& entry : entries()) {
    if (plain != entry.setting.name) continue;
    const double number = parse_number(name, value);
    if (!ba) entry.set(pair.ab, number, !ab);
    if (!ab) entry.set(pair.ba, number, !ba);
    return;
  }
  throw std::runtime_error("wan-emulator: there is no setting \"" + name + "\"");
}

Change parse_change(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos) {
    throw std::runtime_error("wan-emulator: expected SECONDS:NAME=VALUE, not \"" + text + "\"");
  }
  Change change{milliseconds(1000 * parse_number("time", text.substr(0, colon))), {}};
  LinkPair probe;
  for (std::size_t at = colon + 1; at <= text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    const std::string one = text.substr(at, end - at);
    const auto equals = std::min(one.find('='), one.size());
    const std::string value = equals < one.size() ? one.substr(equals + 1) : "";
    apply(probe, one.substr(0, equals), value);  // complain now, not when its time has come
    change.values.emplace_back(one.substr(0, equals), value);
    at = end + 1;
  }
  return change;
}

}  // namespace rushfs::wan

// What connections learned of the paths to other hosts, so that the next one starts from it
// (Careful Resume, draft-ietf-tsvwg-careful-resume). Pure; owner: Endpoint.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "transport/address.h"
#include "transport/rate/rate_control.h"
#include "transport/units.h"

namespace rushfs::transport {

class PathMemory {
 public:
  /// Hosts remembered; of more, the one that was heard of least recently is forgotten.
  static constexpr std::size_t kMaxHosts = 256;
  /// Networks change: what is older is no better than nothing. A day, since who works with a server
  /// comes back to it the next morning, and since only half of it is believed, and only while the
  /// round trip is what it was.
  static constexpr Duration kLife = std::chrono::hours(24);

  /// `path` is what a connection to this host knows now. A path of which it learned nothing is
  /// passed over; one that is known just so is as old as it was, and so is one that was found to
  /// carry no less than this connection could try.
  void remember(const Address& host, const RememberedPath& path, TimePoint now);
  std::optional<RememberedPath> recall(const Address& host, TimePoint now) const;

  /// All of it as bytes to keep over a restart: docs/disk-format.md, "What was learned of paths".
  /// `wall` is the time since 1970, with which the next process tells how old they are.
  std::vector<std::uint8_t> save(TimePoint now, Duration wall) const;
  /// Adds what was saved and is not too old. False, and nothing is added: the bytes are not as
  /// save() made them, or are from the future.
  [[nodiscard]] bool load(std::span<const std::uint8_t> bytes, TimePoint now, Duration wall);

 private:
  using Host = std::array<std::uint8_t, 16>;
  struct Entry {
    RememberedPath path;
    TimePoint learned;
  };
  void add(const Host& host, const Entry& entry);

  std::map<Host, Entry> hosts_;
};

}  // namespace rushfs::transport

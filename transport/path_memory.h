// What connections learned of the paths to other hosts, so that the next one starts from it
// (Careful Resume, draft-ietf-tsvwg-careful-resume). Pure; owner: Endpoint.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "transport/address.h"
#include "transport/rate_control.h"
#include "transport/units.h"

namespace rushfs::transport {

class PathMemory {
 public:
  /// Hosts remembered; of more, the one that was heard of least recently is forgotten.
  static constexpr std::size_t kMaxHosts = 256;
  /// Networks change: what is older is no better than nothing.
  static constexpr Duration kLife = std::chrono::hours(1);

  /// `path` is what a connection to this host knows now. A path of which it learned nothing is
  /// passed over.
  void remember(const Address& host, const RememberedPath& path, TimePoint now);
  std::optional<RememberedPath> recall(const Address& host, TimePoint now) const;

 private:
  struct Entry {
    RememberedPath path;
    TimePoint learned;
  };
  std::map<std::array<std::uint8_t, 16>, Entry> hosts_;
};

}  // namespace rushfs::transport

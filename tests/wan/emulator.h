// Carries packets between two TUN devices through two links, in real time, on one thread.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "tests/wan/link.h"
#include "tests/wan/settings.h"
#include "tests/wan/tun_device.h"

namespace rushfs::wan {

struct EmulatorOptions {
  LinkPair links;
  std::vector<Change> changes;         // in order of time
  Duration turn = std::chrono::microseconds(50);  // packets due within one turn leave together
  std::uint64_t seed = 1;
  std::optional<Duration> cut_at, cut_for;
  std::string series_path;             // CSV; empty: none
  Duration series_every = std::chrono::milliseconds(100);
};

class Emulator {
 public:
  Emulator(TunDevice& a, TunDevice& b, EmulatorOptions options);

  /// Runs until SIGTERM, SIGINT or SIGHUP; SIGUSR1 cuts the link, SIGUSR2 heals it.
  void run();
  /// The counters of both directions as JSON.
  std::string report(TimePoint now) const;

 private:
  struct Direction {
    const char* name;
    TunDevice* from;
    TunDevice* to;
    Link link;
    Grouper grouper;
    std::uint64_t written = 0;      // packets and super-packets handed to the kernel
    std::uint64_t series_bytes = 0;  // delivered up to the last line of the series
    bool readable = false;
  };

  void read_some(Direction& direction, TimePoint now);
  void deliver(Direction& direction, TimePoint now);
  void flush(Direction& direction);
  void apply_schedule(TimePoint now);
  void wait(TimePoint now);
  void set_cut(bool cut);
  void handle_signals();
  void write_series(TimePoint now);

  EmulatorOptions options_;
  std::array<Direction, 2> directions_;
  std::mt19937_64 damage_;
  std::vector<Segment> segments_;  // scratch
  TimePoint start_;
  TimePoint last_delivery_{};
  TimePoint next_series_{};
  std::size_t next_change_ = 0;
  bool stop_ = false;
  int epoll_ = -1, signals_ = -1;
  std::FILE* series_ = nullptr;
};

}  // namespace rushfs::wan

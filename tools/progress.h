// A progress bar for people: drawn on a terminal only, never into a log or a pipe.
#pragma once

#include <chrono>
#include <string>

#include "transport/units.h"

namespace rushfs::tools {

/// "[#####.....]  50 %  1.0 GiB of 2.0 GiB  487 Mbit/s  17.2 s left". Pure. No rate: what is left
/// is unknown. `width` is the number of columns to keep to.
std::string progress_line(transport::Bytes done, transport::Bytes total, transport::BitRate rate,
                          std::size_t width);

class Progress {
 public:
  Progress();
  ~Progress();  // leaves the cursor on a fresh line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Draws the bar with the rate seen since the first call; `note` replaces it when not empty.
  void show(transport::Bytes done, transport::Bytes total, const std::string& note = {});

 private:
  bool visible_;
  bool drawn_ = false;
  bool started_ = false;
  transport::TimePoint start_{};
  transport::Bytes done_at_start_{};
};

}  // namespace rushfs::tools

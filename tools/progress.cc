#include "tools/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "tools/quantity.h"

namespace rushfs::tools {
namespace {

constexpr std::size_t kUsualWidth = 80;

std::size_t terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

}  // namespace

std::string progress_line(transport::Bytes done, transport::Bytes total, transport::BitRate rate,
                          std::size_t width) {
  done = std::min(done, total);
  const double share =
      total.count == 0 ? 1 : static_cast<double>(done.count) / static_cast<double>(total.count);
  std::string text = fmt::format(" {:3.0f} %  {} of {}", share * 100, format_size(done),
                                 format_size(total));
  if (rate.bits_per_second > 0 && done < total) {
    text += fmt::format("  {}  {} left", format_rate(rate), format_duration((total - done) / rate));
  }
  constexpr std::size_t kLongestBar = 40;
  constexpr std::size_t kShortestBar = 8;
  if (width < text.size() + kShortestBar + 2) return text.substr(0, width);
  const std::size_t bar = std::min(kLongestBar, width - text.size() - 2);
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(bar));
  return "[" + std::string(filled, '#') + std::string(bar - filled, '.') + "]" + text;
}

Progress::Progress() : visible_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) std::fputc('\n', stderr);
}

void Progress::show(transport::Bytes done, transport::Bytes total, const std::string& note) {
  if (!visible_) return;
  const auto now = transport::Clock::now();
  if (!started_) {
    started_ = true;
    start_ = now;
    done_at_start_ = done;
  }
  transport::BitRate rate{};
  if (now > start_ && done > done_at_start_) rate = (done - done_at_start_) / (now - start_);
  const std::size_t width = terminal_width() - 1;
  const std::string line =
      note.empty() ? progress_line(done, total, rate, width) : note.substr(0, width);
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace rushfs::tools

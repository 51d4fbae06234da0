#include "tests/wan/emulator.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <system_error>

namespace rushfs::wan {

namespace {

constexpr int kReadsPerTurn = 64;
constexpr std::uint32_t kSignals = 2;  // epoll tag, after the two directions

double milliseconds(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

void watch(int epoll, int fd, std::uint32_t tag) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = tag;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  }
}

int open_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

}  // namespace

Emulator::Emulator(TunDevice& a, TunDevice& b, EmulatorOptions options)
    : options_(std::move(options)),
      directions_{
          Direction{"ab", &a, &b, Link(options_.links.ab, options_.seed), Grouper(b.udp_offload())},
          Direction{"ba", &b, &a, Link(options_.links.ba, options_.seed + 1),
                    Grouper(a.udp_offload())}},
      damage_(options_.seed + 2),
      start_(Clock::now()) {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  signals_ = open_signals();
  watch(epoll_, a.descriptor(), 0);
  watch(epoll_, b.descriptor(), 1);
  watch(epoll_, signals_, kSignals);
  if (!options_.series_path.empty()) {
    series_ = std::fopen(options_.series_path.c_str(), "w");
    if (series_ == nullptr) {
      throw std::system_error(errno, std::generic_category(), "open " + options_.series_path);
    }
    std::fputs("seconds,direction,delivered_mbps,queue_ms,dropped_by_queue,dropped_by_loss\n",
               series_);
    next_series_ = start_ + options_.series_every;
  }
}

void Emulator::run() {
  while (!stop_) {
    TimePoint now = Clock::now();
    apply_schedule(now);
    for (Direction& direction : directions_) {
      if (direction.readable) read_some(direction, now);
    }
    now = Clock::now();
    if (now - last_delivery_ >= options_.turn) {
      for (Direction& direction : directions_) deliver(direction, now);
      last_delivery_ = now;
    }
    if (series_ != nullptr && now >= next_series_) write_series(now);
    wait(now);
  }
  if (series_ != nullptr) std::fclose(series_);
  series_ = nullptr;
}

void Emulator::read_some(Direction& direction, TimePoint now) {
  OffloadHeader offload;
  for (int i = 0; i < kReadsPerTurn; ++i) {
    std::vector<std::uint8_t> bytes;
    if (!direction.from->read(offload, bytes)) {
      direction.readable = false;
      return;
    }
    segments_.clear();
    split(parse(offload, std::move(bytes)), segments_);
    for (Segment& segment : segments_) direction.link.arrive(std::move(segment), now);
    segments_.clear();
  }
}

void Emulator::deliver(Direction& direction, TimePoint now) {
  while (auto segment = direction.link.pop_due(now)) {
    if (segment->corrupt) {
      flush(direction);
      Outgoing damaged;
      damaged.headers = materialise(*segment, damage_());
      direction.to->write(damaged);
      ++direction.written;
      continue;
    }
    if (!direction.grouper.accepts(*segment)) flush(direction);
    direction.grouper.add(std::move(*segment));
  }
  flush(direction);
}

void Emulator::flush(Direction& direction) {
  if (direction.grouper.empty()) return;
  direction.to->write(direction.grouper.build());
  direction.grouper.clear();
  ++direction.written;
}

void Emulator::set_cut(bool cut) {
  for (Direction& direction : directions_) direction.link.set_cut(cut);
}

void Emulator::apply_schedule(TimePoint now) {
  const Duration age = now - start_;
  while (next_change_ < options_.changes.size() && options_.changes[next_change_].at <= age) {
    for (const auto& [name, value] : options_.changes[next_change_].values) {
      apply(options_.links, name, value);
    }
    directions_[0].link.set_options(options_.links.ab, now);
    directions_[1].link.set_options(options_.links.ba, now);
    ++next_change_;
  }
  if (options_.cut_at && age >= *options_.cut_at) {
    set_cut(true);
    options_.cut_at.reset();
    if (options_.cut_for) *options_.cut_for += age;  // from now on: when to heal
  } else if (!options_.cut_at && options_.cut_for && age >= *options_.cut_for) {
    set_cut(false);
    options_.cut_for.reset();
  }
}

void Emulator::wait(TimePoint now) {
  TimePoint next = now + std::chrono::milliseconds(10);  // the schedule's own precision
  for (const Direction& direction : directions_) {
    if (direction.readable) next = now;
    if (const auto event = direction.link.next_event()) {
      next = std::min(next, std::max(*event, last_delivery_ + options_.turn));
    }
  }
  if (series_ != nullptr) next = std::min(next, next_series_);
  const auto left = std::max(Duration{0}, next - now);
  timespec timeout{};
  timeout.tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
  std::array<epoll_event, 4> events;
  const int n = ::epoll_pwait2(epoll_, events.data(), events.size(), &timeout, nullptr);
  for (int i = 0; i < n; ++i) {
    const std::uint32_t tag = events.at(static_cast<std::size_t>(i)).data.u32;
    if (tag == kSignals) {
      handle_signals();
    } else {
      directions_.at(tag).readable = true;
    }
  }
}

void Emulator::handle_signals() {
  signalfd_siginfo info{};
  while (::read(signals_, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGUSR1) {
      set_cut(true);
    } else if (info.ssi_signo == SIGUSR2) {
      set_cut(false);
    } else {
      stop_ = true;
    }
  }
}

void Emulator::write_series(TimePoint now) {
  const double span = milliseconds(now - next_series_ + options_.series_every) / 1000;
  for (Direction& direction : directions_) {
    const LinkCounters& c = direction.link.counters();
    std::fprintf(series_, "%.3f,%s,%.3f,%.3f,%llu,%llu\n", milliseconds(now - start_) / 1000,
                 direction.name,
                 static_cast<double>(c.delivered_bytes - direction.series_bytes) * 8e-6 / span,
                 milliseconds(direction.link.queue_delay()),
                 static_cast<unsigned long long>(c.dropped_by_queue),
                 static_cast<unsigned long long>(c.dropped_by_loss));
    direction.series_bytes = c.delivered_bytes;
  }
  next_series_ = now + options_.series_every;
}

std::string Emulator::report(TimePoint now) const {
  nlohmann::ordered_json all;
  all["seconds"] = milliseconds(now - start_) / 1000;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  all["cpu_seconds"] = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  for (const Direction& d : directions_) {
    const LinkCounters& c = d.link.counters();
    const auto sent = static_cast<double>(std::max<std::uint64_t>(1, c.transmitted));
    all[d.name] = {{"packets", c.arrived},
                   {"bytes", c.arrived_bytes},
                   {"delivered_packets", c.delivered},
                   {"delivered_bytes", c.delivered_bytes},
                   {"transmitted_bytes", c.transmitted_bytes},
                   {"dropped_by_queue", c.dropped_by_queue},
                   {"dropped_by_policer", c.dropped_by_policer},
                   {"dropped_by_loss", c.dropped_by_loss},
                   {"dropped_by_cut", c.dropped_by_cut},
                   {"duplicated", c.duplicated},
                   {"reordered", c.reordered},
                   {"corrupted", c.corrupted},
                   {"queue_ms_max", milliseconds(c.queue_max)},
                   {"queue_ms_mean", c.queue_sum_seconds * 1000 / sent},
                   {"utilisation", d.link.utilisation(now)},
                   {"writes", d.written},
                   {"write_errors", d.to->write_errors()},
                   {"device_overruns", d.from->overruns()}};
  }
  return all.dump(2);
}

}  // namespace rushfs::wan

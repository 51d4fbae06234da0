// What a path carries for all who share it together, as its queue answers us: when we send x bytes
// a second more, it grows by x / C seconds more in a second, whatever the others send. They change
// what they send meanwhile, so one answer is worth little; the middle of several tells C.
// Bytes per second. Pure; a value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "transport/rate/rate_epochs.h"

namespace rushfs::transport {

class QueueAnswers {
 public:
  /// Every epoch, in order; `packet` is the size of one in bytes, `floor` the share of packets that
  /// the path loses on its own.
  void on_epoch(const Epoch& epoch, double packet, double floor);
  /// None until enough is known, and where the queue does not answer.
  std::optional<double> capacity() const { return capacity_; }

 private:
  struct Answer {
    double slope = 0;   // seconds of queue per byte sent
    double weight = 0;  // the change of rate behind it
  };
  std::optional<double> middle() const;

  static constexpr std::size_t kRemembered = 16;
  std::array<Answer, kRemembered> answers_{};
  std::size_t count_ = 0;  // of answers, ever
  std::optional<double> capacity_;
  // The epoch before.
  std::uint32_t last_epoch_ = 0;
  double last_rate_ = 0;
  std::optional<double> last_growth_;
};

}  // namespace rushfs::transport

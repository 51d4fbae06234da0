// How far points lie about the straight line that fits them best. Pure; a value.
#pragma once

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

class LineFit {
 public:
  void add(double x, double y) {
    ++count_;
    x_ += x;
    y_ += y;
    xx_ += x * x;
    xy_ += x * y;
    yy_ += y * y;
  }
  double mean() const { return count_ > 0 ? y_ / count_ : 0; }
  /// Standard deviation of the points from the line; 0 of fewer than four.
  double deviation() const {
    if (count_ < 4) return 0;
    const double xx = xx_ - x_ * x_ / count_;
    const double xy = xy_ - x_ * y_ / count_;
    const double yy = yy_ - y_ * y_ / count_;
    const double rest = xx > 0 ? yy - xy * xy / xx : yy;
    return std::sqrt(std::max(rest, 0.0) / (count_ - 2));
  }

 private:
  double count_ = 0;
  double x_ = 0;
  double y_ = 0;
  double xx_ = 0;
  double xy_ = 0;
  double yy_ = 0;
};

}  // namespace rushfs::transport

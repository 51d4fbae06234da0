#include "tools/progress.h"

#include <catch2/catch.hpp>

namespace rushfs::tools {

using namespace transport;

TEST_CASE("the bar shows share, amounts, rate and what is left") {
  const std::string line = progress_line(1024_MiB, 2048_MiB, 400_Mbps, 100);
  CHECK(line == "[####################....................]  50 %  1.0 GiB of 2.0 GiB  "
                "400 Mbit/s  21.5 s left");
}

TEST_CASE("the bar keeps to the terminal's width") {
  for (std::size_t width = 0; width < 120; ++width) {
    CHECK(progress_line(1_MiB, 3_MiB, 10_Mbps, width).size() <= width);
  }
}

TEST_CASE("nothing to send is all sent, and more than all is all") {
  CHECK_THAT(progress_line(0_B, 0_B, {0}, 80), Catch::Contains("100 %"));
  CHECK_THAT(progress_line(5_B, 3_B, {0}, 80), Catch::Contains("100 %  3 B of 3 B"));
}

}  // namespace rushfs::tools

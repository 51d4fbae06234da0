#include "cache/overlay.h"

#include <catch2/catch.hpp>
#include <string>

namespace rushfs::cache {
namespace {

// "b0-10 d10-20#1 z20-30": base, data of operation 1, zeros.
std::string describe(const std::vector<Overlay::Part>& parts) {
  std::string text;
  for (const Overlay::Part& part : parts) {
    if (!text.empty()) text += ' ';
    text += part.kind == Piece::Kind::base ? 'b' : part.kind == Piece::Kind::zero ? 'z' : 'd';
    text += std::to_string(part.offset_bytes) + "-" +
            std::to_string(part.offset_bytes + part.length_bytes);
    if (part.kind == Piece::Kind::data) text += "#" + std::to_string(part.sequence);
  }
  return text;
}

}  // namespace

TEST_CASE("without queued operations the server's file shows through") {
  const Overlay overlay;
  CHECK(describe(overlay.parts(5, 10)) == "b5-15");
  CHECK(overlay.size_effect().apply(77) == 77);
}

TEST_CASE("the newest write of a byte is what is read") {
  Overlay overlay;
  overlay.write(1, 10, 30);
  overlay.write(2, 20, 5);
  CHECK(describe(overlay.parts(0, 50)) == "b0-10 d10-20#1 d20-25#2 d25-40#1 b40-50");
  overlay.write(3, 0, 22);
  CHECK(describe(overlay.parts(0, 50)) == "d0-22#3 d22-25#2 d25-40#1 b40-50");
  CHECK(describe(overlay.parts(23, 4)) == "d23-25#2 d25-27#1");
}

TEST_CASE("a queued truncation hides the rest of the server's file, also after growing again") {
  Overlay overlay;
  overlay.write(1, 10, 30);
  overlay.set_size(2, 20);
  CHECK(overlay.size_effect().apply(1000) == 20);
  overlay.write(3, 50, 10);
  CHECK(overlay.size_effect().apply(1000) == 60);
  CHECK(describe(overlay.parts(0, 60)) == "b0-10 d10-20#1 z20-50 d50-60#3");
  SECTION("until it has reached the server") {
    overlay.complete_write(1, 10, 30);
    CHECK(describe(overlay.parts(0, 60)) == "b0-20 z20-50 d50-60#3");
    overlay.complete_set_size(2);
    CHECK(describe(overlay.parts(0, 60)) == "b0-50 d50-60#3");
    CHECK(overlay.size_effect().apply(20) == 60);
    overlay.complete_write(3, 50, 10);
    CHECK(overlay.size_effect().apply(60) == 60);
  }
}

TEST_CASE("a hole that was punched reads as zeros until it is on the server, and keeps the size") {
  Overlay overlay;
  overlay.write(1, 10, 30);
  overlay.zero(2, 20, 60);
  CHECK(describe(overlay.parts(0, 80)) == "b0-10 d10-20#1 z20-60 b60-80");
  CHECK(overlay.size_effect().apply(0) == 40);
  overlay.write(3, 50, 5);
  CHECK(describe(overlay.parts(15, 65)) == "d15-20#1 z20-50 d50-55#3 z55-60 b60-80");
  overlay.complete_write(1, 10, 30);
  overlay.complete_zero(2, 20, 60);
  CHECK(describe(overlay.parts(0, 80)) == "b0-50 d50-55#3 b55-80");
}

TEST_CASE("a file that was allocated is at least so long, and shows what the server has") {
  Overlay overlay;
  overlay.extend(1, 100);
  CHECK(overlay.size_effect().apply(40) == 100);
  CHECK(overlay.size_effect().apply(400) == 400);
  CHECK(describe(overlay.parts(0, 100)) == "b0-100");
  overlay.set_size(2, 10);
  overlay.extend(3, 20);
  CHECK(overlay.size_effect().apply(400) == 20);
  overlay.complete_extend(1);
  overlay.complete_set_size(2);
  overlay.complete_extend(3);
  CHECK(overlay.size_effect().apply(20) == 20);
}

TEST_CASE("of several truncations the smallest decides what shows through, the last the size") {
  Overlay overlay;
  overlay.set_size(1, 100);
  overlay.set_size(2, 50);
  overlay.set_size(3, 200);
  CHECK(describe(overlay.parts(0, 200)) == "b0-50 z50-200");
  CHECK(overlay.size_effect().apply(5000) == 200);
  overlay.complete_set_size(1);
  CHECK(describe(overlay.parts(0, 200)) == "b0-50 z50-200");
  overlay.complete_set_size(2);
  CHECK(describe(overlay.parts(0, 300)) == "b0-200 z200-300");
  overlay.complete_set_size(3);
  CHECK(describe(overlay.parts(0, 300)) == "b0-300");
}

TEST_CASE("completing an overwritten write leaves the newer one in place") {
  Overlay overlay;
  overlay.write(1, 0, 100);
  overlay.write(2, 40, 20);
  overlay.complete_write(1, 0, 100);
  CHECK(describe(overlay.parts(0, 100)) == "b0-40 d40-60#2 b60-100");
  CHECK(overlay.size_effect().write_end_bytes == 60);
}

}  // namespace rushfs::cache

#include "fs/client/listing.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>

using namespace rushfs::fs;

namespace {

Entry file(const std::string& id, std::uint64_t size = 0) {
  Entry entry;
  entry.node = NodeId{id};
  entry.attributes.mode = S_IFREG | 0644;
  entry.attributes.size = size;
  return entry;
}

std::string name(int number) { return "link " + std::to_string(number); }

/// How long each of so many names of one file takes to come and go, oldest first.
std::chrono::duration<double> time_of_a_name(int names) {
  Listing listing;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < names; ++i) listing.put(name(i), file("linked"));
  for (int i = 0; i < names; ++i) listing.erase(name(i));
  return (std::chrono::steady_clock::now() - begin) / names;
}

}  // namespace

TEST_CASE("what is heard of a file is seen under each of its names, and no other") {
  Listing listing;
  listing.put("one", file("linked"));
  listing.put("two", file("linked"));
  listing.put("three", file("linked"));
  listing.put("other", file("alone"));
  listing.erase("two");
  listing.put("three", file("alone"));  // renamed over it
  listing.heard(NodeId{"linked"}, file("linked", 7).attributes);
  CHECK(listing.find("one")->entry->attributes.size == 7);
  CHECK(listing.find("two") == nullptr);
  CHECK(listing.find("three")->entry->attributes.size == 0);
  CHECK(listing.find("other")->entry->attributes.size == 0);
}

TEST_CASE("a name costs the same however many the file has", "[cost]") {
  time_of_a_name(1000);
  CHECK(time_of_a_name(50'000) < 20 * time_of_a_name(1000));
}

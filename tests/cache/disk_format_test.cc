// docs/disk-format.md says what is on the disk: its example is compared with what is.
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "cache/queue_log.h"
#include "cache/write_queue.h"
#include "tests/temporary_folder.h"

#ifndef RUSHFS_DOCS
#error "RUSHFS_DOCS names the folder docs/"
#endif

namespace rushfs::cache {
using testing::TemporaryFolder;
namespace {

std::string text_of(std::span<const std::uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

std::string signed_text(std::uint64_t value) {
  return std::to_string(static_cast<std::int64_t>(value));
}

// The rows as SQLite's shell prints them.
std::string rows_of(const std::filesystem::path& folder) {
  QueueLog log(folder / "queue.db");
  std::string rows;
  const auto node = [&](const NodeRow& row) {
    rows += "    node:       " + std::to_string(row.id) + "|" + std::string(row.node) + "|" +
            std::string(row.name) + "|" + std::string(row.base) + "\n";
  };
  const auto operation = [&](const OperationRow& row) {
    rows += "    operation:  ";
    for (const std::uint64_t value : {row.sequence, row.node, row.kind, row.offset_bytes}) {
      rows += std::to_string(value) + "|";
    }
    rows += (row.size_bytes ? std::to_string(*row.size_bytes) : "") + "|";
    for (const std::uint64_t value :
         {row.place.file, row.place.position_bytes, row.place.length_bytes}) {
      rows += std::to_string(value) + "|";
    }
    rows += text_of(row.payload) == "\x01\x02" ? "X'0102'|" : text_of(row.payload) + "|";
    rows += signed_text(row.bytes_checksum) + "|" + std::to_string(row.appended_us) + "|" +
            signed_text(row.row_checksum) + "|" + std::to_string(row.error) + "|" +
            std::string(row.message) + "\n";
  };
  REQUIRE(log.load(node, operation));
  rows += "    queue:      16 bytes|" + std::to_string(log.header().reserved_sequence) + "|" +
          std::to_string(log.header().totals.operations) + "|" +
          signed_text(log.header().totals.checksums) + "|…\n";
  return rows;
}

}  // namespace

TEST_CASE("the example in docs/disk-format.md is what is on the disk") {
  const TemporaryFolder folder;
  {
    WriteQueue queue({folder.path(), 1 << 20});
    const Origin origin{"clip", "/a.mov",
                        std::chrono::system_clock::time_point(std::chrono::hours(12)), "was"};
    const std::string hello = "hello";
    REQUIRE(queue.append_write(origin, 3, Buffer(hello.begin(), hello.end())));
    REQUIRE(queue.append_attributes(origin, Buffer{1, 2}, 6));
    REQUIRE(queue.commit());
  }
  std::ifstream data(folder.path() / "data" / "000000000001.data");
  CHECK(std::string(std::istreambuf_iterator<char>(data), {}) == "hello");
  std::ifstream document(std::string(RUSHFS_DOCS) + "/disk-format.md");
  const std::string text(std::istreambuf_iterator<char>(document), {});
  CHECK_THAT(text, Catch::Contains(rows_of(folder.path())));
}

}  // namespace rushfs::cache

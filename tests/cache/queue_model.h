// A plain model of one file behind a write queue: what its user sees and what the server has.
#pragma once

#include <catch2/catch.hpp>
#include <deque>
#include <random>

#include "cache/write_queue.h"
#include "tests/cache/bytes.h"

namespace rushfs::cache {

class QueueModel {
 public:
  explicit QueueModel(std::string node) : node_(std::move(node)) {}

  void write(WriteQueue& queue, std::uint64_t offset, const Buffer& bytes) {
    const auto sequence = queue.append_write(origin(), offset, bytes);
    REQUIRE(sequence);
    queued_.push_back({*sequence, offset, bytes, {}});
    apply(queued_.back(), seen_);
  }

  void set_size(WriteQueue& queue, std::uint64_t size) {
    const auto sequence = queue.append_attributes(origin(), Buffer{1, 2, 3}, size);
    REQUIRE(sequence);
    queued_.push_back({*sequence, 0, {}, size});
    apply(queued_.back(), seen_);
  }

  // The oldest `count` operations reach the server, as the queue gives them out.
  void send(WriteQueue& queue, std::size_t count) {
    std::vector<std::uint64_t> done;
    for (; count > 0 && !queued_.empty(); --count) {
      const Change& change = queued_.front();
      const auto loaded = queue.load(std::vector<std::uint64_t>{change.sequence});
      REQUIRE(loaded.size() == 1);
      REQUIRE(loaded[0].offset_bytes == change.offset);
      REQUIRE(loaded[0].size_bytes == change.size);
      if (!change.size) REQUIRE(loaded[0].data == change.bytes);
      REQUIRE(loaded[0].after.has_value() == !done.empty());
      apply(change, server_);
      done.push_back(change.sequence);
      queued_.pop_front();
    }
    queue.complete(done);
  }

  // What the user reads through the queue is what was written.
  void check(WriteQueue& queue, std::uint64_t offset, std::uint64_t length) const {
    const PendingNode pending = queue.pending(node_);
    REQUIRE(pending.operations == queued_.size());
    REQUIRE(pending.size.apply(server_.size()) == seen_.size());
    offset = std::min<std::uint64_t>(offset, seen_.size());
    length = std::min<std::uint64_t>(length, seen_.size() - offset);
    const auto pieces = queue.read(node_, offset, length);
    REQUIRE(pieces.has_value());
    Buffer read;
    for (const Piece& piece : *pieces) {
      REQUIRE(piece.offset_bytes == offset + read.size());
      const std::size_t end = read.size() + piece.length_bytes;
      if (piece.kind == Piece::Kind::data) {
        read.insert(read.end(), piece.data.begin(), piece.data.end());
      } else if (piece.kind == Piece::Kind::base && piece.offset_bytes < server_.size()) {
        const auto from = server_.begin() + static_cast<std::ptrdiff_t>(piece.offset_bytes);
        const auto there =
            std::min<std::uint64_t>(piece.length_bytes, server_.size() - piece.offset_bytes);
        read.insert(read.end(), from, from + static_cast<std::ptrdiff_t>(there));
      }
      if (piece.kind == Piece::Kind::data) REQUIRE(read.size() == end);
      read.resize(end, 0);
    }
    const auto from = seen_.begin() + static_cast<std::ptrdiff_t>(offset);
    REQUIRE(read == Buffer(from, from + static_cast<std::ptrdiff_t>(length)));
  }

  std::size_t queued() const { return queued_.size(); }
  std::size_t size() const { return seen_.size(); }

 private:
  struct Change {
    std::uint64_t sequence;
    std::uint64_t offset;
    Buffer bytes;
    std::optional<std::uint64_t> size;
  };

  Origin origin() const { return {node_, node_, {}}; }

  static void apply(const Change& change, Buffer& file) {
    if (change.size) return file.resize(*change.size, 0);
    const std::uint64_t end = change.offset + change.bytes.size();
    if (file.size() < end) file.resize(end, 0);
    std::copy(change.bytes.begin(), change.bytes.end(),
              file.begin() + static_cast<std::ptrdiff_t>(change.offset));
  }

  std::string node_;
  Buffer seen_;    // by the user
  Buffer server_;  // on stable storage there
  std::deque<Change> queued_;
};

}  // namespace rushfs::cache

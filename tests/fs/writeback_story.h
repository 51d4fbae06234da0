// A Writeback with a real queue, and a server that is played by hand.
#pragma once

#include <catch2/catch.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "direct_loop.h"
#include "fake_remote.h"
#include "fs/client/writeback.h"
#include "tests/temporary_folder.h"

namespace rushfs::fs::test {

struct WritebackStory : WritebackListener {
  WritebackStory() {
    remote.heard = time.now = transport::TimePoint{} + std::chrono::hours(1);
    start();
  }

  /// An orderly end, and a start with what the queue has by then.
  void restart(const std::function<void()>& between = [] {}) {
    remote.calls.clear();
    writeback.reset();
    queue.reset();
    in_flight = 0;
    between();
    start();
  }

  /// By somebody who takes his time.
  void append(const std::string& node, std::uint64_t offset, const std::string& bytes) {
    time.now += std::chrono::milliseconds(2);
    append_at_once(node, offset, bytes);
  }
  void append_at_once(const std::string& node, std::uint64_t offset, const std::string& bytes) {
    const auto sequence =
        queue->append_write({node, "/" + node, {}}, offset,
                           std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                     bytes.size()));
    REQUIRE(sequence);
    writeback->appending({node});
    writeback->appended({node}, "/" + node, *sequence, bytes.size());
    last = *sequence;
  }
  /// With O_APPEND, where we believe the end to be.
  void append_record(const std::string& node, std::uint64_t expected, const std::string& bytes) {
    const std::span data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    const auto sequence = queue->append_write({node, "/" + node, {}}, expected, data,
                                             cache::OperationKind::append);
    REQUIRE(sequence);
    writeback->appending({node});
    writeback->appended({node}, "/" + node, *sequence, bytes.size());
  }
  void answer_append(std::uint64_t offset, std::uint64_t size) {
    AppendReply reply;
    reply.change.before = {version};
    reply.change.after.version = {++version};
    reply.change.after.size = size;
    reply.offset = offset;
    remote.answer<Append>(reply);
  }
  void open(const std::string& node) { writeback->opened({node}); }
  Priority answer_write(int error = 0) {
    if (error != 0) return remote.answer<Write>(errno_code(error));
    WriteReply reply;
    reply.change.before = {version};
    reply.change.after.version = {++version};
    return remote.answer<Write>(reply);
  }
  void answer_commit() {
    CommitReply reply;
    reply.through = remote.waiting<Commit>().front().through;
    remote.answer<Commit>(reply);
  }
  void pass(transport::Duration duration) {
    time.now += duration;
    writeback->tick(true);
  }
  std::vector<std::uint64_t> offsets() const {
    std::vector<std::uint64_t> found;
    for (const auto& write : remote.waiting<Write>()) found.push_back(write.offset);
    return found;
  }

  void sending(const NodeId&) override { ++in_flight; }
  void not_sending(const NodeId&) override { --in_flight; }
  void applied(const NodeId&, const AppliedOperation& operation) override {
    applied_offsets.push_back(operation.offset);
  }
  void completed(const NodeId&, std::uint64_t operations) override { done += operations; }
  void discarded(const NodeId&) override { ++given_up; }
  void missing(const NodeId& node) override { missed.push_back(node); }
  void lost(const NodeId&) override {}
  std::uint64_t made_there(const NodeId&) override { return 0; }
  void kept_there(const NodeId&, std::uint64_t) override {}

  rushfs::testing::TemporaryFolder folder;
  LoopTime time;
  FakeRemote remote;
  DirectLoop home, loop;
  DiskLoop disk{loop, home};
  cache::BlockCache blocks{{folder / "blocks", 1 << 20}};
  std::optional<cache::WriteQueue> queue;
  std::optional<Writeback> writeback;
  std::uint64_t version = 1, last = 0, done = 0;
  int in_flight = 0, given_up = 0;
  std::vector<std::uint64_t> applied_offsets;
  std::vector<NodeId> missed;

 private:
  void start() {
    queue.emplace(cache::WriteQueue::Options{folder / "queue", 1 << 30});
    const ClientParts parts{remote, disk, blocks, disk, *queue, time};
    writeback.emplace(parts, *this, std::chrono::seconds(60));
    writeback->restore(queue->nodes(), queue->parked());
    writeback->attached(1 << 20, false);
  }
};

inline constexpr int kWaiting = -1;

inline Reply<void> note(int& error) {
  return [&error](Result<void> result) { error = result ? 0 : result.error().value(); };
}

}  // namespace rushfs::fs::test

// What the server tells unasked: that something a client was told is no longer so
// (docs/file-protocol.md, "Notices").
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/protocol/message_types.h"
#include "fs/protocol/spans.h"

namespace rushfs::fs {

/// Bits of Attach::features.
enum Feature : std::uint64_t {
  kNotices = 1,      // changes by other clients are told
  kDiskNotices = 2   // and those that programs make on the server's own disk
};

/// A node in a notice: XXH3-64 of its id. A client knows those it was given; of others it learns
/// nothing that it could ask with.
struct NodeTag {
  std::uint64_t value = 0;
  auto operator<=>(const NodeTag&) const = default;
};
NodeTag tag_of(const NodeId& node);

/// A change of a file that leaves all but some of its bytes as they were.
struct ContentChange {
  Spans parts;
  Attributes after;
  Moment when;
  bool operator==(const ContentChange&) const = default;
};

struct NoticedChange {
  NodeTag node;      // its content, attributes, or one of its names
  std::string name;  // not empty: `node` is a directory, and this name in it
  std::optional<ContentChange> content = std::nullopt;  // nothing else has changed of the file
  bool operator==(const NoticedChange&) const = default;
};

inline constexpr std::size_t kMaxNoticed = 4096;  // changes in one notice: some 100 KB
inline constexpr std::size_t kMaxWaitingChanges = 65536;  // to be told to one client: some 8 MiB
/// Notices on their way to one client: with one each kBetweenNotices, 640 ms of them.
inline constexpr std::size_t kMaxUnanswered = 32;
/// While others are on their way, the next one gathers what changes in this time. Soon enough to be
/// seen within 50 ms, and no more than 50 a second or one per round trip, however busy a file is.
inline constexpr std::chrono::milliseconds kBetweenNotices{20};
/// Notices that can be on their way to one client or waiting.
inline constexpr std::uint64_t kMaxWaitingNotices = 64;
static_assert(kMaxWaitingChanges / kMaxNoticed + 2 + kMaxUnanswered < kMaxWaitingNotices);

struct Notice {
  std::uint64_t number = 1;  // of those on one connection, from 1: they are taken in this order
  bool everything = false;  // too much to tell: nothing that was told before is promised any more
  std::vector<NoticedChange> changes;
};

Buffer encode(const Notice& notice);
/// It says that it is one.
bool is_notice(std::span<const std::uint8_t> message);
/// None: not a notice, or malformed.
std::optional<Notice> decode_notice(std::span<const std::uint8_t> message);

}  // namespace rushfs::fs

template <>
struct std::hash<rushfs::fs::NodeTag> {
  std::size_t operator()(rushfs::fs::NodeTag tag) const { return tag.value; }
};

// The nouns of the file protocol: node ids, attributes, versions, positions. docs/file-protocol.md.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>

#include "transport/message.h"

namespace rushfs::fs {

using transport::Buffer;

/// Names a file for as long as it exists, whatever it is called: opaque, made by the server.
inline constexpr std::size_t kMaxNodeId = 160;  // bytes; a file handle of 128, file system id, MAC
struct NodeId {
  std::string bytes;
  auto operator<=>(const NodeId&) const = default;
};

inline constexpr std::size_t kMaxName = 255;      // bytes; NAME_MAX of Linux
inline constexpr std::size_t kMaxPath = 4095;     // bytes; PATH_MAX without NUL: symlinks, subpath
inline constexpr std::size_t kMaxExportName = 255;
inline constexpr std::size_t kMaxHostname = 255;
/// Most data bytes in one message: kMaxMessage less ample room for everything beside the data.
inline constexpr std::uint32_t kMaxTransfer = (4u << 20) - (16u << 10);
/// Least that a server may offer: a reader's page.
inline constexpr std::uint32_t kMinTransfer = 4096;
/// No file is longer (off_t).
inline constexpr std::uint64_t kMaxOffset = (std::uint64_t{1} << 63) - 1;
/// What a server offers in AttachReply unless told otherwise: FUSE's largest request.
inline constexpr std::uint32_t kDefaultTransfer = 1u << 20;
/// How long a server keeps a held file without a name after its client was last seen.
inline constexpr std::chrono::minutes kHoldLease{10};

struct ClientId {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const ClientId&) const = default;
};
struct InstanceId {
  std::uint64_t value = 0;
  auto operator<=>(const InstanceId&) const = default;
};

/// Token of a file's content and attributes: differs whenever they do; no order.
struct Version {
  std::uint64_t value = 0;
  bool operator==(const Version&) const = default;
};

/// Since 1970, as struct timespec.
struct Timestamp {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;  // below 1,000,000,000
  auto operator<=>(const Timestamp&) const = default;
};

/// What of a file's extended attributes and flags matters without asking for them: bits of
/// Attributes::traits.
enum Trait : std::uint32_t {
  kHasXattrs = 1,       // there are some
  kHasAcl = 2,          // system.posix_acl_access is one of them
  kHasDefaultAcl = 4,   // system.posix_acl_default
  kHasCapability = 8,   // security.capability
  kNoXattrSupport = 16,  // the file system has none at all
  kImmutable = 32,       // FS_IMMUTABLE_FL: nobody may change it
  kAppendOnly = 64,      // FS_APPEND_FL: only appends and new names
  kUnwatched = 128       // what programs on the server do to it, no notice tells
};

struct Attributes {
  Version version;
  std::uint64_t inode = 0;  // unique in the export, also across mounts inside it
  std::uint32_t mode = 0;   // type and permissions, as st_mode
  std::uint32_t links = 0;
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t device_major = 0, device_minor = 0;  // of a device node
  std::uint64_t size = 0;
  std::uint64_t blocks = 0;        // of 512 bytes
  std::uint32_t block_size = 0;    // preferred for I/O
  Timestamp atime, mtime, ctime, btime;  // btime all 0: unknown
  std::uint32_t traits = 0;              // of Trait
  bool operator==(const Attributes&) const = default;
};

struct Entry {
  NodeId node;
  Attributes attributes;
  bool operator==(const Entry&) const = default;
};

/// Counts the changes that the server made or was told of since its start, from 1: of two states of
/// a file, which one is the later. 0: none.
struct Moment {
  std::uint64_t count = 0;
  auto operator<=>(const Moment&) const = default;
};

/// What a change did: `before` is the version it started from. If it is not the one the client
/// knew, somebody else changed the file in between.
struct Change {
  Version before;
  Attributes after;
  bool operator==(const Change&) const = default;
};

// Replies that several requests have.
struct EmptyReply {};
struct ChangeReply {
  Change change;
};
/// A new name, what it names, and the directory it is in.
struct EntryReply {
  Entry entry;
  bool existed = false;  // Create without `exclusive` found the file; it was truncated if asked
  Change directory;
};

/// Who creates, as the kernel told the client.
struct Caller {
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t umask = 0;
  bool operator==(const Caller&) const = default;
};

/// Makes a call happen once: a call repeated with its number, after a reconnection or a restart of
/// the server, gets the first one's answer. Unique in one incarnation of one client, from 1.
struct CallNumber {
  std::uint64_t number = 0;
  std::uint64_t lowest_unanswered = 0;  // of the client's calls; the server forgets those below
  bool operator==(const CallNumber&) const = default;
};

/// Place of an operation in the client's queue. Numbers grow along the queue and are never reused,
/// also not over restarts of the client. The server applies a node's operations in this order.
struct QueuePosition {
  std::uint64_t sequence = 0;  // from 1
  std::uint64_t after = 0;     // number of the operation before it on the same node; 0: none
  std::uint64_t floor = 0;     // what is not above needs no waiting for: committed or given up
  bool operator==(const QueuePosition&) const = default;
};

struct TimeChange {
  bool now = false;  // the server's clock (UTIME_NOW); otherwise `time`
  Timestamp time;
  bool operator==(const TimeChange&) const = default;
};

}  // namespace rushfs::fs

template <>
struct std::hash<rushfs::fs::NodeId> {
  std::size_t operator()(const rushfs::fs::NodeId& node) const noexcept {
    return std::hash<std::string>{}(node.bytes);
  }
};

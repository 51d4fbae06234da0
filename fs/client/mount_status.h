// What `rushfs status` shows of a mount, as one value: taken on the file loop, never partial.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "transport/endpoint.h"
#include "transport/path_report.h"
#include "transport/udp/udp_report.h"

namespace rushfs::fs {

enum class LinkState : std::uint8_t {
  connecting,  // never connected yet, or lost and being tried again
  connected,
  refused,     // connected, but a person must act: unknown key, other server key, no such export
};

struct LinkStatus {
  LinkState state = LinkState::connecting;
  std::string reason;                     // of the last failure, a sentence; empty when connected
  std::chrono::seconds since{0};          // in this state
  std::chrono::milliseconds next_attempt{0};  // when connecting or refused
  std::uint64_t reconnections = 0;
  std::uint64_t calls_waiting = 0;        // unanswered requests
};

/// An operation the server refused for a reason that will not pass by itself. Nothing of it is
/// lost; it waits for a person (retry_now, discard_parked).
struct ParkedOperation {
  std::uint64_t operation = 0;
  std::string file;    // last known name
  std::string what;    // "the server refused it: Permission denied"
  int error = 0;       // errno
};

/// Changes that were queued while somebody else changed the file: they are in a file of their own.
struct ConflictCopy {
  std::string file;  // as somebody else left it
  std::string copy;  // ours
  std::uint64_t missing_bytes = 0;  // of ours, left alone by us and nowhere to be had: zeros
};

struct QueueStatus {
  std::uint64_t operations = 0;           // accepted, not yet on the server's stable storage
  std::uint64_t bytes = 0;                // of data in them
  std::uint64_t bytes_sent = 0;           // of those, answered by the server but not yet committed
  std::uint64_t bytes_total = 0;          // taken in since the mount started: for progress bars
  std::uint64_t bytes_done = 0;           // of those, on stable storage
  std::uint64_t files = 0;                // with something waiting
  int retry_error = 0;                    // errno the server keeps answering (ENOSPC ...), or 0
  std::vector<ParkedOperation> parked;
  std::vector<ConflictCopy> conflicts;    // since the mount started
};

struct CacheStatus {
  std::uint64_t bytes = 0;
  std::uint64_t budget = 0;
  std::uint64_t hits = 0;                 // bytes answered from disk or memory
  std::uint64_t misses = 0;               // bytes that had to come over the link
  int error = 0;                          // errno of a cache disk that failed; reads go on without
};

struct MountStatus {
  std::string server;                     // as the user wrote it
  std::string export_name;
  std::string mount_point;
  LinkStatus link;
  QueueStatus queue;
  CacheStatus cache;
  std::optional<transport::PathReport> path;  // none while not connected
  transport::UdpReport udp;
  std::uint64_t round_trips = 0;          // calls since the start that a program waited for
  std::uint64_t notices = 0;              // what the server told unasked since the start
  std::uint64_t noticed_changes = 0;      // of files and names, in them
  std::uint64_t bytes_read = 0;           // by programs
  std::uint64_t bytes_written = 0;
  std::uint64_t open_files = 0;
};

}  // namespace rushfs::fs

// How the server makes node ids and knows its own again: docs/file-protocol.md, "Node ids". A
// client can only present ids it was given, because each ends in a message authentication code.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fs/protocol/message_types.h"

struct evp_mac_ctx_st;

namespace rushfs::fs {

/// What a node id means to a directory store.
struct NodeIdentity {
  std::uint64_t file_system = 0;
  bool by_handle = false;        // else by inode number and birth time
  std::int32_t handle_type = 0;  // struct file_handle of name_to_handle_at(2)
  std::string handle;            // at most 128 bytes (MAX_HANDLE_SZ)
  std::uint64_t inode = 0;
  Timestamp birth;
};

/// Immutable; any thread may use it.
class NodeIdCodec {
 public:
  using Key = std::array<std::uint8_t, 16>;
  /// Throws std::runtime_error if OpenSSL has no SipHash.
  explicit NodeIdCodec(const Key& key);

  NodeId seal(const NodeIdentity& identity) const;
  /// None: not an id that was sealed with this key.
  std::optional<NodeIdentity> open(const NodeId& node) const;

 private:
  struct Free {
    void operator()(evp_mac_ctx_st* context) const;
  };
  using Tag = std::array<std::uint8_t, 8>;
  Tag tag(const char* bytes, std::size_t count) const;

  std::unique_ptr<evp_mac_ctx_st, Free> keyed_;  // duplicated for each use
};

}  // namespace rushfs::fs

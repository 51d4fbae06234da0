// A Reader with a file to read, a block cache, a queue, and a server played by hand.
#pragma once

#include "fs/client/reader.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "parts_by_hand.h"

namespace rushfs::fs::test {

inline constexpr std::uint64_t kBlock = cache::kBlockBytes;

struct ReaderStory : PartsByHand {
  explicit ReaderStory(std::uint64_t size) : inode(std::make_shared<Inode>()) {
    time.now = transport::TimePoint{} + std::chrono::hours(1);
    inode->number = {7};
    inode->node = {"clip"};
    inode->server.mode = S_IFREG | 0644;
    inode->server.size = size;
    inode->server.version = {1};
    inode->content.disk_known = true;
    reader.attached(1 << 20);
  }
  ~ReaderStory() { reader.forget(*inode); }

  /// Byte i of the server's file.
  static std::uint8_t byte(std::uint64_t i) { return static_cast<std::uint8_t>(i * 7 + i / 1000); }

  void read(std::uint64_t offset, std::uint64_t length) {
    text.reset();
    error = 0;
    reader.read(inode, stream, offset, length, [this](Result<Slices> slices) {
      if (!slices) {
        error = slices.error().value();
        return;
      }
      text.emplace();
      for (const auto& slice : *slices) text->append(slice.bytes.begin(), slice.bytes.end());
    });
  }
  Heard judge(Inode& file, const ReadReply& reply, std::uint64_t asked_epoch) {
    const Heard heard = hear(file, reply.attributes, asked_epoch, time);
    if (heard == Heard::changed) {
      reader.discard(file);
      ++kernel_told;
    }
    return heard;
  }
  /// Answers the first waiting Read as the server would; returns what it asked for.
  Read answer() {
    const Read request = remote.waiting<Read>().front();
    const auto size = inode->server.size;
    const auto end = std::min(request.offset + request.length, size);
    const auto begin = std::clamp(hole_to, request.offset, end);
    Buffer bytes;
    for (auto i = begin; i < end; ++i) bytes.push_back(byte(i));
    ReadReply reply;
    reply.attributes = inode->server;
    reply.attributes.version = version;
    reply.end = end == size;
    reply.data = bytes;
    (bytes.empty() ? reply.zeros_after : reply.zeros_before) = begin - request.offset;
    if (bytes.empty() && hole_to > end) reply.zeros_after = hole_to - request.offset;
    received += bytes.size();
    remote.answer<Read>(reply);
    return request;
  }
  void answer_all() {
    while (!remote.waiting<Read>().empty()) answer();
  }
  std::string expected(std::uint64_t offset, std::uint64_t length) const {
    std::string bytes;
    for (auto i = offset; i < std::min(offset + length, inode->size()); ++i) {
      bytes.push_back(i < hole_to ? '\0' : static_cast<char>(byte(i)));
    }
    return bytes;
  }

  int kernel_told = 0;
  Reader reader{parts, [this](Inode& file, const ReadReply& reply, std::uint64_t asked_epoch) {
                  return judge(file, reply, asked_epoch);
                }};
  InodeRef inode;
  std::shared_ptr<ReadStream> stream = std::make_shared<ReadStream>();
  Version version{1};
  std::uint64_t hole_to = 0;   // the file has a hole from its beginning to here
  std::uint64_t received = 0;  // bytes of data in the server's replies
  std::optional<std::string> text;
  int error = 0;
};

}  // namespace rushfs::fs::test

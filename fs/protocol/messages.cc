#include "fs/protocol/messages.h"

#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "fs/protocol/extended_fields.h"
#include "fs/protocol/lock_fields.h"

namespace rushfs::fs {
namespace {

constexpr int kLargestErrno = 4095;  // MAX_ERRNO of Linux

// Every request, once: its number and its name for people. SHARED: one that is OWN has its reply.
// Numbers on the wire never change their meaning. From 128 on they are what a server says unasked.
#define RUSHFS_REQUESTS(OWN, SHARED)   \
  OWN(Attach, 1, "attach")             \
  OWN(Detach, 2, "detach")             \
  OWN(Lookup, 3, "lookup")             \
  OWN(GetAttributes, 4, "getattr")     \
  OWN(Readlink, 5, "readlink")         \
  OWN(ReadDirectory, 6, "readdir")     \
  OWN(StatFs, 7, "statfs")             \
  OWN(Open, 8, "open")                 \
  SHARED(Release, 9, "release")        \
  OWN(Read, 10, "read")                \
  OWN(Write, 11, "write")              \
  OWN(Commit, 12, "commit")            \
  OWN(SetAttributes, 13, "setattr")    \
  OWN(Create, 14, "create")            \
  SHARED(MakeDirectory, 15, "mkdir")   \
  SHARED(MakeNode, 16, "mknod")        \
  SHARED(Symlink, 17, "symlink")       \
  SHARED(Link, 18, "link")             \
  OWN(Unlink, 19, "unlink")            \
  SHARED(RemoveDirectory, 20, "rmdir") \
  OWN(Rename, 21, "rename")            \
  OWN(Measure, 22, "measure")          \
  OWN(ListXattrs, 32, "listxattrs")    \
  OWN(GetXattr, 33, "getxattr")        \
  SHARED(SetXattr, 34, "setxattr")     \
  SHARED(Allocate, 35, "allocate")     \
  OWN(DataRanges, 36, "dataranges")    \
  OWN(CopyRange, 37, "copyrange")      \
  OWN(Append, 38, "append")            \
  SHARED(CreateUnnamed, 39, "tmpfile") \
  OWN(FileFlags, 40, "fileflags")      \
  SHARED(Touch, 41, "touch")           \
  OWN(Lock, 44, "lock")                \
  OWN(TestLock, 45, "testlock")        \
  SHARED(CancelLock, 46, "cancellock")

template <class R>
constexpr std::uint8_t kOperation = 0;
#define RUSHFS_NUMBER(R, number, name) \
  template <>                          \
  constexpr std::uint8_t kOperation<R> = number;
RUSHFS_REQUESTS(RUSHFS_NUMBER, RUSHFS_NUMBER)
#undef RUSHFS_NUMBER
constexpr std::uint8_t kNotice = 128;

template <class R>
std::variant<Request, DecodeError> decode_as(std::span<const std::uint8_t> body) {
  R request;
  wire::Reader reader(body);
  wire::fields(reader, request);
  if (!reader.finished()) return DecodeError::malformed;
  return Request(std::move(request));
}

/// Data-carrying requests reserve once; the others are small.
template <class R>
std::size_t expected_size(const R& request) {
  constexpr std::size_t kSmallMessage = 256;
  if constexpr (requires { request.data; }) return request.data.size() + kSmallMessage;
  return kSmallMessage;
}

}  // namespace

template <class R>
Buffer encode(const R& request) {
  static_assert(kOperation<R> != 0);
  Buffer out;
  out.reserve(expected_size(request));
  out.push_back(kOperation<R>);
  wire::Writer writer(out);
  wire::fields(writer, request);
  return out;
}

std::variant<Request, DecodeError> decode_request(std::span<const std::uint8_t> message) {
  if (message.empty()) return DecodeError::malformed;
  std::variant<Request, DecodeError> outcome = DecodeError::unknown_operation;
  const auto try_each = [&]<class... R>(std::variant<R...>*) {
    static_cast<void>(
        ((message[0] == kOperation<R> && (outcome = decode_as<R>(message.subspan(1)), true)) ||
         ...));
  };
  try_each(static_cast<Request*>(nullptr));
  return outcome;
}

Buffer with_lowest_unanswered(std::span<const std::uint8_t> request, std::uint64_t lowest) {
  auto decoded = decode_request(request);
  auto* known = std::get_if<Request>(&decoded);
  assert(known && "we encoded it");
  return std::visit(
      [&](auto& each) {
        if constexpr (requires { each.call; }) {
          each.call.lowest_unanswered = lowest;
        } else if constexpr (requires { std::get_if<CallNumber>(&each.order); }) {
          if (auto* call = std::get_if<CallNumber>(&each.order)) call->lowest_unanswered = lowest;
        }
        return encode(each);
      },
      *known);
}

template <class Reply>
Buffer encode_reply(const Reply& reply) {
  Buffer out;
  out.reserve(expected_size(reply));
  out.push_back(0);
  wire::Writer writer(out);
  wire::fields(writer, reply);
  return out;
}

Buffer encode_error(int error) {
  assert(error > 0 && error <= kLargestErrno);
  Buffer out;
  wire::Writer(out).number(static_cast<std::uint32_t>(error));
  return out;
}

template <class Reply>
boost::system::result<Reply> decode_reply(std::span<const std::uint8_t> message) {
  const auto failed = [](int error) {
    return boost::system::error_code(error, boost::system::generic_category());
  };
  wire::Reader reader(message);
  std::uint32_t error = 0;
  reader.number(error, kLargestErrno);
  if (!reader.ok()) return failed(EBADMSG);
  if (error != 0) return failed(reader.finished() ? static_cast<int>(error) : EBADMSG);
  Reply reply;
  wire::fields(reader, reply);
  if (!reader.finished()) return failed(EBADMSG);
  return reply;
}

NodeTag tag_of(const NodeId& node) {
  return {XXH3_64bits(node.bytes.data(), node.bytes.size())};
}

Buffer encode(const Notice& notice) {
  Buffer out{kNotice};
  wire::Writer writer(out);
  wire::fields(writer, notice);
  return out;
}

bool is_notice(std::span<const std::uint8_t> message) {
  return !message.empty() && message[0] == kNotice;
}

std::optional<Notice> decode_notice(std::span<const std::uint8_t> message) {
  if (!is_notice(message)) return std::nullopt;
  Notice notice;
  wire::Reader reader(message.subspan(1));
  wire::fields(reader, notice);
  if (!reader.finished() || notice.changes.size() > kMaxNoticed) return std::nullopt;
  return notice;
}

const char* operation_name(std::span<const std::uint8_t> message) {
  switch (message.empty() ? 0 : message[0]) {
#define RUSHFS_NAME(R, number, name) \
  case number:                       \
    return name;
    RUSHFS_REQUESTS(RUSHFS_NAME, RUSHFS_NAME)
#undef RUSHFS_NAME
    default:
      return "?";
  }
}

ReadReplyDraft begin_read_reply(std::uint32_t length) {
  ReadReplyDraft draft;
  draft.data_at = 1 + 1 + 4;  // status, end, length
  constexpr std::size_t kMostBehindData = 512;  // with room for it nothing is copied
  draft.bytes.reserve(draft.data_at + length + kMostBehindData);
  draft.bytes.resize(draft.data_at + length);
  return draft;
}

Buffer finish_read_reply(ReadReplyDraft draft, const ReadReply& reply) {
  const std::size_t length = reply.data.size();
  assert(length <= draft.room().size());
  if (length > 0) std::memmove(draft.room().data(), reply.data.data(), length);
  Buffer head;
  head.push_back(0);
  wire::Writer head_writer(head);
  head_writer.flag(reply.end);
  head_writer.fixed32(static_cast<std::uint32_t>(length));
  assert(head.size() == draft.data_at);
  std::copy(head.begin(), head.end(), draft.bytes.begin());
  draft.bytes.resize(draft.data_at + length);
  wire::Writer writer(draft.bytes);
  writer.number(reply.zeros_before);
  writer.number(reply.zeros_after);
  wire::fields(writer, reply.attributes);
  wire::maybe(writer, reply.untold);
  return std::move(draft.bytes);
}

void add_untold(Buffer& reply, const Untold& untold) {
  assert(reply.back() == 0);
  reply.back() = 1;  // there is one
  wire::Writer writer(reply);
  wire::fields(writer, untold);
}

#define RUSHFS_SHARED(R, number, name) template Buffer encode<R>(const R&);
#define RUSHFS_OWN(R, number, name)                        \
  template Buffer encode<R>(const R&);                     \
  template Buffer encode_reply<R::Reply>(const R::Reply&); \
  template boost::system::result<R::Reply> decode_reply<R::Reply>(std::span<const std::uint8_t>);
RUSHFS_REQUESTS(RUSHFS_OWN, RUSHFS_SHARED)
#undef RUSHFS_SHARED
#undef RUSHFS_OWN
#undef RUSHFS_REQUESTS

}  // namespace rushfs::fs

#include "fs/protocol/messages.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "fs/protocol/extended_fields.h"
#include "fs/protocol/lock_fields.h"

namespace rushfs::fs {
namespace {

constexpr int kLargestErrno = 4095;  // MAX_ERRNO of Linux

/// Numbers on the wire never change their meaning. From 128 on they are what a server says unasked.
template <class R>
constexpr std::uint8_t kOperation = 0;
template <>
constexpr std::uint8_t kOperation<Attach> = 1;
template <>
constexpr std::uint8_t kOperation<Detach> = 2;
template <>
constexpr std::uint8_t kOperation<Lookup> = 3;
template <>
constexpr std::uint8_t kOperation<GetAttributes> = 4;
template <>
constexpr std::uint8_t kOperation<Readlink> = 5;
template <>
constexpr std::uint8_t kOperation<ReadDirectory> = 6;
template <>
constexpr std::uint8_t kOperation<StatFs> = 7;
template <>
constexpr std::uint8_t kOperation<Open> = 8;
template <>
constexpr std::uint8_t kOperation<Release> = 9;
template <>
constexpr std::uint8_t kOperation<Read> = 10;
template <>
constexpr std::uint8_t kOperation<Write> = 11;
template <>
constexpr std::uint8_t kOperation<Commit> = 12;
template <>
constexpr std::uint8_t kOperation<SetAttributes> = 13;
template <>
constexpr std::uint8_t kOperation<Create> = 14;
template <>
constexpr std::uint8_t kOperation<MakeDirectory> = 15;
template <>
constexpr std::uint8_t kOperation<MakeNode> = 16;
template <>
constexpr std::uint8_t kOperation<Symlink> = 17;
template <>
constexpr std::uint8_t kOperation<Link> = 18;
template <>
constexpr std::uint8_t kOperation<Unlink> = 19;
template <>
constexpr std::uint8_t kOperation<RemoveDirectory> = 20;
template <>
constexpr std::uint8_t kOperation<Rename> = 21;
template <>
constexpr std::uint8_t kOperation<Measure> = 22;
template <>
constexpr std::uint8_t kOperation<ListXattrs> = 32;
template <>
constexpr std::uint8_t kOperation<GetXattr> = 33;
template <>
constexpr std::uint8_t kOperation<SetXattr> = 34;
template <>
constexpr std::uint8_t kOperation<Allocate> = 35;
template <>
constexpr std::uint8_t kOperation<DataRanges> = 36;
template <>
constexpr std::uint8_t kOperation<CopyRange> = 37;
template <>
constexpr std::uint8_t kOperation<Append> = 38;
template <>
constexpr std::uint8_t kOperation<CreateUnnamed> = 39;
template <>
constexpr std::uint8_t kOperation<FileFlags> = 40;
template <>
constexpr std::uint8_t kOperation<Touch> = 41;
template <>
constexpr std::uint8_t kOperation<Lock> = 44;
template <>
constexpr std::uint8_t kOperation<TestLock> = 45;
template <>
constexpr std::uint8_t kOperation<CancelLock> = 46;
template <>
constexpr std::uint8_t kOperation<Notice> = 128;

constexpr std::array<const char*, 47> kNames = {
    "?",        "attach",   "detach",     "lookup",    "getattr", "readlink",
    "readdir",  "statfs",   "open",       "release",   "read",    "write",
    "commit",   "setattr",  "create",     "mkdir",     "mknod",   "symlink",
    "link",     "unlink",   "rmdir",      "rename",    "measure", "?",
    "?",        "?",        "?",          "?",         "?",       "?",
    "?",        "?",        "listxattrs", "getxattr",  "setxattr", "allocate",
    "dataranges", "copyrange", "append",  "tmpfile",   "fileflags",
    "touch",    "?",        "?",          "lock",      "testlock", "cancellock"};

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

void set_lowest_unanswered(Buffer& request, std::uint64_t lowest) {
  auto decoded = decode_request(request);
  auto* known = std::get_if<Request>(&decoded);
  assert(known && "we encoded it");
  request = std::visit(
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
  Buffer out{kOperation<Notice>};
  wire::Writer writer(out);
  wire::fields(writer, notice);
  return out;
}

std::optional<Notice> decode_notice(std::span<const std::uint8_t> message) {
  if (message.empty() || message[0] != kOperation<Notice>) return std::nullopt;
  Notice notice;
  wire::Reader reader(message.subspan(1));
  wire::fields(reader, notice);
  if (!reader.finished() || notice.changes.size() > kMaxNoticed) return std::nullopt;
  return notice;
}

const char* operation_name(std::span<const std::uint8_t> message) {
  return message.empty() || message[0] >= kNames.size() ? kNames[0] : kNames[message[0]];
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

// Every request and reply, once.
#define RUSHFS_MESSAGE(R)                                  \
  template Buffer encode<R>(const R&);                     \
  template Buffer encode_reply<R::Reply>(const R::Reply&); \
  template boost::system::result<R::Reply> decode_reply<R::Reply>(std::span<const std::uint8_t>)
#define RUSHFS_MESSAGE_SHARED_REPLY(R) template Buffer encode<R>(const R&)

RUSHFS_MESSAGE(Attach);
RUSHFS_MESSAGE(Detach);
RUSHFS_MESSAGE(Lookup);
RUSHFS_MESSAGE(GetAttributes);
RUSHFS_MESSAGE(Readlink);
RUSHFS_MESSAGE(ReadDirectory);
RUSHFS_MESSAGE(StatFs);
RUSHFS_MESSAGE(Open);
RUSHFS_MESSAGE_SHARED_REPLY(Release);
RUSHFS_MESSAGE(Read);
RUSHFS_MESSAGE(Write);
RUSHFS_MESSAGE(Commit);
RUSHFS_MESSAGE(SetAttributes);
RUSHFS_MESSAGE(Create);
RUSHFS_MESSAGE_SHARED_REPLY(MakeDirectory);
RUSHFS_MESSAGE_SHARED_REPLY(MakeNode);
RUSHFS_MESSAGE_SHARED_REPLY(Symlink);
RUSHFS_MESSAGE_SHARED_REPLY(Link);
RUSHFS_MESSAGE(Unlink);
RUSHFS_MESSAGE_SHARED_REPLY(RemoveDirectory);
RUSHFS_MESSAGE(Rename);
RUSHFS_MESSAGE(Measure);
RUSHFS_MESSAGE(ListXattrs);
RUSHFS_MESSAGE(GetXattr);
RUSHFS_MESSAGE_SHARED_REPLY(SetXattr);
RUSHFS_MESSAGE_SHARED_REPLY(Allocate);
RUSHFS_MESSAGE(DataRanges);
RUSHFS_MESSAGE(CopyRange);
RUSHFS_MESSAGE(Append);
RUSHFS_MESSAGE_SHARED_REPLY(CreateUnnamed);
RUSHFS_MESSAGE(FileFlags);
RUSHFS_MESSAGE_SHARED_REPLY(Touch);
RUSHFS_MESSAGE(Lock);
RUSHFS_MESSAGE(TestLock);
RUSHFS_MESSAGE_SHARED_REPLY(CancelLock);

#undef RUSHFS_MESSAGE
#undef RUSHFS_MESSAGE_SHARED_REPLY

}  // namespace rushfs::fs

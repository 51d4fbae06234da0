// Whatever an authenticated peer sends as a file message is refused, or understood in one form
// only.
#include <cassert>

#include "fs/protocol/messages.h"

using namespace rushfs::fs;

namespace {

template <class Reply>
void check_reply(std::span<const std::uint8_t> bytes) {
  const auto reply = decode_reply<Reply>(bytes);
  if (!reply) return;
  const Buffer again = encode_reply(*reply);
  assert(again == Buffer(bytes.begin(), bytes.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> bytes(data, size);
  const auto request = decode_request(bytes);
  if (const auto* understood = std::get_if<Request>(&request)) {
    const Buffer again = std::visit([](const auto& r) { return encode(r); }, *understood);
    assert(again == Buffer(bytes.begin(), bytes.end()));
  }
  check_reply<AttachReply>(bytes);
  check_reply<LookupReply>(bytes);
  check_reply<ReadDirectoryReply>(bytes);
  check_reply<StatFsReply>(bytes);
  check_reply<OpenReply>(bytes);
  check_reply<ReadReply>(bytes);
  check_reply<CommitReply>(bytes);
  check_reply<EntryReply>(bytes);
  check_reply<RemoveReply>(bytes);
  check_reply<RenameReply>(bytes);
  check_reply<ListXattrsReply>(bytes);
  check_reply<DataRangesReply>(bytes);
  check_reply<CopyRangeReply>(bytes);
  check_reply<AppendReply>(bytes);
  check_reply<FileFlagsReply>(bytes);
  return 0;
}

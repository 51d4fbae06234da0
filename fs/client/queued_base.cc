#include "fs/client/queued_base.h"

namespace rushfs::fs {

namespace {

/// No reply begins like this.
constexpr char kCopyBegun = '\xff';

void put(std::string& out, std::string_view part) {
  out.push_back(static_cast<char>(part.size()));
  out.append(part);
}

std::string_view take(std::string_view& in) {
  if (in.empty()) return {};
  const auto part = in.substr(1, static_cast<std::uint8_t>(in.front()));
  in.remove_prefix(1 + part.size());
  return part;
}

}  // namespace

std::string encode_base(const Inode& inode, bool unsent) {
  Buffer base;
  if (inode.made_at) {
    base = encode_reply(CommitReply{*inode.made_at, unsent ? 1U : 0U, inode.server});
  } else if (unsent) {
    base = encode_reply(AttributesReply{inode.server});
  }
  return {base.begin(), base.end()};
}

std::string encode_base(const Inode& inode, const BegunCopy& copy) {
  std::string out(1, kCopyBegun);
  for (const auto& part : {copy.node.bytes, copy.name, copy.base}) put(out, part);
  return out + encode_base(inode, inode.base_kept || !inode.made_at);
}

std::optional<BegunCopy> restore_base(Inode& inode, std::string_view base) {
  std::optional<BegunCopy> copy;
  if (base.starts_with(kCopyBegun)) {
    base.remove_prefix(1);
    const std::string_view node = take(base), name = take(base), made = take(base);
    copy = BegunCopy{{std::string(node)}, std::string(name), std::string(made)};
  }
  const Buffer bytes(base.begin(), base.end());
  if (const auto was = decode_reply<AttributesReply>(bytes)) {
    inode.server = was->attributes;
    inode.base_kept = true;
  } else if (const auto made = decode_reply<CommitReply>(bytes)) {
    inode.server = made->attributes;
    inode.made_at = made->instance;
    inode.base_kept = made->through != 0;
    inode.base_unknown = inode.suspect = !inode.base_kept;
  }
  return copy;
}

}  // namespace rushfs::fs

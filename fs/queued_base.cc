#include "fs/queued_base.h"

namespace rushfs::fs {

std::string encode_base(const Inode& inode, bool unsent) {
  Buffer base;
  if (inode.made_at) {
    base = encode_reply(CommitReply{*inode.made_at, unsent ? 1U : 0U, inode.server});
  } else if (unsent) {
    base = encode_reply(AttributesReply{inode.server});
  }
  return {base.begin(), base.end()};
}

void restore_base(Inode& inode, const std::string& base) {
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
}

}  // namespace rushfs::fs

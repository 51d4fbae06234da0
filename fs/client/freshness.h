// Is what we hold of a file still what the server has? Every reply carries the file's version;
// these functions judge it and keep Inode::server up to date. docs/semantics.md, "Close-to-open".
//
// Replies may overtake each other and our own changes. Two things keep that apart: epochs, counted
// up with every change of ours that was answered (a caller notes the count when it sends and passes
// it on with the reply), and Inode::changes_in_flight, our changes whose outcome is unknown.
#pragma once

#include "fs/client/inodes.h"

namespace rushfs::fs {

enum class Heard : std::uint8_t {
  same,       // content held is good
  changed,    // somebody else changed it: drop content, memory and disk
  uncertain,  // may be from before or after a change of ours: use the reply, keep nothing of it
};

/// Answers to calls of ours overtake each other: whether we know the file as it was later. The
/// server's clock tells; should it have been set back, asking again, seen to here, puts that right.
bool overtaken(Inode& inode, const Attributes& attributes);

/// Attributes from a reply to a question sent at `sent_epoch`.
Heard hear(Inode& inode, const Attributes& attributes, std::uint64_t sent_epoch,
           const LoopTime& time);

/// Of an uncertain reply: others changed the file after we asked, perhaps after it was sent, or
/// untold. Asked for, or by the server's clock made, after what we knew, it is newer than that, and
/// shown until we have asked again.
void hear_outdated(Inode& inode, const Attributes& attributes, std::uint64_t sent_epoch);

/// The outcome of a change of ours. `same`: content outside what we changed is still good, under
/// the new version.
Heard hear_own_change(Inode& inode, const Change& change, std::uint64_t epoch,
                      const LoopTime& time);

/// What others did, of which the server has told all: what it left alone is still good. Attributes
/// of a moment before those that are known are not taken.
void hear_told(Inode& inode, const Attributes& after, Moment when, const LoopTime& time);

/// Attributes after a change of ours that leaves content alone (rename, link, unlink of one name).
Heard hear_own_renaming(Inode& inode, const Attributes& after, std::uint64_t epoch,
                        const LoopTime& time);

}  // namespace rushfs::fs

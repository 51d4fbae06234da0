// Calls that make, move and remove names, as a worker carries them out: look at the names first,
// then act. The look is what the reply log keeps as the call's intent, and what decides after a
// kill of the server whether the call had happened already. docs/file-protocol.md, "Calls that
// happen once".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/server/reply_log.h"
#include "fs/server/store.h"

namespace rushfs::fs {

struct NameCall {
  Request request;             // one with a CallNumber
  std::vector<NodeRef> nodes;  // what needed_nodes() asked for
  std::vector<bool> orphans;   // of each: its number of links shows one less

  // After look():
  std::vector<Attributes> before;      // of each node
  std::optional<Found> first, second;  // what has the (first, second) name now
  Intent intent;                       // at the call's first attempt
  bool interrupted = false;            // an attempt before this may have succeeded

  // Before act(), for Unlink and Rename: the file that loses its name is held by somebody.
  bool keep = false;
};

struct NameOutcome {
  Buffer reply;  // encoded, success or error
  bool changed = false;
  std::vector<Found> found;  // nodes met
  std::vector<Entry> touched;  // files of which attributes have changed, and no content
  FileRef file;              // Create, CreateUnnamed: open for writing, of found[0]
  std::string orphan;        // hidden name given to what lost its name, or never had one
};

/// Nodes the request names, in the order act() expects.
std::vector<NodeId> needed_nodes(const Request& request);
const CallNumber& call_number(const Request& request);
/// The first node must be open for writing.
bool needs_file(const Request& request);
/// Who loses a name by this call (after look()); null: nobody, or not a regular file.
const Found* loser(const NameCall& call);
/// The client itself holds the loser.
bool wants_hold(const Request& request);

/// errno: a name that no file system would take, or nodes that cannot be looked at.
Result<void> look(const Store& store, NameCall& call);
NameOutcome act(const Store& store, NameCall& call, StoreFile* file);

/// 0 or the errno for a name that is not one component.
int bad_name(const std::string& name);

/// Attributes as clients should see them.
Result<Attributes> visible_attributes(const Store& store, const Node& node, bool orphan);

}  // namespace rushfs::fs

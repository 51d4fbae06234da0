// Finding nodes again whose names nobody remembers, where handles cannot be opened.
#include <sys/stat.h>

#include <unordered_set>

#include "fs/server/directory_node.h"

namespace rushfs::fs {
namespace {

constexpr std::size_t kMaxSearched = 2'000'000;  // entries: some ten seconds of a disk's metadata
constexpr std::size_t kDeepest = 256;            // levels; each keeps a descriptor

}  // namespace

struct DirectoryStore::Search {
  std::unordered_set<NodeId> wanted;
  std::vector<NodePlace> above;  // from the root to the directory being searched
  std::vector<NodePlace> found;
  std::size_t searched = 0;

  bool over() const { return wanted.empty() || searched >= kMaxSearched; }
};

void DirectoryStore::search(const NodeRef& directory, Search& search) const {
  std::vector<NodePlace> below;
  ReadDirectory request;
  request.max_bytes = kMaxTransfer;
  for (bool end = false; !end && !search.over();) {
    auto listed = list(request, *directory);
    if (!listed) break;
    end = listed->end;
    for (DirectoryEntry& entry : listed->entries) {
      ++search.searched;
      request.cookie = entry.cookie;
      if (!entry.entry) continue;
      NodePlace place{directory->id(), std::move(entry.name), std::move(entry.entry->node)};
      if (search.wanted.erase(place.node) != 0) {
        search.found.insert(search.found.end(), search.above.begin(), search.above.end());
        search.found.push_back(place);
      }
      if ((entry.entry->attributes.mode & S_IFMT) == S_IFDIR) below.push_back(std::move(place));
    }
  }
  if (search.above.size() >= kDeepest) return;
  for (const NodePlace& place : below) {
    if (search.over()) return;
    auto next = lookup(*directory, place.name);
    if (!next || next->node->id() != place.node) continue;
    search.above.push_back(place);
    this->search(next->node, search);
    search.above.pop_back();
  }
}

std::vector<NodePlace> DirectoryStore::find(const std::vector<NodeId>& wanted) const {
  Search all;
  for (const NodeId& node : wanted) {
    if (codec_.open(node)) all.wanted.insert(node);
  }
  auto top = root();
  if (top) search(top->node, all);
  return std::move(all.found);
}

}  // namespace rushfs::fs

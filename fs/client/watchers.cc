#include "fs/client/watchers.h"

#include <sys/stat.h>

#include <algorithm>

namespace rushfs::fs {

namespace {

/// Questions asked because of one notice. Watchers of more changes than that at once look anew.
constexpr std::size_t kMaxCompared = 512;
/// Folders and files asked about after a cut, some 600 KiB both ways together.
constexpr std::size_t kMaxRenewed = 2048;
/// Notices may come faster than comparisons, which take a round trip each. Then they are compared
/// together, kMaxCompared in one: few wait.
constexpr std::size_t kMaxWaiting = 64;

}  // namespace

struct Watchers::Comparison {
  struct Name {
    InodeRef folder;
    std::string name;
    std::optional<InodeRef> before, after;  // none: not known; null: there was nothing
    bool told = false;

    bool was() const { return before && *before; }
    bool is() const { return after && *after; }
    bool is_gone() const { return after && !*after; }
  };
  struct File {
    InodeRef inode;
    Attributes before;
    std::optional<Attributes> after;
  };
  std::vector<Name> names;
  std::vector<File> files;
  std::size_t waiting = 0;  // answers

  std::size_t size() const { return names.size() + files.size(); }
  /// What `earlier` found is what this one starts from.
  void follow(const Comparison& earlier);
  /// One that was to come after this one, and has not begun.
  void add(Comparison later);
};

void Watchers::Comparison::follow(const Comparison& earlier) {
  for (Name& name : names) {
    for (const Name& before : earlier.names) {
      const bool same = before.folder == name.folder && before.name == name.name;
      if (same && before.after) name.before = before.after;
    }
  }
  for (File& file : files) {
    for (const File& before : earlier.files) {
      if (before.inode == file.inode && before.after) file.before = *before.after;
    }
  }
}

void Watchers::Comparison::add(Comparison later) {
  for (Name& name : later.names) {
    const bool there = std::ranges::any_of(names, [&](const Name& each) {
      return each.folder == name.folder && each.name == name.name;
    });
    if (!there) names.push_back(std::move(name));
  }
  for (File& file : later.files) {
    const bool there = std::ranges::any_of(
        files, [&](const File& each) { return each.inode == file.inode; });
    if (!there) files.push_back(std::move(file));
  }
}

void Watchers::attached() {
  if (!kernel_.tells_events()) return;
  std::vector<InodeRef> shown, files;
  known_.inodes().each([&](Inode& inode) {
    if (inode.lookups == 0 || !inode.known() || inode.unlinked) return;
    if (inode.regular() && inode.opens > 0) return;  // Holds asks about it
    (inode.directory() ? shown : files).push_back(known_.inodes().find(inode.number));
  });
  shown.insert(shown.end(), files.begin(), files.end());
  if (shown.size() > kMaxRenewed) shown.resize(kMaxRenewed);
  for (const auto& inode : shown) questions_.renew(inode);
}

std::shared_ptr<Watchers::Comparison> Watchers::remember(const Notice& notice) {
  if (!kernel_.tells_events()) return nullptr;
  auto seen = std::make_shared<Comparison>();
  for (const NoticedChange& change : notice.changes) {
    const auto inode = known_.inodes().find(change.node);
    if (!inode || inode->lookups == 0 || !inode->known()) continue;
    if (seen->size() >= kMaxCompared) break;
    if (!change.name.empty()) {
      const auto before = known_.last_known_name(*inode, change.name);
      seen->names.push_back({inode, change.name, before, {}, false});
    } else if (!inode->directory() && !inode->unlinked) {
      seen->files.push_back({inode, inode->view(), std::nullopt});
    }
  }
  return seen;
}

void Watchers::compare(const std::shared_ptr<Comparison>& seen) {
  if (!seen || seen->size() == 0) return;
  if (comparisons_.size() > 1 && comparisons_.back()->size() + seen->size() <= kMaxCompared) {
    return comparisons_.back()->add(std::move(*seen));
  }
  if (comparisons_.size() > kMaxWaiting) return;
  comparisons_.push_back(seen);
  if (comparisons_.size() == 1) begin();
}

void Watchers::begin() {
  const auto seen = comparisons_.front();
  seen->waiting = seen->size();
  for (auto& name : seen->names) {
    auto found = [this, seen, &name](Result<NodeReference> now) {
      if (now) {
        name.after = known_.inodes().find(now->number);
        if (*name.after) known_.inodes().forget(now->number, 1);
      }
      answered(*seen);
    };
    questions_.lookup(name.folder->number, name.name, std::move(found));
  }
  for (auto& file : seen->files) {
    questions_.attributes(file.inode->number, [this, seen, &file](Result<Attributes> now) {
      if (now) file.after = *now;
      answered(*seen);
    });
  }
}

void Watchers::answered(Comparison& seen) {
  if (--seen.waiting > 0) return;
  tell_names(seen);
  for (const auto& file : seen.files) {
    if (file.after) tell_file(file.inode, file.before, *file.after);
  }
  for (const auto& later : comparisons_) {
    if (later.get() != &seen) later->follow(seen);
  }
  comparisons_.pop_front();
  if (!comparisons_.empty()) begin();
}

void Watchers::tell_names(Comparison& seen) {
  using What = RemoteEvent::What;
  const auto tell = [&](What what, const InodeRef& node, const Comparison::Name& at) {
    kernel_.happened({what, node, at.folder, at.name, nullptr, "", nullptr});
  };
  for (auto& from : seen.names) {
    if (!from.was() || !from.is_gone()) continue;
    for (auto& to : seen.names) {
      const bool moved = !to.told && to.is() && *to.after == *from.before &&
                         (!to.was() || *to.before != *from.before);
      if (!moved) continue;
      kernel_.happened({What::renamed, *from.before, from.folder, from.name, to.folder, to.name,
                        to.was() ? *to.before : nullptr});
      from.told = to.told = true;
      break;
    }
  }
  for (const auto& at : seen.names) {
    if (at.told || !at.after || (at.was() && *at.before == *at.after)) continue;
    if (at.was()) tell(What::removed, *at.before, at);
    if (!at.is()) continue;
    tell(What::created, *at.after, at);
    if ((*at.after)->regular() && (*at.after)->size() > 0) tell(What::changed, *at.after, at);
  }
}

void Watchers::tell_file(const InodeRef& inode, const Attributes& before, const Attributes& now) {
  const auto folder = known_.inodes().find(inode->parent);
  const bool there = folder && known_.inodes().child(inode->parent, inode->name) == inode;
  // There is no call that sets the mode of a symbolic link and not of what it leads to.
  if (!there || inode->unlinked || S_ISLNK(now.mode)) return;
  const bool content = inode->regular() && (now.mtime != before.mtime || now.size != before.size);
  const bool other = now.mode != before.mode || now.uid != before.uid || now.gid != before.gid;
  if (!content && !other) return;
  kernel_.happened({content ? RemoteEvent::What::changed : RemoteEvent::What::attributes, inode,
                    folder, inode->name, nullptr, "", nullptr});
}

}  // namespace rushfs::fs

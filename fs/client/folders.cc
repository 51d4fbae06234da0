#include "fs/client/folders.h"

#include <algorithm>
#include <cerrno>
#include <deque>

#include "fs/protocol/names.h"

namespace rushfs::fs {

namespace {

/// About 1000 entries with long names and attributes.
constexpr std::uint32_t kPageBytes = 512 << 10;
/// Where somebody jumps to (seekdir(3)), a few entries are enough.
constexpr std::uint32_t kJumpPageBytes = 16 << 10;
/// Kept for those who jump back, as long as the folder is open.
constexpr std::size_t kPagesKept = 16;

/// Who goes on where it ends is told the same again.
bool gets_nowhere(const ReadDirectoryReply& page, std::uint64_t cookie) {
  return !page.end && !page.entries.empty() && page.entries.back().cookie == cookie;
}

}  // namespace

struct Folders::Directory {
  using Entries = std::shared_ptr<const std::vector<DirectoryEntry>>;
  struct Page {
    std::uint64_t start = 0;  // cookie it was fetched with
    bool end = false;
    Entries entries;
    bool follows = true;           // the folder's start, or another page
    bool last_known = false;       // not from the server
    std::vector<InodeRef> taught;  // kept until the kernel has them
    std::uint64_t last() const { return entries->empty() ? start : entries->back().cookie; }
    std::optional<Listed> after(std::uint64_t cookie) const;
  };
  struct Request {
    std::uint64_t cookie;
    Reply<Listed> reply;
  };

  InodeRef inode;
  std::deque<Page> pages;        // oldest first
  std::optional<std::uint64_t> fetching;  // cookie of the page on its way
  std::deque<Request> waiting;
  ListingDraft draft;
  std::uint64_t drafted_since = 0;  // epoch when its first page was asked for
  bool began = false;         // a listing from 0 was answered
  std::uint64_t reading = 0;  // start of the page that last answered

  void add(Page page);
  bool follows(std::uint64_t cookie) const {
    return cookie == 0 || std::any_of(pages.begin(), pages.end(),
                                      [&](const Page& page) { return page.last() == cookie; });
  }
};

void Folders::open(NodeNumber node, Reply<HandleNumber> reply) {
  const auto inode = known_.inodes().find(node);
  if (!inode) return reply.fail(ESTALE);
  const HandleNumber number{next_++};
  auto directory = std::make_shared<Directory>();
  directory->inode = inode;
  ++inode->opens;
  directories_.emplace(number.value, std::move(directory));
  reply(number);
}

void Folders::release(HandleNumber number) {
  const auto found = directories_.find(number.value);
  if (found == directories_.end()) return;
  const auto inode = found->second->inode;
  --inode->opens;
  directories_.erase(found);
  access_times_.tell(inode);
}

void Folders::read(HandleNumber number, std::uint64_t cookie, Reply<Listed> reply) {
  const auto found = directories_.find(number.value);
  if (found == directories_.end()) return reply.fail(EBADF);
  const auto directory = found->second;
  if (cookie == 0 && directory->began) {
    directory->pages.clear();  // rewinddir(3) shows the folder as it is now
    directory->began = false;
  }
  directory->waiting.push_back({cookie, std::move(reply)});
  access_times_.read(*directory->inode);
  serve(directory);
}

// Entries of this page that follow `cookie`; none if it does not know them.
std::optional<Listed> Folders::Directory::Page::after(std::uint64_t cookie) const {
  if (start == cookie) return Listed{entries, 0, last_known};
  if (end && last() == cookie) return Listed{entries, entries->size(), last_known};
  const auto at = std::find_if(entries->begin(), entries->end(),
                               [&](const auto& entry) { return entry.cookie == cookie; });
  if (at == entries->end() || at + 1 == entries->end()) return std::nullopt;
  return Listed{entries, static_cast<std::size_t>(at + 1 - entries->begin()), last_known};
}

// The page before this one is still being read; what was before that, the kernel has.
void Folders::Directory::add(Page page) {
  for (auto& before : pages) {
    if (before.last() != page.start) before.taught.clear();
  }
  pages.push_back(std::move(page));
  if (pages.size() > kPagesKept) pages.pop_front();
}

// Answers the requests that the pages at hand can answer, and sees to it that the next one comes.
void Folders::serve(const std::shared_ptr<Directory>& directory) {
  while (!directory->waiting.empty()) {
    std::optional<Listed> listed;
    for (const auto& page : directory->pages) {
      listed = page.after(directory->waiting.front().cookie);
      directory->reading = page.start;
      if (listed) break;
    }
    if (!listed) break;
    directory->began = true;
    auto reply = std::move(directory->waiting.front().reply);
    directory->waiting.pop_front();
    reply(std::move(*listed));
  }
  if (directory->fetching) return;
  if (!directory->waiting.empty()) {
    fetch_page(directory, directory->waiting.front().cookie);
    return;
  }
  if (directory->pages.empty()) return;
  const auto& last = directory->pages.back();
  if (last.follows && !last.end && last.start == directory->reading) {
    fetch_page(directory, last.last());
  }
}

void Folders::fetch_page(const std::shared_ptr<Directory>& directory, std::uint64_t cookie) {
  const bool known = cookie == 0 && directory->inode->listing;
  if (known && !remote_.reachable() && serve_last_known(*directory)) return serve(directory);
  directory->fetching = cookie;
  if (cookie == 0) directory->drafted_since = known_.epoch();
  const bool follows = directory->follows(cookie);
  const auto bytes = std::min(follows ? kPageBytes : kJumpPageBytes, max_read_);
  ask(
      remote_, Priority::urgent, ReadDirectory{directory->inode->node, cookie, bytes, true},
      [this, directory, cookie, follows,
       epoch = known_.epoch()](Result<Answer<ReadDirectoryReply>> answer) {
        directory->fetching.reset();
        if (answer && gets_nowhere(answer->reply, cookie)) answer = errno_code(EIO);
        if (!answer) {
          if (cookie == 0 && unanswered(answer.error()) && serve_last_known(*directory)) {
            return serve(directory);
          }
          auto waiting = std::move(directory->waiting);
          directory->waiting.clear();
          for (auto& request : waiting) request.reply.fail(answer.error());
          return;
        }
        known_.learn(*directory->inode, (*answer)->directory, epoch);
        if (directory->draft.add(cookie, answer->reply)) {
          known_.keep_listing(directory->inode, directory->draft.take(), directory->drafted_since);
        }
        auto entries = std::make_shared<std::vector<DirectoryEntry>>(
            std::move(answer->reply.entries));
        std::vector<InodeRef> taught;
        for (const auto& entry : *entries) {
          if (!entry.entry) continue;
          taught.push_back(known_.learn(*entry.entry, directory->inode->number, entry.name, epoch));
        }
        const bool end = (*answer)->end || entries->empty();
        directory->add({cookie, end, entries, follows, false, std::move(taught)});
        serve(directory);
      },
      known ? Patience::glance : Patience::prompt);
}

// One page that holds the whole folder as it was last seen. Its cookies are its own: who began with
// it goes on in it.
bool Folders::serve_last_known(Directory& directory) {
  if (!directory.inode->listing) return false;
  auto entries = std::make_shared<std::vector<DirectoryEntry>>();
  for (const auto& [name, entry] : directory.inode->listing->entries()) {
    entries->push_back(entry);
    entries->back().cookie = entries->size();
    if (entry.entry) known_.remembered_entry(directory.inode->number, entry);
  }
  directory.pages.clear();
  directory.pages.push_back({0, true, std::move(entries), true, true, {}});
  return true;
}

std::optional<NodeReference> Folders::enter(NodeNumber directory, const DirectoryEntry& entry,
                                           bool last_known) {
  if (!entry.entry || is_dots(entry.name)) return std::nullopt;
  // What the page taught may be outdated since, or given up: then the kernel asks by name.
  const auto inode = known_.inodes().find(entry.entry->node);
  if (!inode || !inode->known() || known_.inodes().child(directory, entry.name) != inode) {
    return std::nullopt;
  }
  if (!last_known && !known_.may_trust(*inode)) return std::nullopt;
  return reference_to(inode);
}

}  // namespace rushfs::fs

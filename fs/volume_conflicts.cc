// Two versions of a file meet: what was queued here while we were cut off, and what somebody else
// did to the file meanwhile. Both are kept: ours moves to a file of its own beside theirs.
// docs/semantics.md, "Conflicts".
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include "fs/volume.h"

namespace rushfs::fs {

namespace {

/// Ours is copied in pieces of this size.
constexpr std::uint64_t kPiece = 1 << 20;

/// `reel/clip.mov` becomes `clip (conflict editor 2026-11-22).mov`.
std::string conflict_name(const std::string& path, const std::string& host, const LoopTime& time,
                          int attempt) {
  const std::string name = path.substr(path.rfind('/') + 1);
  auto dot = name.rfind('.');
  if (dot == 0 || dot == std::string::npos) dot = name.size();
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(time.wall).count();
  std::tm parts{};
  std::array<char, 16> date{};
  std::strftime(date.data(), date.size(), "%Y-%m-%d", gmtime_r(&seconds, &parts));
  const std::string number = attempt > 1 ? " " + std::to_string(attempt) : "";
  const std::string mark = " (conflict " + host + " " + date.data() + number + ")";
  const std::string extension = name.substr(dot).substr(0, 64);
  const std::size_t room = kMaxName - std::min(kMaxName, mark.size() + extension.size());
  return (name.substr(0, std::min(dot, room)) + mark + extension).substr(0, kMaxName);
}

}  // namespace

/// Moves what is queued for one file to a new one, step by step.
struct Volume::Rescue : std::enable_shared_from_this<Volume::Rescue> {
  Volume& volume;
  InodeRef inode;
  std::optional<Attributes> theirs;  // none: they removed the file
  Attributes base;                   // what our changes were made to
  InodeRef folder, copy;
  std::string path, name;
  int attempt = 1;
  std::uint64_t at = 0, generation = 0;
  std::uint64_t missing_bytes = 0;  // of the base, nowhere to be had

  Rescue(Volume& v, InodeRef i) : volume(v), inode(std::move(i)) {}

  void begin() {
    path = volume.inodes_.path(*inode);
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return in_folder(volume.inodes_.find(kRootNode));
    volume.find_path(path.substr(0, slash), [self = shared_from_this()](Result<NodeNumber> found) {
      // Their removal may have taken the folder with it.
      self->in_folder(self->volume.inodes_.find(found ? *found : kRootNode));
    });
  }

  void in_folder(InodeRef where) {
    folder = std::move(where);
    const auto view = inode->view();
    name = conflict_name(path, volume.options_.hostname, volume.parts_.time, attempt);
    Create request{{}, folder->node, name, Caller{view.uid, view.gid, 0}, view.mode & 07777, true,
                   false, false};
    ask(
        volume.parts_.remote, Priority::urgent, std::move(request),
        [self = shared_from_this()](Result<Answer<EntryReply>> answer) {
          if (answer) return self->created(answer->reply);
          if (answer.error().value() == EEXIST && ++self->attempt < 100) {
            return self->in_folder(self->folder);
          }
          self->failed(answer.error());
        },
        Patience::patient);
  }

  void created(const EntryReply& made) {
    volume.known_.directory_changed(folder, made.directory);
    copy = volume.inodes_.get(made.entry.node);
    volume.known_.learn_made(*copy, made.entry.attributes);
    volume.inodes_.set_name(*copy, folder->number, name);
    volume.known_.name_made(folder, name, made.entry);
    copy->content.disk_known = true;
    copy_all();
  }

  void copy_all() {
    at = missing_bytes = 0;
    generation = inode->local.generation;
    copy_piece();
  }

  void copy_piece() {
    const std::uint64_t size = inode->size();
    if (at >= size) return finish_copy(size);
    const std::uint64_t length = std::min(kPiece, size - at);
    volume.parts_.queue_loop.run(
        [&queue = volume.parts_.queue, node = inode->node, offset = at, length] {
          return queue.read(node.bytes, offset, length);
        },
        [self = shared_from_this(), length](Result<std::vector<cache::Piece>> pieces) {
          if (!pieces) return self->failed(pieces.error());
          Buffer bytes(length);
          std::vector<std::pair<std::uint64_t, std::uint64_t>> missing;
          for (const auto& piece : *pieces) {
            const auto from = piece.offset_bytes - self->at;
            if (piece.kind == cache::Piece::Kind::data) {
              std::copy(piece.data.begin(), piece.data.end(),
                        bytes.begin() + static_cast<std::ptrdiff_t>(from));
            } else if (piece.kind == cache::Piece::Kind::base) {
              missing.emplace_back(piece.offset_bytes, piece.length_bytes);
            }
          }
          self->fill(std::move(bytes), std::move(missing));
        });
  }

  // What our changes show of the file beneath: from the cache as it was, else as it is now. Also
  // without a name, while the server holds it for somebody.
  void fill(Buffer bytes, std::vector<std::pair<std::uint64_t, std::uint64_t>> missing) {
    if (missing.empty()) return write(std::move(bytes));
    const auto [offset, length] = missing.back();
    missing.pop_back();
    const std::uint64_t block = offset / cache::kBlockBytes;
    const std::uint64_t skip = offset - block * cache::kBlockBytes;
    const std::uint64_t part = std::min(length, cache::kBlockBytes - skip);
    if (part < length) missing.emplace_back(offset + part, length - part);
    volume.parts_.blocks_loop.run(
        [&cache = volume.parts_.blocks, node = inode->node, version = base.version, block] {
          return cache.read(node.bytes, version.value, block);
        },
        [self = shared_from_this(), bytes = std::move(bytes), missing = std::move(missing),
         offset = offset, skip, part](std::optional<Buffer> found) mutable {
          if (!found) {
            return self->fetch(std::move(bytes), std::move(missing), offset, part);
          }
          const std::span data(*found);
          self->put(bytes, offset, data.subspan(std::min<std::size_t>(skip, data.size())), part);
          self->fill(std::move(bytes), std::move(missing));
        });
  }

  void fetch(Buffer bytes, std::vector<std::pair<std::uint64_t, std::uint64_t>> missing,
             std::uint64_t offset, std::uint64_t length) {
    ask(
        volume.parts_.remote, Priority::behind,
        Read{inode->node, offset, static_cast<std::uint32_t>(length)},
        [self = shared_from_this(), bytes = std::move(bytes), missing = std::move(missing), offset,
         length](Result<Answer<ReadReply>> answer) mutable {
          if (!answer && answer.error().value() == ENOTCONN) return self->failed(answer.error());
          std::uint64_t told = 0;
          if (answer) {
            const std::uint64_t skip = std::min((*answer)->zeros_before, length);
            self->put(bytes, offset + skip, (*answer)->data, length - skip);
            told = skip + (*answer)->data.size() + std::min((*answer)->zeros_after, length);
          }
          self->miss(offset + told, offset + length);
          self->fill(std::move(bytes), std::move(missing));
        },
        Patience::patient);
  }

  void miss(std::uint64_t from, std::uint64_t to) {
    to = std::min(to, base.size);  // what lies behind were zeros
    if (from < to) missing_bytes += to - from;
  }

  void put(Buffer& bytes, std::uint64_t offset, std::span<const std::uint8_t> data,
           std::uint64_t most) {
    const auto count = std::min<std::size_t>(data.size(), most);
    std::copy_n(data.begin(), count, bytes.begin() + static_cast<std::ptrdiff_t>(offset - at));
  }

  void write(Buffer bytes) {
    const auto length = bytes.size();
    volume.log_.write(copy, at, std::move(bytes),
                      [self = shared_from_this(), length](Result<void> result) {
                        if (!result) return self->failed(result.error());
                        self->at += length;
                        self->copy_piece();
                      });
  }

  void finish_copy(std::uint64_t size) {
    // Programs went on writing: what they wrote since belongs to ours too.
    if (generation != inode->local.generation) return copy_all();
    AttributeChange change;
    change.size = size;
    change.mtime = TimeChange{false, inode->view().mtime};
    volume.log_.set_attributes(copy, change, [](Result<void>) {});
    volume.log_.flush([self = shared_from_this()](Result<void> result) {
      if (!result) return self->failed(result.error());
      if (self->generation != self->inode->local.generation) return self->copy_all();
      self->volume.rescued(*self);
    });
  }

  void failed(boost::system::error_code error) {
    spdlog::error("'{}' was changed here and by others, and ours could not be kept apart yet: {}",
                  path, error.message());
    inode->rescuing = false;  // looked at again after the next attach
    --inode->changes_in_flight;
    if (inode->abandoned) volume.let_go(inode);
  }
};

// After every attach: what waits is sent only to a file that is still what it was made for.
void Volume::check_queued(const AttachReply& reply, bool restarted) {
  ++check_round_;
  for (const auto& [inode, base] : std::exchange(unjudged_, {})) --inode->changes_in_flight;
  for (const auto& waiting : writeback_.suspend_all()) {
    const auto inode = inodes_.get(waiting.node);
    // Then the file need not be as we know it, though nobody else has touched it.
    if (restarted && waiting.uncommitted) inode->base_lost = true;
    const bool in_flight = waiting.in_flight && *waiting.in_flight <= reply.applied_through;
    const bool own_changes_unknown = inode->base_lost || (!restarted && in_flight);
    if (!inode->known() || inode->unlinked || inode->rescuing || own_changes_unknown) {
      if (!inode->rescuing) writeback_.resume(waiting.node);
      continue;
    }
    ++inode->changes_in_flight;  // so that no other reply puts theirs in the place of what we know
    check_file(inode, inode->server);
  }
}

// A removal of ours may have overtaken the question: then its answer tells whether it was ours.
void Volume::check_file(const InodeRef& inode, const Attributes& base) {
  ask(
      parts_.remote, Priority::urgent, GetAttributes{inode->node},
      [this, inode, base, round = check_round_](Result<Answer<AttributesReply>> answer) {
        const int error = answer ? 0 : answer.error().value();
        const bool gone =
            answer ? (*answer)->attributes.links == 0 : error == ESTALE || error == ENOENT;
        if (gone && inode->removals > 0 && round == check_round_) {
          unjudged_.emplace(inode, base);
          return;
        }
        --inode->changes_in_flight;
        if (round != check_round_) return;
        judge(inode, base, answer ? std::optional((*answer)->attributes) : std::nullopt, gone);
      },
      Patience::patient);
}

void Volume::removal_answered(const InodeRef& target) {
  if (!target || --target->removals > 0) return;
  const auto waiting = unjudged_.extract(target);
  if (waiting) check_file(target, waiting.mapped());
}

void Volume::judge(const InodeRef& inode, const Attributes& base,
                   const std::optional<Attributes>& theirs, bool gone) {
  const bool changed = theirs && (theirs->mtime != base.mtime || theirs->size != base.size);
  const auto& size = inode->local.size;
  const bool data = size.set_size_bytes || size.write_end_bytes > 0;
  if (inode->unlinked || inode->local.operations == 0 || !(gone || (changed && data))) {
    return writeback_.resume(inode->node);
  }
  inode->rescuing = true;
  ++inode->changes_in_flight;
  const auto rescue = std::make_shared<Rescue>(*this, inode);
  rescue->base = base;
  if (!gone) rescue->theirs = theirs;
  rescue->begin();
}

void Volume::rescued(Rescue& rescue) {
  const auto& inode = rescue.inode;
  const std::string copy = inodes_.path(*rescue.copy);
  spdlog::warn("'{}' was {} by somebody else while this mount was cut off; our version is '{}'",
               rescue.path, rescue.theirs ? "changed" : "removed", copy);
  if (rescue.missing_bytes > 0) {
    spdlog::error("{} bytes of '{}' could not be had any more and are zeros", rescue.missing_bytes,
                  copy);
  }
  conflicts_.push_back({rescue.path, copy, rescue.missing_bytes});
  inode->rescuing = false;
  --inode->changes_in_flight;
  writeback_.give_up(inode->node);
  // Who has ours open goes on with ours.
  for (auto& [number, handle] : handles_) {
    if (handle.inode != inode || !handle.flags.write) continue;
    unlock_handle(inode, HandleNumber{number});  // what it has locked is theirs now
    --inode->opens;
    --inode->writers;
    ++rescue.copy->opens;
    ++rescue.copy->writers;
    handle.inode = rescue.copy;
    writeback_.opened(rescue.copy->node);
  }
  if (inode->opens == 0 && inode->held) to_release_.push_back(inode);
  if (rescue.copy->writers == 0) writeback_.closed(rescue.copy->node);
  if (rescue.theirs) {
    inode->server = *rescue.theirs;
    inode->our_versions.clear();
  } else if (inodes_.child(inode->parent, inode->name) == inode) {
    const auto parent = inodes_.find(inode->parent);
    inodes_.drop_name(inode->parent, inode->name);
    if (parent) parent->listing.reset();  // something else may have the name by now
  }
  inode->validated = {};
  inode->kernel_pages_stale = true;
  known_.content_changed(*inode);
}

}  // namespace rushfs::fs

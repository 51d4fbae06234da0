#include "fs/client/rescuer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <utility>

namespace rushfs::fs {

namespace {

/// Ours is copied in pieces of this size.
constexpr std::uint64_t kPiece = 1 << 20;
/// What changed meanwhile is copied once more, and so on; until it is so little that whoever writes
/// may wait for the rest, or so often.
constexpr std::uint64_t kLittle = 4 * kPiece;
constexpr int kMostPasses = 8;

std::uint64_t bytes_of(const transport::RangeSet& ranges, std::uint64_t size) {
  std::uint64_t bytes = 0;
  for (const auto& range : ranges.ranges()) {
    if (range.first < size) bytes += std::min(range.last, size - 1) - range.first + 1;
  }
  return bytes;
}

}  // namespace

/// One file, step by step.
struct Rescuer::Copying : std::enable_shared_from_this<Rescuer::Copying> {
  using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  // begin, length

  Rescuer& with;
  InodeRef inode;
  Attributes base;
  Done done;
  std::shared_ptr<ConflictFile> target;
  InodeRef copy;  // when it may be copied to
  std::string path;
  transport::RangeSet to_copy{std::numeric_limits<std::size_t>::max()};  // in this pass
  int pass = 1;
  bool held = false;  // nobody changes it: the last pass
  // The piece that is being copied.
  std::uint64_t at = 0;
  Buffer bytes;
  Ranges missing, parts;
  std::uint64_t missed = 0, missing_bytes = 0;

  Copying(Rescuer& rescuer, InodeRef file, const Attributes& attributes,
          std::shared_ptr<ConflictFile> file_of_its_own)
      : with(rescuer),
        inode(std::move(file)),
        base(attributes),
        target(std::move(file_of_its_own)) {}

  void begin() {
    path = with.known_.inodes().path(*inode);
    if (copy) return copy_piece();
    target->prepare([weak = weak_from_this()](Result<ConflictFile::Content> has) {
      const auto self = weak.lock();  // the target is ours: it must not keep us
      if (!self) return;
      if (!has) return self->failed(has.error());
      self->copy = self->target->file();
      *has == ConflictFile::Content::none ? self->start() : self->start_again();
    });
  }

  void start() {
    with.log_.watch(inode);
    to_copy.add(0, std::numeric_limits<std::uint64_t>::max());
    copy_piece();
  }

  // What an earlier process had copied may have changed since.
  void start_again() {
    SetAttributes empty;
    empty.size = 0;
    with.log_.set_attributes(copy, empty, [self = shared_from_this()](Result<void> result) {
      if (result) return self->start();
      self->copy = nullptr;  // then it is looked for again
      self->failed(result.error());
    });
  }

  void copy_piece() {
    const std::uint64_t size = inode->size();
    if (to_copy.empty() || to_copy.ranges().front().first >= size) return end_pass(size);
    const auto range = to_copy.ranges().front();
    at = range.first;
    const std::uint64_t length = std::min(kPiece, std::min(range.last, size - 1) - at + 1);
    with.parts_.queue_loop.run(
        [&queue = with.parts_.queue, node = inode->node, offset = at, length] {
          return queue.read(node.bytes, offset, length);
        },
        [self = shared_from_this(), length](Result<std::vector<cache::Piece>> pieces) {
          if (!pieces) return self->failed(pieces.error());
          self->take(*pieces, length);
        });
  }

  void take(const std::vector<cache::Piece>& pieces, std::uint64_t length) {
    bytes.assign(length, 0);
    missing.clear();
    parts.clear();
    missed = 0;
    for (const auto& piece : pieces) {
      const auto begin = piece.offset_bytes;
      if (piece.kind == cache::Piece::Kind::data) {
        put(begin, piece.data, piece.length_bytes);
        parts.emplace_back(begin, piece.length_bytes);
      } else if (piece.kind == cache::Piece::Kind::base && begin < base.size) {
        missing.emplace_back(begin, std::min(piece.length_bytes, base.size - begin));
        parts.push_back(missing.back());
      }
    }
    // What nobody has written yet are zeros.
    if (pass > 1) parts = {{at, length}};
    fill();
  }

  // What our changes show of the file beneath: from the cache as it was, else as it is now. Also
  // without a name, while the server holds it for somebody.
  void fill() {
    if (missing.empty()) return write();
    const auto [offset, length] = missing.back();
    missing.pop_back();
    const std::uint64_t block = offset / cache::kBlockBytes;
    const std::uint64_t skip = offset - block * cache::kBlockBytes;
    const std::uint64_t part = std::min(length, cache::kBlockBytes - skip);
    if (part < length) missing.emplace_back(offset + part, length - part);
    with.parts_.blocks_loop.run(
        [&cache = with.parts_.blocks, node = inode->node, version = base.version, block] {
          return cache.read(node.bytes, version.value, block);
        },
        [self = shared_from_this(), offset = offset, skip, part](std::optional<Buffer> found) {
          if (!found) return self->fetch(offset, part);
          const std::span data(*found);
          self->put(offset, data.subspan(std::min<std::size_t>(skip, data.size())), part);
          self->fill();
        });
  }

  void fetch(std::uint64_t offset, std::uint64_t length) {
    ask(
        with.parts_.remote, Priority::behind,
        Read{inode->node, offset, static_cast<std::uint32_t>(length)},
        [self = shared_from_this(), offset, length](Result<Answer<ReadReply>> answer) {
          // Nowhere to be had any more; or not now.
          const bool gone = !answer && (answer.error() == errno_code(ESTALE) ||
                                        answer.error() == errno_code(ENOENT));
          if (!answer && !gone) return self->failed(answer.error());
          std::uint64_t told = 0;
          if (answer) {
            const std::uint64_t skip = std::min((*answer)->zeros_before, length);
            self->put(offset + skip, (*answer)->data, length - skip);
            told = skip + (*answer)->data.size() + std::min((*answer)->zeros_after, length);
          }
          if (told < length) self->missed += length - told;
          self->fill();
        },
        Patience::patient);
  }

  void put(std::uint64_t offset, std::span<const std::uint8_t> data, std::uint64_t most) {
    const auto count = std::min<std::size_t>(data.size(), most);
    std::copy_n(data.begin(), count, bytes.begin() + static_cast<std::ptrdiff_t>(offset - at));
  }

  void write() {
    auto written = [self = shared_from_this()](Result<void> result) {
      if (!result) return self->failed(result.error());
      self->missing_bytes += self->missed;
      self->to_copy.remove_below(self->at + self->bytes.size());
      self->copy_piece();
    };
    const auto joint = std::make_shared<JointReply>(std::move(written), parts.size());
    for (const auto& [begin, length] : parts) {
      const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(begin - at);
      with.log_.copy(inode, copy, begin, Buffer(from, from + static_cast<std::ptrdiff_t>(length)),
                     [joint](Result<void> one) { joint->arrive(one); });
    }
    joint->arrive({});
  }

  // Programs went on writing: what they wrote since belongs to ours too.
  void end_pass(std::uint64_t size) {
    if (held) return finish(size);
    to_copy = with.log_.touched(inode);
    if (++pass <= kMostPasses && bytes_of(to_copy, size) > kLittle) return copy_piece();
    held = true;
    with.log_.hold(inode, [self = shared_from_this()] {
      for (const auto& range : self->with.log_.touched(self->inode).ranges()) {
        self->to_copy.add(range.first, range.last);
      }
      self->copy_piece();
    });
  }

  void finish(std::uint64_t size) {
    const auto view = inode->view(), made = copy->view();
    SetAttributes change;
    change.size = size;
    change.mtime = TimeChange{false, view.mtime};
    if (inode->local.atime) change.atime = TimeChange{false, view.atime};
    if (view.uid != made.uid) change.uid = view.uid;
    if (view.gid != made.gid) change.gid = view.gid;
    if (view.mode != made.mode || change.uid || change.gid) change.mode = view.mode & 07777;
    const auto joint = std::make_shared<JointReply>(
        [self = shared_from_this()](Result<void> result) {
          if (!result) return self->failed(result.error());
          self->flush();
        },
        inode->local.xattrs.size() + 1);
    for (const auto& [key, value] : inode->local.xattrs) {
      if (!value) {
        joint->arrive({});  // it never had it
        continue;
      }
      SetXattr attribute;
      attribute.name = key;
      attribute.value = value;
      with.log_.set_xattr(copy, std::move(attribute),
                          [joint](Result<void> one) { joint->arrive(one); });
    }
    with.log_.set_attributes(copy, change, [joint](Result<void> one) { joint->arrive(one); });
    joint->arrive({});
  }

  void flush() {
    with.log_.flush([self = shared_from_this()](Result<void> result) {
      if (!result) return self->failed(result.error());
      self->with.begun_.erase(self->inode);
      std::move(self->done)(Rescued{self->path, self->copy, self->missing_bytes});
      self->with.log_.move(self->inode, self->copy);
    });
  }

  // What was to be copied still is, when it is tried again.
  void failed(boost::system::error_code error) {
    spdlog::error("'{}' was changed here and by others, and ours could not be kept apart yet: {}",
                  path, error.message());
    if (std::exchange(held, false)) with.log_.release(inode);
    std::move(done)(error);
  }
};

bool Rescuer::copying_to(const InodeRef& file) const {
  return std::any_of(begun_.begin(), begun_.end(),
                     [&](const auto& begun) { return begun.second->target->file() == file; });
}

std::shared_ptr<Rescuer::Copying> Rescuer::begin(const InodeRef& inode, const Attributes& base,
                                                 ConflictFile::Name name) {
  auto target = std::make_shared<ConflictFile>(parts_, known_, questions_, host_, inode, name);
  return std::make_shared<Copying>(*this, inode, base, std::move(target));
}

void Rescuer::restore(const InodeRef& inode, const BegunCopy& copy) {
  auto copying = begin(inode, inode->server, ConflictFile::Name::beside);
  copying->target->restore(copy);
  begun_[inode] = std::move(copying);
}

void Rescuer::rescue(const InodeRef& inode, const Attributes& base, ConflictFile::Name name,
                     Done done) {
  auto& copying = begun_[inode];
  if (!copying) copying = begin(inode, base, name);
  copying->base = base;
  copying->done = std::move(done);
  copying->begin();
}

}  // namespace rushfs::fs

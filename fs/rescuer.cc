#include "fs/rescuer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

namespace rushfs::fs {

namespace {

/// Ours is copied in pieces of this size.
constexpr std::uint64_t kPiece = 1 << 20;

/// `reel/clip.mov` becomes `clip (conflict editor 2026-11-22).mov`; at attempt 0 `clip.mov`.
std::string name_of_copy(const std::string& path, const std::string& host, const LoopTime& time,
                         int attempt) {
  const std::string name = path.substr(path.rfind('/') + 1);
  if (attempt == 0) return name;
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

/// One file, step by step.
struct Rescuer::Copying : std::enable_shared_from_this<Rescuer::Copying> {
  Rescuer& with;
  InodeRef inode;
  Attributes base;
  Done done;
  InodeRef folder, copy;
  std::string path, name;
  int attempt;  // 0: its own name
  std::uint64_t at = 0, generation = 0;
  std::uint64_t missing_bytes = 0;

  Copying(Rescuer& rescuer, InodeRef file, const Attributes& attributes, Name wish, Done handler)
      : with(rescuer),
        inode(std::move(file)),
        base(attributes),
        done(std::move(handler)),
        attempt(wish == Name::own ? 0 : 1) {}

  void begin() {
    path = with.known_.inodes().path(*inode);
    const auto begun = with.begun_.find(inode);
    if (begun != with.begun_.end()) {
      copy = begun->second;
      return copy_all();
    }
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return in_folder(with.known_.inodes().find(kRootNode));
    auto found = [self = shared_from_this()](Result<NodeNumber> number) {
      // Their removal may have taken the folder with it.
      self->in_folder(self->with.known_.inodes().find(number ? *number : kRootNode));
    };
    with.questions_.find_path(path.substr(0, slash), std::move(found));
  }

  void in_folder(InodeRef where) {
    folder = std::move(where);
    const auto view = inode->view();
    name = name_of_copy(path, with.host_, with.parts_.time, attempt);
    Create request{{}, folder->node, name, Caller{view.uid, view.gid, 0}, view.mode & 07777, true,
                   false, false};
    ask(
        with.parts_.remote, Priority::urgent, std::move(request),
        [self = shared_from_this()](Result<Answer<EntryReply>> answer) {
          if (answer) return self->created(answer->reply);
          if (answer.error().value() == EEXIST && ++self->attempt < 100) {
            return self->in_folder(self->folder);
          }
          const auto root = self->with.known_.inodes().find(kRootNode);
          if (answer.error().value() == ESTALE && self->folder != root) {
            return self->in_folder(root);  // the folder was lost too
          }
          self->failed(answer.error());
        },
        Patience::patient);
  }

  void created(const EntryReply& made) {
    with.known_.directory_changed(folder, made.directory);
    copy = with.known_.inodes().get(made.entry.node);
    with.known_.learn_made(*copy, made.entry.attributes);
    with.known_.name_made(folder, name, made.entry);
    with.known_.name_is_new(*copy);
    copy->content.disk_known = true;
    with.begun_.emplace(inode, copy);
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
    with.parts_.queue_loop.run(
        [&queue = with.parts_.queue, node = inode->node, offset = at, length] {
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
    with.parts_.blocks_loop.run(
        [&cache = with.parts_.blocks, node = inode->node, version = base.version, block] {
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
        with.parts_.remote, Priority::behind,
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
    with.log_.write(copy, at, std::move(bytes),
                    [self = shared_from_this(), length](Result<void> result) {
                      if (!result) return self->failed(result.error());
                      self->at += length;
                      self->copy_piece();
                    });
  }

  void finish_copy(std::uint64_t size) {
    // Programs went on writing: what they wrote since belongs to ours too.
    if (generation != inode->local.generation) return copy_all();
    SetAttributes change;
    change.size = size;
    change.mtime = TimeChange{false, inode->view().mtime};
    with.log_.set_attributes(copy, change, [](Result<void>) {});
    with.log_.flush([self = shared_from_this()](Result<void> result) {
      if (!result) return self->failed(result.error());
      if (self->generation != self->inode->local.generation) return self->copy_all();
      self->with.begun_.erase(self->inode);
      std::move(self->done)(Rescued{self->path, self->copy, self->missing_bytes});
    });
  }

  void failed(boost::system::error_code error) {
    spdlog::error("'{}' was changed here and by others, and ours could not be kept apart yet: {}",
                  path, error.message());
    std::move(done)(error);
  }
};

void Rescuer::rescue(const InodeRef& inode, const Attributes& base, Name name, Done done) {
  std::make_shared<Copying>(*this, inode, base, name, std::move(done))->begin();
}

}  // namespace rushfs::fs

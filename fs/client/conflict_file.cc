#include "fs/client/conflict_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <type_traits>

namespace rushfs::fs {

namespace {

constexpr int kMostAttempts = 100;

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

void ConflictFile::restore(const BegunCopy& begun) {
  file_ = known_.inodes().get(begun.node);
  if (!file_->known()) restore_base(*file_, begun.base);
  if (file_->name.empty()) {
    const std::string path = known_.inodes().path(*inode_);
    file_->name = path.substr(0, path.rfind('/') + 1) + begun.name;
    file_->parent = kRootNode;
  }
  name_ = begun.name;
  recorded_ = true;
}

void ConflictFile::prepare(Ready ready) {
  ready_ = std::move(ready);
  path_ = known_.inodes().path(*inode_);
  if (!file_) return find_folder();
  if (!recorded_) return record();
  look(0);
}

void ConflictFile::find_folder() {
  const auto slash = path_.rfind('/');
  if (slash == std::string::npos) return in_folder(root());
  auto found = [self = shared_from_this()](Result<NodeNumber> number) {
    if (number) return self->in_folder(self->known_.inodes().find(*number));
    // Their removal may have taken the folder with it.
    const int error = number.error().value();
    const bool gone = error == ENOENT || error == ENOTDIR || error == ESTALE;
    gone ? self->in_folder(self->root()) : self->fail(error);
  };
  questions_.find_path(path_.substr(0, slash), std::move(found));
}

void ConflictFile::in_folder(InodeRef folder) {
  folder_ = std::move(folder);
  if (file_) return give_name();
  const auto view = inode_->view();
  make(CreateUnnamed{{}, folder_->node, Caller{view.uid, view.gid, 0}, view.mode & 07777});
}

template <class Request>
void ConflictFile::make(Request request) {
  constexpr bool unnamed = std::is_same_v<Request, CreateUnnamed>;
  ask(
      parts_.remote, Priority::urgent, std::move(request),
      [self = shared_from_this(), instance = known_.instance()](Result<Answer<EntryReply>> answer) {
        if (answer) return self->made(answer->reply, !unnamed, instance);
        const int error = answer.error().value();
        const bool taken = error == EEXIST && ++self->attempt_ < kMostAttempts;
        if (taken || (unnamed && error == EOPNOTSUPP)) return self->make_with_name();
        if (self->folder_gone(error)) return self->in_folder(self->root());
        self->fail(error);
      },
      Patience::patient);
}

void ConflictFile::make_with_name() {
  const auto view = inode_->view();
  choose_name();
  make(Create{{},
              folder_->node,
              name_,
              Caller{view.uid, view.gid, 0},
              view.mode & 07777,
              true,
              false,
              false});
}

void ConflictFile::choose_name() {
  name_ = name_of_copy(path_, host_, parts_.time, attempt_);
}

bool ConflictFile::folder_gone(int error) const {
  return (error == ESTALE || error == ENOENT) && folder_ != root();
}

void ConflictFile::made(const EntryReply& made, bool with_name,
                        std::optional<InstanceId> instance) {
  file_ = known_.inodes().get(made.entry.node);
  known_.learn_made(*file_, made.entry.attributes);
  file_->made_at = instance;
  file_->content.disk_known = true;
  file_->held = !with_name;
  if (with_name) {
    has_name(made);
  } else {
    choose_name();
  }
  record();
}

// Before anything of it is sent: who finds a part of ours there must know that it is one.
void ConflictFile::record() {
  const BegunCopy begun{file_->node, name_, encode_base(*file_, false)};
  parts_.queue_loop.run(
      [&queue = parts_.queue, node = inode_->node.bytes, base = encode_base(*inode_, begun)] {
        return queue.replace_bases(std::array{cache::WriteQueue::NewBase{node, base}});
      },
      [self = shared_from_this()](Result<void> result) {
        if (!result) return self->finish(result.error());
        self->recorded_ = true;
        if (self->named_) return self->finish(Content::none);
        self->give_name();
      });
}

void ConflictFile::give_name() {
  ask(
      parts_.remote, Priority::urgent, Link{{}, file_->node, folder_->node, name_},
      [self = shared_from_this()](Result<Answer<EntryReply>> answer) {
        if (answer) {
          self->known_.renamed(*self->file_, answer->reply.entry.attributes);
          self->has_name(answer->reply);
          return self->finish(Content::none);
        }
        const int error = answer.error().value();
        if (error == EEXIST && ++self->attempt_ < kMostAttempts) {
          self->choose_name();
          return self->record();
        }
        if (error == ESTALE || error == ENOENT) return self->look(error);
        self->fail(error);
      },
      Patience::patient);
}

void ConflictFile::has_name(const EntryReply& made) {
  known_.directory_changed(folder_, made.directory);
  known_.name_made(folder_, name_, made.entry);
  named_ = true;
}

// Whether it has got its name, or is still there at all. `refused`: why it could not get it.
void ConflictFile::look(int refused) {
  ask(
      parts_.remote, Priority::urgent, GetAttributes{file_->node},
      [self = shared_from_this(), refused](Result<Answer<AttributesReply>> answer) {
        const int error = answer ? 0 : answer.error().value();
        if (error != 0 && error != ESTALE) return self->fail(error);
        self->looked(answer ? &answer->reply.attributes : nullptr, refused);
      },
      Patience::patient);
}

void ConflictFile::looked(const Attributes* found, int refused) {
  if (found == nullptr && file_->local.operations == 0) {
    file_ = nullptr;
    recorded_ = named_ = false;
    return find_folder();
  }
  if (found == nullptr || found->links > 0) {
    if (found != nullptr && file_->server.links == 0) known_.renamed(*file_, *found);
    named_ = true;
    return finish(Content::perhaps);
  }
  if (!folder_) return find_folder();
  if (folder_gone(refused)) return in_folder(root());
  if (refused != 0) return fail(refused);
  give_name();
}

}  // namespace rushfs::fs

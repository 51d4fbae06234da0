// Space and holes: allocated, punched and looked for by programs of the model.
#include <fcntl.h>

#include <algorithm>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

constexpr std::uint64_t kDiskBlock = 4096, kMaxCells = 40, kMaxBlocks = 4;

/// Each byte from `from` to before `to` was zero, or behind the end, at some moment.
struct Hole {
  bool operator()(const FileState&, const std::string& bytes) {
    had += "\n  could be " + brief(bytes);
    sizes.push_back(bytes.size());
    bool all = true;
    for (std::size_t i = 0; i < zero.size(); ++i) {
      const auto at = from + i;
      zero[i] = zero[i] || at >= bytes.size() || bytes[at] == '\0';
      all = all && zero[i];
    }
    return all;
  }

  Hole(std::uint64_t begin, std::uint64_t end) : from(begin), zero(end > begin ? end - begin : 0) {}
  const std::uint64_t from;
  std::vector<bool> zero;
  std::vector<std::uint64_t> sizes;
  std::string had;
};

}  // namespace

/// In the first block mostly, so that changes meet.
std::uint64_t PromisesModel::some_offset() {
  const bool far = chance_.below(favourite_ == Subject::space ? 2 : 16) == 0;
  return (far ? chance_.below(kMaxBlocks) * kDiskBlock : 0) + chance_.below(kMaxCells) * kCell;
}

void PromisesModel::use_space(std::size_t program) {
  Program& who = programs_[program];
  if (!who.file) return open(program);
  if (chance_.below(2) == 0 || !who.file->write) return seek(program);
  allocate(program);
}

void PromisesModel::allocate(std::size_t program) {
  Program& who = programs_[program];
  const auto file = *who.file;
  OwnChange change{.kind = OwnChange::Kind::clear};
  change.offset = some_offset();
  change.size = (1 + chance_.below(kMaxCells)) * kCell;
  if (chance_.below(2) == 0) {  // whole blocks
    change.offset = chance_.below(kMaxBlocks) * kDiskBlock;
    change.size = (1 + chance_.below(2)) * kDiskBlock;
  }
  const auto offset = change.offset, length = change.size;
  std::uint32_t mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const auto what = chance_.below(4);
  if (what == 1) mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  if (what == 2) {
    mode = 0;
    change.kind = OwnChange::Kind::grow;
    change.size += change.offset;
  } else if (what == 3) {
    mode = FALLOC_FL_KEEP_SIZE;
    change.size = 0;  // nothing to be seen
  }
  const auto id = mount(who).begin(file.key, std::move(change), now());
  call<void>(program,
             {"fallocate " + about(file.key) + std::to_string(mode) + ", " +
                  std::to_string(length) + " at " + std::to_string(offset),
              [&](auto reply) {
                volume(who).allocate(file.handle, mode, offset, length, std::move(reply));
              },
              [this, program, file, id](const auto& result, const auto& asked) {
                const auto client = programs_[program].client;
                mount(programs_[program]).finish(file.key, id, result.has_value());
                asked_of_server_[client].try_emplace(file.key, asked.when);
                if (result) return;
                if (result.error().value() == ETIMEDOUT) {
                  unanswered_.insert(client);
                }
                check_file_error(program, "fallocate", result.error().value(), file.key, asked);
              }});
}

/// What is called a hole must hold nothing: who copies files leaves it out.
void PromisesModel::seek(std::size_t program) {
  Program& who = programs_[program];
  const auto file = *who.file;
  const bool data = chance_.below(2) == 0;
  const auto offset = some_offset();
  call<std::uint64_t>(
      program,
      {std::string("seek ") + about(file.key) + (data ? "data" : "a hole") + " from " +
           std::to_string(offset),
       [&](auto reply) {
         volume(who).seek(file.handle, offset, data ? fs::Seek::data : fs::Seek::hole,
                          std::move(reply));
       },
       [this, program, file, offset, data](const auto& result, const auto& asked) {
         Program& seeker = programs_[program];
         if (seeker.file && seeker.file->elsewhere) return;
         const bool none = !result && result.error().value() == ENXIO;
         if (!result && !none) {
           return check_file_error(program, "seek", result.error().value(), file.key, asked);
         }
         const std::uint64_t end = kMaxBlocks * 2 * kDiskBlock, at = none ? end : *result;
         Hole hole(data || none ? offset : at, data || none ? at : at + kCell);
         const bool fits = mount(seeker).may_show(file.key, asked, now(), std::ref(hole)) ||
                           (!data && std::ranges::count(hole.sizes, at) > 0);
         expect(at >= offset && fits, "Space and holes",
                (none ? "nothing" : data ? "data" : "a hole") + std::string(" at ") +
                    std::to_string(at) + " from " + std::to_string(offset) + hole.had);
       }});
}

}  // namespace rushfs::sim

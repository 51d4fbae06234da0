// Copies that the server makes, from and to files with changes in the queue.
#include <algorithm>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

constexpr std::size_t kMaxCells = 40;

}  // namespace

/// From a file that another program of the mount has open.
void PromisesModel::copy(std::size_t program) {
  Program& who = programs_[program];
  if (!who.file) return open(program);
  std::vector<std::size_t> sources;
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    const Program& other = programs_[i];
    const bool open = other.client == who.client && other.file && !other.file->elsewhere;
    if (open && !other.locker && other.file->key != who.file->key) sources.push_back(i);
  }
  const bool busy = std::ranges::any_of(programs_, [&](const Program& other) {
    return other.busy && other.client == who.client && other.file &&
           other.file->key == who.file->key;
  });
  if (sources.empty() || busy || !who.file->write) return read(program);
  const std::size_t source = sources[chance_.below(sources.size())];
  copy(program, source, {some_offset(), some_offset(), (1 + chance_.below(kMaxCells)) * kCell});
}

void PromisesModel::copy(std::size_t program, std::size_t source, CopySpan span) {
  Program& who = programs_[program];
  const OpenFile from = *programs_[source].file, to = *who.file;
  const auto id = mount(who).begin(to.key, {.kind = OwnChange::Kind::copy}, now());
  call<std::uint64_t>(
      program,
      {"copy to " + about(to.key) + std::to_string(span.length) + " at " +
           std::to_string(span.to) + " from " + about(from.key) + std::to_string(span.from),
       [&](auto reply) {
         volume(who).copy_range(from.handle, span.from, to.handle, span.to, span.length,
                                std::move(reply));
       },
       [this, program, source, from, to, span, id](const auto& result, const auto& asked) {
         MountModel& own = mount(programs_[program]);
         own.finish(to.key, id, result.has_value());
         // The time of the call: it may have happened before a power cut, and be answered after it.
         asked_of_server_[programs_[program].client].try_emplace(to.key, asked.when);
         if (programs_[program].file->elsewhere) return;
         if (result) {
           const auto state = copied(own, from.key, to.key, span, *result, asked);
           expect(state.has_value(), "Copies", std::to_string(*result) + " bytes were copied to #" +
                                                   std::to_string(to.key.inode) +
                                                   " that the source never had");
           if (state) own.made(to.key, id, *state);
           return;
         }
         const int error = result.error().value();
         const auto& still = programs_[source].file;  // the kernel copies by reading and writing
         const bool closed = !still || still->handle != from.handle || still->elsewhere;
         const bool removed = was_removed(from.key) || was_removed(to.key);
         const bool cut = own.cut_since(asked.when);
         const bool right = error == EXDEV ? closed || removed || cut : error == ESTALE && removed;
         if (!right) check_file_error(program, "copy", error, to.key, asked);
       }});
}

/// The state of the target in which it shows what the source had.
std::optional<std::size_t> PromisesModel::copied(const MountModel& own, const FileKey& from,
                                                 const FileKey& to, const CopySpan& span,
                                                 std::uint64_t count,
                                                 const MountModel::Asked& asked) const {
  const auto& states = history_.file(to);
  const auto [first, last] = states_within(states, asked.when, now());
  for (std::size_t i = first; i <= last; ++i) {
    if (!states[i].bytes) return i;
    const auto& target = *states[i].bytes;
    const std::string part = span.to < target.size() ? target.substr(span.to, count) : "";
    const bool had = own.may_show(from, asked, now(), [&](const auto&, const auto& bytes) {
      return part == (span.from < bytes.size() ? bytes.substr(span.from, span.length) : "");
    });
    if (had && part.size() == count) return i;
  }
  return std::nullopt;
}

/// "so does closing a file that was copied into when the server's machine was restarted in between"
bool PromisesModel::may_have_lost_copy(const Program& who, const FileKey& key) const {
  const auto& copies = asked_of_server_[who.client];
  const auto when = copies.find(key);
  return when != copies.end() && power_cut_ && *power_cut_ >= when->second;
}

}  // namespace rushfs::sim

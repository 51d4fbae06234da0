// What a program does next.
#include <algorithm>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

/// A program of this mount does what begins like that.
bool PromisesModel::in_use(std::size_t client, const std::string& beginning) const {
  return std::any_of(programs_.begin(), programs_.end(), [&](const Program& program) {
    return program.busy && program.client == client && program.does.starts_with(beginning);
  });
}

/// A kernel lets one program at a time change the names in a folder, while none looks them up.
bool PromisesModel::names_in_use(std::size_t client, bool to_change) const {
  return std::any_of(programs_.begin(), programs_.end(), [&](const Program& program) {
    if (!program.busy || program.client != client) return false;
    const auto does = program.does.substr(0, program.does.find(' '));
    if (does == "lookup") return to_change;
    return does == "create" || does == "mkdir" || does == "link" || does == "rename" ||
           does == "unlink" || does == "rmdir" || does == "symlink";
  });
}

/// Each seed has a favourite, so that some get far into corners of one subject.
PromisesModel::Subject PromisesModel::some_subject(const Program& who) {
  if (chance_.below(4) == 0) return favourite_;
  const auto what = chance_.below(16);
  if (what == 0) return Subject::attributes;
  if (what == 1) return Subject::space;
  if (what == 2) return Subject::copies;
  const std::size_t of_names = who.file ? 4 : 11;
  return what <= of_names ? Subject::names : Subject::bytes;
}

void PromisesModel::act(std::size_t program) {
  Program& who = programs_[program];
  if (who.locker) return act_locked(program);
  if (who.file && who.file->elsewhere) return close(program);
  // A kernel lets nobody change what is being copied to.
  if (who.file && in_use(who.client, "copy to " + about(who.file->key))) return;
  switch (some_subject(who)) {
    case Subject::bytes: return use_bytes(program);
    case Subject::names: return use_names(program);
    case Subject::attributes: return use_attributes(program);
    case Subject::space: return use_space(program);
    case Subject::copies: return copy(program);
  }
}

void PromisesModel::use_bytes(std::size_t program) {
  Program& who = programs_[program];
  if (!who.file && chance_.below(3) == 0) return stat(program);
  if (!who.file) return open(program);
  switch (chance_.below(12)) {
    case 0: case 1: case 2: case 3: return read(program);
    case 4: case 5: case 6: case 7: return write(program);
    case 8: return truncate(program);
    case 9: return sync(program);
    default: return close(program);
  }
}

void PromisesModel::use_names(std::size_t program) {
  Program& who = programs_[program];
  const auto name = some_name(program);
  const auto what = chance_.below(18);
  if (what >= 8 && names_in_use(who.client, true)) return look_up(program, name);
  switch (what) {
    case 0: case 1: case 2: return look_up(program, name);
    case 3: return read_symlink(program);
    case 4: return list(program);
    case 5: return chance_.below(4) == 0 ? wait(program) : look_up(program, name);
    case 6: case 7: return enter(program);
    case 8: case 9: case 10: return who.file ? close(program) : create(program, name);
    case 11: return remove(program, name, false);
    case 12: return rename(program, name, some_name(program));
    case 13: return link(program, name);
    case 14: return make_directory(program, "d" + std::to_string(chance_.below(2)));
    case 15: case 16: return make_symlink(program, name);
    default: return remove(program, "d" + std::to_string(chance_.below(2)), true);
  }
}

}  // namespace rushfs::sim

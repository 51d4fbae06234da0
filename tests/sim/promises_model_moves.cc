// Renames of every kind, and symlinks, by programs of the model.
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

constexpr const char* kTrue = "Tenets: What you were told is true";

std::optional<FileKey> named_in(const FolderState& folder, const std::string& name) {
  const auto found = folder.names.find(name);
  return found == folder.names.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

/// From one of these states of the target's folder to the next it was carried out, or nothing had
/// to be done.
bool PromisesModel::renamed(const Rename& what, const FolderState* before,
                            const FolderState& after) const {
  const auto has = named_in(after, what.to);
  if (!has) return false;
  const bool one_folder = what.from_folder == what.to_folder;
  const bool one_file = one_folder && named_in(after, what.from) == has;
  if (one_file && what.mode != fs::RenameMode::no_replace) return true;
  const auto had = before ? named_in(*before, what.to) : std::nullopt;
  if (what.mode == fs::RenameMode::no_replace && had) return false;
  const bool exchanges = what.mode == fs::RenameMode::exchange;
  if (exchanges && !had) return false;
  if (exchanges && one_folder && named_in(after, what.from) != had) return false;
  const auto& source = history_.folder(what.from_folder);
  return std::any_of(source.begin(), source.end(), [&](const FolderState& state) {
    if (named_in(state, what.from) != has) return false;
    return had != has || state.names.contains(what.to) || what.from == what.to;
  });
}

void PromisesModel::rename(std::size_t program, const std::string& from, const std::string& to) {
  Program& who = programs_[program];
  const bool up = chance_.below(3) == 0;  // out of its folder
  const auto mode = std::array{fs::RenameMode::replace, fs::RenameMode::replace,
                               fs::RenameMode::no_replace,
                               fs::RenameMode::exchange}[chance_.below(4)];
  const auto target = up ? fs::kRootNode : who.folder;
  const Rename asked_for{mode, who.folder_key, up ? history_.root() : who.folder_key, from, to};
  call<void>(
      program,
      {"rename " + from + " to " + (up ? "/" : "") + to +
           (mode == fs::RenameMode::exchange     ? ", exchange"
            : mode == fs::RenameMode::no_replace ? ", if there is none"
                                                 : ""),
       [&](auto reply) {
         volume(who).rename(who.folder, from, target, to, mode, std::move(reply));
       },
       [this, program, asked_for](const auto& result, const auto& asked) {
         Program& mover = programs_[program];
         const auto& [how, from_folder, to_folder, old_name, new_name] = asked_for;
         if (!result) {
           const int error = result.error().value();
           if (error == ENOTEMPTY || error == EISDIR || error == ENOTDIR) return;
           const bool about_target =
               error == EEXIST || (error == ENOENT && how == fs::RenameMode::exchange);
           const bool right = about_target && happened(to_folder, asked.when,
                                                       [&](const auto*, const auto& state) {
                                                         return state.names.contains(new_name) ==
                                                                (error == EEXIST);
                                                       });
           if (right) return;
           return check_name_error(program, "rename", error, asked, old_name);
         }
         const auto state = happened(to_folder, asked.when,
                                     [&](const FolderState* before, const FolderState& after) {
                                       return renamed(asked_for, before, after);
                                     });
         expect(state.has_value(), kTrue,
                "rename of " + old_name + " to " + new_name + " did not happen");
         if (state) mount(mover).named(to_folder, new_name, *state);
       }});
}

void PromisesModel::make_symlink(std::size_t program, const std::string& name) {
  Program& who = programs_[program];
  const auto target = cell(next_tag(who.client));
  call<fs::NodeReference>(
      program,
      {"symlink " + name,
       [&](auto reply) {
         volume(who).symlink(who.folder, name, fs::Caller{0, 0, 022}, target, std::move(reply));
       },
       [this, program, name](const auto& result, const auto& asked) {
         Program& maker = programs_[program];
         if (!result) {
           return check_name_error(program, "symlink", result.error().value(), asked, name);
         }
         const auto key = key_of(result->attributes);
         const auto state = happened(maker.folder_key, asked.when,
                                     [&](const FolderState*, const FolderState& folder) {
                                       return named_in(folder, name) == key;
                                     });
         expect(state.has_value(), kTrue, "symlink of " + name + " did not happen");
         if (state) mount(maker).named(maker.folder_key, name, *state);
         volume(maker).forget(result->number, 1);
       }});
}

void PromisesModel::read_symlink(std::size_t program) {
  Program& who = programs_[program];
  if (!who.found || !S_ISLNK(who.found->attributes.mode)) {
    return look_up(program, some_name(program));
  }
  const auto key = key_of(who.found->attributes);
  call<std::string>(
      program,
      {"readlink " + about(key),
       [&](auto reply) { volume(who).read_link(who.found->number, std::move(reply)); },
       [this, program, key](const auto& result, const auto& asked) {
         if (!result) {
           return check_file_error(program, "readlink", result.error().value(), key, asked);
         }
         const auto& states = history_.file(key);
         const bool had = std::any_of(states.begin(), states.end(), [&](const FileState& state) {
           return state.bytes && *state.bytes == *result;
         });
         expect(had, "What others change", "a symlink leads to " + brief(*result));
       }});
}

}  // namespace rushfs::sim

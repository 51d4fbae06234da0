// Names: found, made, changed and listed, by programs of the model.
#include <sys/stat.h>

#include <algorithm>

#include "tests/sim/promises_model.h"
#include "tests/fs/open_or_create.h"

namespace rushfs::sim {

namespace {

constexpr const char* kOwn = "What a program sees of its own changes";
constexpr const char* kOthers = "What others change";
constexpr const char* kTrue = "Tenets: What you were told is true";

}  // namespace

std::string PromisesModel::some_name(std::size_t program) {
  const auto number = chance_.below(6);
  const std::string own =
      options_.apart ? std::string(1, static_cast<char>('a' + programs_[program].client)) : "";
  if (number == 5 && !options_.apart) return "d" + std::to_string(chance_.below(2));
  return own + "f" + std::to_string(number);
}

std::optional<std::size_t> PromisesModel::happened(
    const FileKey& folder, TimePoint from,
    const std::function<bool(const FolderState*, const FolderState&)>& it) const {
  const auto& states = history_.folder(folder);
  if (states.empty()) return std::nullopt;
  const auto [first, last] = states_within(states, from, now());
  for (std::size_t i = first; i <= last; ++i) {
    if (it(i > 0 ? &states[i - 1] : nullptr, states[i])) return i;
  }
  return std::nullopt;
}

void PromisesModel::look_up(std::size_t program, const std::string& name) {
  Program& who = programs_[program];
  if (names_in_use(who.client, false)) return;
  const auto folder = who.folder_key;
  const auto least = mount(who).named_state(folder, name);
  call<fs::NodeReference>(
      program,
      {"lookup " + name,
       [&](auto reply) { volume(who).lookup(who.folder, name, std::move(reply)); },
       [this, program, name, folder, least](const auto& result, const auto& asked) {
         Program& asker = programs_[program];
         if (!result) return check_name_error(program, "lookup", result.error().value(), asked,
             name);
         const bool there = result->number.value != 0;
         const auto& states = history_.folder(folder);
         const auto [first, last] =
             states_within(states, mount(asker).oldest(asked.when), now());
         bool fits = false;
         for (std::size_t i = std::max(first, least); i <= last; ++i) {
           const auto found = states[i].names.find(name);
           fits = fits || (found == states[i].names.end()
                               ? !there
                               : there && found->second == key_of(result->attributes));
         }
         const bool own = !fits && least > first;
         expect(fits, own ? kOwn : kOthers,
                "lookup of " + name + (there ? " found something else" : " found nothing"));
         if (asker.found) volume(asker).forget(asker.found->number, 1);
         asker.found.reset();
         if (!there) return;
         asker.found = *result;
         note(asker.client, "     it is #" + std::to_string(result->attributes.inode));
         check_attributes(program, result->attributes, key_of(result->attributes), asked,
                          "lookup of " + name);
       }});
}

void PromisesModel::enter(std::size_t program) {
  Program& who = programs_[program];
  if (options_.apart) return look_up(program, some_name(program));
  if (who.folder != fs::kRootNode) {
    who.folder = fs::kRootNode;
    who.folder_key = history_.root();
    return;
  }
  if (who.found && S_ISDIR(who.found->attributes.mode)) {
    who.folder = who.found->number;
    who.folder_key = key_of(who.found->attributes);
    who.found.reset();  // the reference is the folder's now
    return;
  }
  look_up(program, "d" + std::to_string(chance_.below(2)));
}

// What a change of names may be answered: the error that the server's own disk would give.
void PromisesModel::check_name_error(std::size_t program, const std::string& what, int error,
                                     const MountModel::Asked& asked, const std::string& name) {
  Program& who = programs_[program];
  const auto folder = who.folder_key;
  const auto has = [&](bool there) {
    return happened(folder, asked.when, [&](const FolderState*, const FolderState& state) {
             return state.names.contains(name) == there;
           }).has_value();
  };
  const bool gone = happened(folder, asked.when, [](const FolderState*, const FolderState& state) {
                      return state.gone;
                    }).has_value();
  const bool removed = who.found && history_.file(key_of(who.found->attributes)).empty() == false &&
                       history_.file(key_of(who.found->attributes)).back().links == 0;
  bool right = false;
  // "Where our removal ended with an error, it counts as theirs."
  if (error == ETIMEDOUT && (what == "unlink" || what == "rename")) unanswered_.insert(who.client);
  switch (error) {
    case ETIMEDOUT: right = mount(who).cut_since(asked.when); break;
    case ENOENT: right = has(false) || gone || removed; break;
    case EEXIST: right = has(true); break;
    case ESTALE: right = gone || removed; break;
    case EISDIR: case ENOTDIR: case ENOTEMPTY: right = has(true) && !options_.apart; break;
    case ELOOP: right = has(true); break;
    case EINVAL: case EPERM: right = !options_.apart; break;
    default: break;
  }
  expect(right, "Tenets: An error is the one a local disk would give",
         what + " of " + name + " failed: " + std::strerror(error));
  if (gone) {
    who.folder = fs::kRootNode;
    who.folder_key = history_.root();
  }
}

void PromisesModel::create(std::size_t program, const std::string& name) {
  Program& who = programs_[program];
  const bool exclusive = chance_.below(2) == 0, append = chance_.below(5) == 0;
  const fs::OpenFlags flags{.read = true, .write = true, .append = append, .exclusive = exclusive};
  call<fs::Created>(
      program,
      {"create " + name,
       [&](auto reply) {
         fs::test::open_or_create(volume(who), who.folder, name, flags, 0644, std::move(reply));
       },
       [this, program, name, append](const auto& result, const auto& asked) {
         Program& maker = programs_[program];
         if (!result) return check_name_error(program, "create", result.error().value(), asked,
             name);
         const auto key = key_of(result->found.attributes);
         const auto state = happened(maker.folder_key, asked.when,
                                     [&](const FolderState*, const FolderState& folder) {
                                       const auto found = folder.names.find(name);
                                       return found != folder.names.end() && found->second == key;
                                     });
         expect(state.has_value(), kTrue, "create of " + name + " did not happen");
         if (state) mount(maker).named(maker.folder_key, name, *state);
         maker.file =
             OpenFile{result->opened.handle, key, true, append, false, result->found.number};
         note(maker.client, "     it is #" + std::to_string(key.inode));
       }});
}

void PromisesModel::make_directory(std::size_t program, const std::string& name) {
  Program& who = programs_[program];
  if (options_.apart || who.folder != fs::kRootNode) return look_up(program, some_name(program));
  call<fs::NodeReference>(
      program,
      {"mkdir " + name,
       [&](auto reply) {
         volume(who).make_directory(who.folder, name, fs::Caller{0, 0, 022}, 0755,
                                    std::move(reply));
       },
       [this, program, name](const auto& result, const auto& asked) {
         Program& maker = programs_[program];
         if (!result) return check_name_error(program, "mkdir", result.error().value(), asked,
             name);
         const auto key = key_of(result->attributes);
         const auto state = happened(maker.folder_key, asked.when,
                                     [&](const FolderState*, const FolderState& folder) {
                                       const auto found = folder.names.find(name);
                                       return found != folder.names.end() && found->second == key;
                                     });
         expect(state.has_value(), kTrue, "mkdir of " + name + " did not happen");
         if (state) mount(maker).named(maker.folder_key, name, *state);
         volume(maker).forget(result->number, 1);
       }});
}

void PromisesModel::link(std::size_t program, const std::string& name) {
  Program& who = programs_[program];
  if (!who.found || !S_ISREG(who.found->attributes.mode)) return look_up(program, name);
  const auto key = key_of(who.found->attributes);
  call<fs::NodeReference>(
      program,
      {"link " + name,
       [&](auto reply) {
         volume(who).link(who.found->number, who.folder, name, std::move(reply));
       },
       [this, program, name, key](const auto& result, const auto& asked) {
         Program& maker = programs_[program];
         if (!result) return check_name_error(program, "link", result.error().value(), asked, name);
         const auto state = happened(maker.folder_key, asked.when,
                                     [&](const FolderState*, const FolderState& folder) {
                                       const auto found = folder.names.find(name);
                                       return found != folder.names.end() && found->second == key;
                                     });
         expect(state.has_value(), kTrue, "link to " + name + " did not happen");
         if (state) mount(maker).named(maker.folder_key, name, *state);
         volume(maker).forget(result->number, 1);
       }});
}

void PromisesModel::remove(std::size_t program, const std::string& name, bool directory) {
  Program& who = programs_[program];
  const std::string what = directory ? "rmdir" : "unlink";
  call<void>(program,
             {what + " " + name,
              [&](auto reply) {
                if (directory) {
                  volume(who).remove_directory(who.folder, name, std::move(reply));
                } else {
                  volume(who).unlink(who.folder, name, std::move(reply));
                }
              },
              [this, program, name, what](const auto& result, const auto& asked) {
                Program& remover = programs_[program];
                if (!result) {
                  return check_name_error(program, what, result.error().value(), asked, name);
                }
                const auto state = happened(
                    remover.folder_key, asked.when,
                    [&](const FolderState* before, const FolderState& after) {
                      if (before == nullptr) return false;
                      const auto had = before->names.find(name), has = after.names.find(name);
                      return had != before->names.end() &&
                             (has == after.names.end() || has->second != had->second);
                    });
                expect(state.has_value(), kTrue, what + " of " + name + " did not happen");
                if (state) mount(remover).named(remover.folder_key, name, *state);
              }});
}

void PromisesModel::list(std::size_t program) {
  Program& who = programs_[program];
  const auto folder = who.folder_key;
  const auto least = mount(who).named_state(folder);
  auto handle = std::make_shared<fs::HandleNumber>();
  volume(who).open_directory(who.folder, [handle](fs::Result<fs::HandleNumber> opened) {
    if (opened) *handle = *opened;
  });
  if (handle->value == 0) return;
  call<fs::Listed>(
      program,
      {"list",
       [&](auto reply) { volume(who).read_directory(*handle, 0, std::move(reply)); },
       [this, program, folder, least, handle](const auto& result, const auto& asked) {
         Program& lister = programs_[program];
         volume(lister).release_directory(*handle);
         if (!result) return check_name_error(program, "list", result.error().value(), asked, "");
         std::set<std::string> names;
         for (std::size_t i = result->first; i < result->page->size(); ++i) {
           names.insert((*result->page)[i].name);
         }
         names.erase(".");
         names.erase("..");
         const auto& states = history_.folder(folder);
         const auto [first, last] =
             states_within(states, mount(lister).oldest(asked.when), now());
         bool fits = false;
         for (std::size_t i = std::max(first, least); i <= last; ++i) {
           fits = fits || std::equal(names.begin(), names.end(), states[i].names.begin(),
                                     states[i].names.end(), [](const auto& seen, const auto& had) {
                                       return seen == had.first;
                                     });
         }
         // Without a link: what it was when it was listed, with our own changes since.
         if (mount(lister).cut_since(asked.when)) {
           fits = std::all_of(names.begin(), names.end(), [&](const std::string& name) {
             return std::any_of(states.begin(), states.end(), [&](const FolderState& state) {
               return state.names.contains(name);
             });
           });
         }
         std::string all;
         for (const auto& name : names) all += " " + name;
         expect(fits, kOthers, "a listing shows what never was:" + all);
       }});
}

}  // namespace rushfs::sim

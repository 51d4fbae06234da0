// Extended attributes: set, removed, read and listed by programs of the model.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

constexpr const char* kAttributes = "Extended attributes and ACLs";
/// More than any disk is sure to have room for: such a value does not go through the queue.
constexpr std::size_t kLargeValue = 160 * kCell;

}  // namespace

/// Of the file that is open, or was found.
void PromisesModel::use_attributes(std::size_t program) {
  Program& who = programs_[program];
  const bool known = who.file || (who.found && S_ISREG(who.found->attributes.mode));
  if (!known) return look_up(program, some_name(program));
  const auto node = who.file ? who.file->node : who.found->number;
  FileKey key = who.file ? who.file->key : key_of(who.found->attributes);
  const auto what = chance_.below(5);
  if (what == 0) return list_attributes(program, node, key);
  key.attribute = kXattrs[chance_.below(kXattrs.size())];
  // A kernel lets one program at a time set attributes of a file.
  const bool busy = in_use(who.client, "setxattr " + about(key));
  if (what < 3 || busy) return get_attribute(program, node, key);
  set_attribute(program, node, key);
}

void PromisesModel::set_attribute(std::size_t program, fs::NodeNumber node, const FileKey& key) {
  Program& who = programs_[program];
  OwnChange change{.kind = OwnChange::Kind::replace};
  const bool remove = chance_.below(4) == 0;
  if (remove) {
    change.kind = OwnChange::Kind::resize;
  } else {
    change.tag = next_tag(who.client);
    change.bytes = cell(change.tag);
    if (chance_.below(6) == 0) change.bytes.resize(kLargeValue, '.');
  }
  const auto value = remove ? std::nullopt : std::optional(change.bytes);
  const auto modes = std::array{fs::XattrMode::any, fs::XattrMode::any, fs::XattrMode::create,
                                fs::XattrMode::replace};
  const auto mode = modes[remove ? 0 : chance_.below(modes.size())];
  const std::string what = "setxattr " + about(key) + key.attribute + " " +
                           (remove ? "removes it" : std::to_string(change.tag));
  const auto id = mount(who).begin(key, std::move(change), now());
  call<void>(
      program,
      {what,
       [&](auto reply) {
         volume(who).set_xattr(node, key.attribute, value, mode, std::move(reply));
       },
       [this, program, key, id](const auto& result, const auto& asked) {
         Program& setter = programs_[program];
         const int error = result ? 0 : result.error().value();
         if (error != EEXIST && error != ENODATA) {
           mount(setter).finish(key, id, error == 0);
           if (error != 0) check_file_error(program, "setxattr", error, key, asked);
           return;
         }
         mount(setter).refused(key, id);
         const bool fits = mount(setter).may_show(
             key, asked, now(), [&](const FileState&, const std::string& bytes) {
               return bytes.empty() == (error == ENODATA);
             });
         expect(fits, kAttributes, "setxattr of " + key.attribute + " failed: " +
                                       std::strerror(error));
       }});
}

void PromisesModel::get_attribute(std::size_t program, fs::NodeNumber node, const FileKey& key) {
  Program& who = programs_[program];
  call<std::string>(
      program,
      {"getxattr " + about(key) + key.attribute,
       [&](auto reply) { volume(who).get_xattr(node, key.attribute, std::move(reply)); },
       [this, program, key](const auto& result, const auto& asked) {
         Program& asker = programs_[program];
         if (asker.file && asker.file->elsewhere) return;
         const int error = result ? 0 : result.error().value();
         if (error != 0 && error != ENODATA) {
           return check_file_error(program, "getxattr", error, key, asked);
         }
         const std::string seen = result ? *result : "";
         std::string had;
         const bool fits = mount(asker).may_show(
             key, asked, now(), [&](const FileState&, const std::string& bytes) {
               had += " '" + brief(bytes) + "'";
               return bytes == seen;
             });
         expect(fits, kAttributes,
                key.attribute + " is '" + brief(seen) + "'; could be" + had);
       }});
}

void PromisesModel::list_attributes(std::size_t program, fs::NodeNumber node,
                                    const FileKey& file) {
  Program& who = programs_[program];
  call<std::vector<std::string>>(
      program,
      {"listxattr " + about(file),
       [&](auto reply) { volume(who).list_xattrs(node, std::move(reply)); },
       [this, program, file](const auto& result, const auto& asked) {
         Program& asker = programs_[program];
         if (asker.file && asker.file->elsewhere) return;
         if (!result) {
           return check_file_error(program, "listxattr", result.error().value(), file, asked);
         }
         for (const std::string& name : kXattrs) {
           const bool listed = std::count(result->begin(), result->end(), name) == 1;
           const bool fits = mount(asker).may_show(
               {file.inode, name}, asked, now(),
               [&](const FileState&, const std::string& bytes) { return bytes.empty() != listed; });
           expect(fits, kAttributes, (listed ? "a list names " : "a list lacks ") + name);
         }
       }});
}

}  // namespace rushfs::sim

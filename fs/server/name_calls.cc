#include "fs/server/name_calls.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cassert>

#include "fs/protocol/names.h"
#include "fs/server/held_files.h"

namespace rushfs::fs {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

/// What has the name now; none if nothing has.
Result<std::optional<Found>> look_up(const Store& store, const Node& directory,
                                     const std::string& name) {
  auto found = store.lookup(directory, name);
  if (found) return std::optional<Found>(std::move(*found));
  if (found.error() == errno_code(ENOENT)) return std::optional<Found>();
  return found.error();
}

std::optional<NodeId> id_of(const std::optional<Found>& found) {
  if (!found) return std::nullopt;
  return found->node->id();
}

/// One call being carried out. Each act() makes the change and encodes the answer.
class Acting {
 public:
  Acting(const Store& store, NameCall& call, StoreFile* file)
      : store_(store), call_(call), file_(file) {}

  NameOutcome take() && { return std::move(outcome_); }

  void act(const SetAttributes& request) {
    AttributeChanges changes{request.mode,  request.uid,   request.gid,        request.size,
                             request.atime, request.mtime, request.drop_set_id};
    changed(store_.set_attributes(node(0), file_, changes), request.size.has_value());
  }

  void act(const Create& request) {
    if (call_.first) return act_on_existing(request);
    auto made = store_.create({node(0), request.name, request.caller}, request.mode);
    if (!made && made.error() == errno_code(EEXIST) && look_again(request.name)) {
      return act_on_existing(request);
    }
    if (!made) return fail(made.error());
    outcome_.file = std::move(made->file);
    made_entry(std::move(made->found), false);
  }
  void act(const MakeDirectory& request) {
    made_entry(request.name, S_IFDIR,
               store_.make_directory({node(0), request.name, request.caller}, request.mode));
  }
  void act(const MakeNode& request) {
    made_entry(request.name, request.mode & S_IFMT,
               store_.make_node({node(0), request.name, request.caller}, request.mode,
                                request.device_major, request.device_minor));
  }
  void act(const Symlink& request) {
    made_entry(request.name, S_IFLNK,
               store_.symlink({node(0), request.name, request.caller}, request.target));
  }
  void act(const Link& request) {
    auto linked = store_.link(node(1), node(0), request.name);
    const bool ours = !linked && linked.error() == errno_code(EEXIST) && made_before() &&
                      call_.first && call_.first->node->id() == node(1).id();
    if (!linked && !ours) return fail(linked.error());
    if (call_.orphans[1]) store_.drop_orphan(orphan_name(node(1).id()));
    auto now = store_.attributes(node(1));
    if (!now) return fail(now.error());
    outcome_.touched.push_back({node(1).id(), *now});
    made_entry({call_.nodes[1], *now}, false);
  }

  void act(const Unlink& request) {
    if (!removed_before(call_.first, call_.intent.first)) {
      keep_if_last(call_.first);
      if (auto done = store_.unlink(node(0), request.name); !done) return fail(done.error());
      keep_no_longer_if_named(call_.first);
    }
    removed();
  }
  void act(const RemoveDirectory& request) {
    if (!removed_before(call_.first, call_.intent.first)) {
      if (auto done = store_.remove_directory(node(0), request.name); !done)
        return fail(done.error());
    }
    removed();
  }
  void act(const Rename& request) {
    if (!renamed_before(request)) {
      // A program on the server may have put something else there since we looked.
      if (!look_again(request.from_name)) return fail(errno_code(ENOENT));
      if (replaces(request.mode)) keep_if_last(call_.second);
      auto done = store_.rename(node(0), request.from_name, node(1), request.to_name, request.mode);
      if (!done) return fail(done.error());
      keep_no_longer_if_named(call_.second);
    } else {
      std::swap(call_.first, call_.second);  // as before the first attempt
    }
    auto from = change_of(0);
    auto to = from ? change_of(1) : std::nullopt;
    if (!to || !call_.first) return fail(errno_code(ENOENT));
    auto moved = still_there(*call_.first);
    if (!moved) return fail(errno_code(ESTALE));
    RenameReply reply{*from, *to, *moved, std::nullopt};
    outcome_.touched.push_back(*moved);
    if (call_.second) reply.replaced = still_there(*call_.second);
    if (reply.replaced) outcome_.touched.push_back(*reply.replaced);
    succeed(reply);
  }

  void act(const SetXattr& request) {
    auto done = store_.set_xattr(node(0), request.name, request.value, request.mode);
    const bool before =
        call_.interrupted && !done && done.error() == errno_code(request.value ? EEXIST : ENODATA);
    changed(before ? Result<void>() : done, false);
  }
  void act(const Allocate& request) {
    constexpr std::uint32_t kMoving = FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
    // Nobody knows whether it happened before the server was killed; twice would be wrong.
    if (call_.interrupted && (request.mode & kMoving) != 0) return fail(errno_code(EIO));
    changed(store_.allocate(*file_, request.mode, request.offset, request.length));
  }
  void act(const CopyRange& request) {
    auto from = store_.open(node(1), false);
    if (!from) return fail(from.error());
    auto copied =
        store_.copy_range(**from, request.from_offset, *file_, request.to_offset, request.length);
    if (!copied) return fail(copied.error());
    if (auto change = change_of(0)) succeed(CopyRangeReply{*copied, *change});
  }
  void act(const FileFlags& request) {
    auto flags = store_.file_flags(node(0), request.set);
    if (!flags) return fail(flags.error());
    if (auto change = change_of(0)) succeed(FileFlagsReply{*flags, *change});
  }
  void act(const CreateUnnamed& request) {
    auto made = store_.create_unnamed(node(0), request.caller, request.mode);
    if (!made) return fail(made.error());
    outcome_.file = std::move(made->file);
    const std::string name = orphan_name(made->found.node->id());
    if (store_.keep_orphan(*made->found.node, name)) outcome_.orphan = name;
    made_entry(std::move(made->found), false);
  }

  template <class Other>
  void act(const Other&) {
    assert(false && "not a call that changes names");
  }

 private:
  const Node& node(std::size_t index) const { return *call_.nodes[index]; }

  void fail(boost::system::error_code error) {
    if (!outcome_.orphan.empty()) store_.drop_orphan(outcome_.orphan);
    outcome_.orphan.clear();
    outcome_.reply = encode_error(error.value());
  }
  template <class Reply>
  void succeed(const Reply& reply) {
    outcome_.changed = true;
    outcome_.reply = encode_reply(reply);
  }

  void changed(const Result<void>& done, bool content = true) {
    if (!done) return fail(done.error());
    auto change = change_of(0);
    if (change && !content) outcome_.touched.push_back({node(0).id(), change->after});
    if (change) succeed(ChangeReply{*change});
  }
  /// None: failed.
  std::optional<Change> change_of(std::size_t index) {
    auto after = visible_attributes(store_, node(index), call_.orphans[index]);
    if (!after) {
      fail(after.error());
      return std::nullopt;
    }
    return Change{call_.before[index].version, *after};
  }

  // A repeated call finds what its first attempt made, where nothing was before it.
  bool made_before() const { return call_.interrupted && !call_.intent.first; }
  /// ... or finds nothing, or something newer, where what it was to remove had been.
  bool removed_before(const std::optional<Found>& now, const std::optional<NodeId>& then) const {
    return call_.interrupted && then && id_of(now) != then;
  }
  bool renamed_before(const Rename& request) const {
    if (!call_.interrupted || !call_.intent.first || id_of(call_.second) != call_.intent.first) {
      return false;
    }
    if (request.mode == RenameMode::exchange) return id_of(call_.first) == call_.intent.second;
    return id_of(call_.first) != call_.intent.first;
  }

  bool look_again(const std::string& name) {
    auto now = look_up(store_, node(0), name);
    if (now) call_.first = std::move(*now);
    return call_.first.has_value();
  }

  void act_on_existing(const Create& request) {
    const bool ours = made_before() && call_.first->node->type() == S_IFREG;
    if (request.exclusive && !ours) return fail(errno_code(EEXIST));
    const std::uint32_t type = call_.first->node->type();
    if (type == S_IFDIR) return fail(errno_code(EISDIR));
    if (type == S_IFLNK) return fail(errno_code(ELOOP));
    if (request.truncate && type == S_IFREG && !ours) {
      auto opened = store_.open(*call_.first->node, true);
      if (!opened) return fail(opened.error());
      AttributeChanges changes;
      changes.size = 0;
      changes.drop_set_id = request.caller.uid != 0;
      auto done = store_.set_attributes(*call_.first->node, opened->get(), changes);
      if (!done) return fail(done.error());
      outcome_.file = std::move(*opened);
    }
    auto now = store_.attributes(*call_.first->node);
    if (!now) return fail(now.error());
    made_entry({call_.first->node, *now}, !ours);
  }

  void made_entry(const std::string& name, std::uint32_t type, Result<Found> made) {
    const bool ours = !made && made.error() == errno_code(EEXIST) && made_before() &&
                      look_again(name) && call_.first->node->type() == type;
    if (!made && !ours) return fail(made.error());
    made_entry(made ? std::move(*made) : std::move(*call_.first), false);
  }
  void made_entry(Found found, bool existed) {
    auto directory = change_of(0);
    if (!directory) return;
    succeed(EntryReply{{found.node->id(), found.attributes}, existed, *directory});
    outcome_.found.push_back(std::move(found));
  }

  void keep_if_last(const std::optional<Found>& losing) {
    if (!call_.keep || !losing) return;
    const auto now = store_.attributes(*losing->node);
    if (!now || now->links != 1) return;
    const std::string name = orphan_name(losing->node->id());
    auto kept = store_.keep_orphan(*losing->node, name);
    if (kept || kept.error() == errno_code(EEXIST)) outcome_.orphan = name;
  }
  // A program on the server gave the name to another file in the last moment.
  void keep_no_longer_if_named(const std::optional<Found>& losing) {
    if (outcome_.orphan.empty() || !losing) return;
    const auto now = store_.attributes(*losing->node);
    if (!now || now->links <= 1) return;
    store_.drop_orphan(outcome_.orphan);
    outcome_.orphan.clear();
  }

  /// As it is after it lost a name; none: it is gone for good.
  std::optional<Entry> still_there(const Found& found) const {
    const bool orphan =
        call_.keep && !outcome_.orphan.empty() && orphan_name(found.node->id()) == outcome_.orphan;
    auto now = visible_attributes(store_, *found.node, orphan);
    if (!now || (now->links == 0 && !call_.keep)) return std::nullopt;
    return Entry{found.node->id(), *now};
  }
  void removed() {
    auto directory = change_of(0);
    if (!directory) return;
    RemoveReply reply{*directory, std::nullopt};
    const bool was_there = call_.first && id_of(call_.first) == call_.intent.first;
    if (was_there && call_.first->node->type() != S_IFDIR)
      reply.removed = still_there(*call_.first);
    if (reply.removed) outcome_.touched.push_back(*reply.removed);
    succeed(reply);
  }

  const Store& store_;
  NameCall& call_;
  StoreFile* file_;
  NameOutcome outcome_;
};

}  // namespace

int bad_name(const std::string& name) {
  if (name.empty()) return ENOENT;
  return leads_away(name) ? EINVAL : 0;
}

Result<Attributes> visible_attributes(const Store& store, const Node& node, bool orphan) {
  auto attributes = store.attributes(node);
  if (attributes && orphan && attributes->links > 0) --attributes->links;
  return attributes;
}

std::vector<NodeId> needed_nodes(const Request& request) {
  return std::visit(Overloaded{[](const CopyRange& r) {
                                 return std::vector<NodeId>{r.to, r.from};
                               },
                               [](const Link& r) {
                                 return std::vector<NodeId>{r.directory, r.node};
                               },
                               [](const Rename& r) {
                                 return std::vector<NodeId>{r.from_directory, r.to_directory};
                               },
                               [](const auto& r) {
                                 if constexpr (requires { r.directory; })
                                   return std::vector<NodeId>{r.directory};
                                 else if constexpr (requires { r.node; })
                                   return std::vector<NodeId>{r.node};
                                 else
                                   return std::vector<NodeId>{};
                               }},
                    request);
}

const CallNumber& call_number(const Request& request) {
  static const CallNumber kNone;
  return std::visit(
      [](const auto& r) -> const CallNumber& {
        if constexpr (requires { r.call; }) return r.call;
        if constexpr (requires { r.order; }) return std::get<CallNumber>(r.order);
        return kNone;
      },
      request);
}

bool needs_file(const Request& request) {
  const auto* change = std::get_if<SetAttributes>(&request);
  return (change != nullptr && change->size) || std::holds_alternative<Write>(request) ||
         std::holds_alternative<Append>(request) || std::holds_alternative<Allocate>(request) ||
         std::holds_alternative<CopyRange>(request);
}

const Found* loser(const NameCall& call) {
  const std::optional<Found>* losing = nullptr;
  if (std::holds_alternative<Unlink>(call.request)) losing = &call.first;
  const auto* rename = std::get_if<Rename>(&call.request);
  if (rename != nullptr && replaces(rename->mode)) losing = &call.second;
  if (losing == nullptr || !*losing || (*losing)->node->type() != S_IFREG) return nullptr;
  // Renaming a file over another name of itself removes neither (rename(2)).
  if (rename != nullptr && id_of(call.first) == id_of(call.second)) return nullptr;
  return &**losing;
}

bool wants_hold(const Request& request) {
  if (const auto* unlink = std::get_if<Unlink>(&request)) return unlink->hold;
  if (const auto* rename = std::get_if<Rename>(&request)) return rename->hold_replaced;
  return false;
}

Result<void> look(const Store& store, NameCall& call) {
  for (std::size_t i = 0; i < call.nodes.size(); ++i) {
    auto before = visible_attributes(store, *call.nodes[i], call.orphans[i]);
    if (!before) return before.error();
    call.before.push_back(std::move(*before));
  }
  const auto take = [&](std::size_t directory, const std::string& name,
                        std::optional<Found>& into) -> int {
    if (const int error = bad_name(name)) return error;
    auto found = look_up(store, *call.nodes[directory], name);
    if (!found) return found.error().value();
    into = std::move(*found);
    return 0;
  };
  const int error =
      std::visit(Overloaded{[&](const Rename& r) {
                              const int first = take(0, r.from_name, call.first);
                              return first != 0 ? first : take(1, r.to_name, call.second);
                            },
                            [&](const auto& r) {
                              if constexpr (requires {
                                              r.directory;
                                              r.name;
                                            })
                                return take(0, r.name, call.first);
                              else
                                return 0;
                            }},
                 call.request);
  if (error != 0) return errno_code(error);
  if (!call.interrupted) call.intent = {id_of(call.first), id_of(call.second)};
  return boost::system::in_place_value;
}

NameOutcome act(const Store& store, NameCall& call, StoreFile* file) {
  Acting acting(store, call, file);
  std::visit([&](const auto& request) { acting.act(request); }, call.request);
  return std::move(acting).take();
}

}  // namespace rushfs::fs

// Telling clients of changes that others made: docs/file-protocol.md, "Notices".
#include <spdlog/spdlog.h>

#include <algorithm>

#include "fs/server/export_implementation.h"

namespace rushfs::fs {

std::uint64_t Export::Implementation::listen(const ClientTag& client, std::uint64_t features) {
  promises_.end(client);
  if ((features & kNotices) == 0 || options_.beside_another) return 0;
  return kNotices | (disk_ ? features & kDiskNotices : 0);
}

void Export::Implementation::promise(const ClientTag& client, const Job& job) {
  if (job.error != 0) return;
  for (const Job::Want& want : job.wants) promises_.promise(client, want.id, job.asked);
  for (const NodeId& node : job.shown) promises_.promise(client, node, job.asked);
}

void Export::Implementation::add_untold_to(Job& job, const ClientTag& client) const {
  if (job.reply.front() != 0) return;
  const auto untold = promises_.untold(client, job.wants[0].id, job.asked);
  if (untold) add_untold(job.reply, *untold);
}

/// An old answer tells of the files as they were, perhaps on a former connection. That they may
/// have changed since is told at once.
void Export::Implementation::promise_again(const ClientTag& client, const Request& request,
                                           const Buffer& bytes) {
  std::vector<NodeId> nodes = needed_nodes(request);
  const auto add = [&](const auto& entry) { nodes.push_back(entry.node); };
  std::visit(
      [&](const auto& asked) {
        const auto reply = decode_reply<typename std::decay_t<decltype(asked)>::Reply>(bytes);
        if (!reply) return;
        if constexpr (requires { reply->entry.node; }) add(reply->entry);
        if constexpr (requires { reply->moved.node; }) add(reply->moved);
        if constexpr (requires { reply->removed->node; }) {
          if (reply->removed) add(*reply->removed);
        }
        if constexpr (requires { reply->replaced->node; }) {
          if (reply->replaced) add(*reply->replaced);
        }
      },
      request);
  for (const NodeId& node : nodes) {
    promises_.promise(client, node, promises_.clock());
    promises_.changed(node, std::nullopt);
  }
}

/// What a call that succeeded has changed: the names, the folders they are in, and what they name.
/// Its caller is told of them as they were at `asked` or later.
void Export::Implementation::names_changed(const NameCall& call, const NameOutcome& outcome,
                                           const RequestContext& context, std::uint64_t asked) {
  // Who gave the call up does not see its answer.
  const bool given_up = context.cancelled && *context.cancelled;
  const auto by = given_up ? std::nullopt : std::optional(context.client);
  const auto file_changed = [&](const NodeId& node) {
    const auto touched = std::ranges::find(outcome.touched, node, &Entry::node);
    by&& touched != outcome.touched.end() ? promises_.changed(node, *by, {}, touched->attributes)
                                          : promises_.changed(node, by);
  };
  for (const auto* found : {&call.first, &call.second}) {
    if (*found && (*found)->node) file_changed((*found)->node->id());
  }
  if (const auto* rename = std::get_if<Rename>(&call.request)) {
    promises_.changed(rename->from_directory, by, rename->from_name);
    promises_.changed(rename->to_directory, by, rename->to_name);
  } else {
    std::visit(
        [&](const auto& request) {
          if constexpr (requires {
                          request.directory;
                          request.name;
                        }) {
            promises_.changed(request.directory, by, request.name);
          } else if constexpr (requires { request.node; }) {
            file_changed(request.node);
          } else if constexpr (requires { request.to; }) {
            promises_.changed(request.to, by);
          }
          if constexpr (std::is_same_v<std::decay_t<decltype(request)>, Link>) {
            file_changed(request.node);
          }
        },
        call.request);
  }
  for (const NodeRef& node : call.nodes) promises_.promise(context.client, node->id(), asked);
  for (const auto* found : {&call.first, &call.second}) {
    if (*found && (*found)->node) promises_.promise(context.client, (*found)->node->id(), asked);
  }
  for (const Found& found : outcome.found)
    promises_.promise(context.client, found.node->id(), asked);
}

void Export::Implementation::on_notice(Tell tell, Later later) {
  tell_ = std::move(tell);
  later_ = std::move(later);
  resting_ = false;
}

void Export::Implementation::tell() {
  if (!tell_) return;
  auto all = promises_.due();
  for (Promises::Due& due : all) tell_(due.client, encode(due.notice));
  if (all.empty() || std::exchange(resting_, true)) return;
  later_(kBetweenNotices, [this] {
    resting_ = false;
    promises_.rested();
    tell();
  });
}

void Export::Implementation::notice_answered(const ClientTag& client) {
  promises_.answered(client);
  tell();
}

void Export::Implementation::watch_disk() {
  auto watch = store_->watch();
  if (watch) {
    disk_ = std::move(*watch);
  } else {
    spdlog::info("export {}: changes by programs on this machine are seen within a second: {}",
                 options_.name, watch.error().message());
  }
}

std::optional<int> Export::Implementation::disk_descriptor() const {
  return disk_ ? std::optional<int>(disk_->descriptor()) : std::nullopt;
}

void Export::Implementation::look_at_disk() {
  if (!disk_) return;
  const auto changes = disk_->take();
  if (!changes) promises_.changed_everything();
  if (changes) {
    for (const StoreChange& change : *changes) {
      promises_.changed(change.node, std::nullopt, change.name);
    }
  }
  tell();
}

}  // namespace rushfs::fs

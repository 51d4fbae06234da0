// Queued changes: held back until their turn, then applied in runs, one node at a time.
#include <fcntl.h>

#include <algorithm>
#include <limits>

#include "fs/posix_acl.h"
#include "fs/server/export_implementation.h"

namespace rushfs::fs {
namespace {

/// What a worker makes of a run of operations on one node.
struct Applied {
  std::vector<Buffer> replies;  // one per operation; a failed one ends the run
  std::uint64_t through = 0;    // last operation that took effect
  Attributes after;             // then
  bool failed = false;
  bool lost = false;  // what was written before may not reach the disk
};

/// Each kind of queued operation, carried out. `file`: open for writing where needs_file() says so.
struct ApplyOne {
  const Store& store;
  const Node& node;
  StoreFile* file;
  std::optional<std::uint64_t>& appended_at;

  Result<void> operator()(const Write& write) const {
    return store.write(*file, write.offset, write.data, write.drop_set_id);
  }
  Result<void> operator()(const SetAttributes& change) const {
    return store.set_attributes(node, file,
                                {change.mode, change.uid, change.gid, change.size, change.atime,
                                 change.mtime, change.drop_set_id});
  }
  Result<void> operator()(const SetXattr& change) const {
    const auto done = store.set_xattr(node, change.name, change.value, change.mode);
    // It may be gone since this was done the first time.
    const bool gone = !change.value && !done && done.error().value() == ENODATA;
    return gone ? Result<void>() : done;
  }
  Result<void> operator()(const Allocate& change) const {
    return store.allocate(*file, change.mode, change.offset, change.length);
  }
  Result<void> operator()(const Append& append) const {
    auto offset = store.append(*file, append);
    if (!offset) return offset.error();
    appended_at = *offset;
    return boost::system::in_place_value;
  }
  template <class Other>
  Result<void> operator()(const Other&) const {
    return errno_code(EINVAL);
  }
};

/// The success of a queued operation. `appended_at`: of an append, where that is known.
Buffer reply_to(const Request& request, const Change& change,
                std::optional<std::uint64_t> appended_at) {
  if (std::holds_alternative<Append>(request)) {
    return encode_reply(AppendReply{change, appended_at});
  }
  return encode_reply(ChangeReply{change});  // WriteReply is laid out alike
}

Result<void> apply_one(const Store& store, Job& job, const Request& request,
                       std::optional<std::uint64_t>& appended_at) {
  const Node& node = *job.nodes[0];
  if (needs_file(request) && !job.writing) {
    auto opened = store.open(node, true);
    if (!opened) return opened.error();
    job.writing = std::move(*opened);
  }
  return std::visit(ApplyOne{store, node, job.writing.get(), appended_at}, request);
}

/// So much written in a run goes to the disk at once: the commit that will come finds little left.
constexpr std::uint64_t kWriteOut = 1 << 20;

/// What the writes of a run cover.
struct Written {
  std::uint64_t begin = std::numeric_limits<std::uint64_t>::max(), end = 0;
  void add(const Write& write) {
    begin = std::min(begin, write.offset);
    end = std::max(end, write.offset + write.data.size());
  }
  bool worth_writing_out() const { return end > begin && end - begin >= kWriteOut; }
};

/// The parts of the file in which a run changes what was there; what it adds behind the end shows
/// in the size. None: there are changes that cannot be told so.
std::optional<Spans> parts_changed(const std::vector<QueuedOperation>& run) {
  Spans parts;
  for (const auto& [position, request, body, respond] : run) {
    if (const auto* write = std::get_if<Write>(&request)) {
      parts.add(write->offset, write->offset + write->data.size());
    } else if (const auto* set = std::get_if<SetAttributes>(&request)) {
      if (set->size) return std::nullopt;
    } else if (!std::holds_alternative<Append>(request)) {
      return std::nullopt;
    }
  }
  return parts;
}

void apply_run(const Store& store, Job& job, const std::vector<QueuedOperation>& run,
               Applied& out) {
  Written written;
  auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
  for (const QueuedOperation& operation : run) {
    const Version before = attributes ? attributes->version : Version();
    std::optional<std::uint64_t> appended_at;
    auto done = attributes ? apply_one(store, job, operation.request, appended_at)
                           : Result<void>(attributes.error());
    if (done) attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
    if (!done || !attributes) {
      out.replies.push_back(encode_error(done ? attributes.error().value() : done.error().value()));
      out.failed = true;
      return;
    }
    out.through = operation.position.sequence;
    out.after = *attributes;
    if (const auto* write = std::get_if<Write>(&operation.request)) written.add(*write);
    out.replies.push_back(reply_to(operation.request, {before, *attributes}, appended_at));
  }
  if (written.worth_writing_out()) {
    out.lost = !store.write_out(*job.writing, written.begin, written.end - written.begin);
  }
}

}  // namespace

void Export::Implementation::on(RequestContext context, Write& request, Buffer body,
                                Responder respond) {
  if (request.data.size() > options_.max_write) return std::move(respond)(encode_error(EINVAL));
  queue(std::move(context), request.position, request, std::move(body), std::move(respond));
}

void Export::Implementation::on(RequestContext context, Append& request, Buffer body,
                                Responder respond) {
  if (request.data.size() > options_.max_write) return std::move(respond)(encode_error(EINVAL));
  queue(std::move(context), request.position, request, std::move(body), std::move(respond));
}

void Export::Implementation::on(RequestContext context, SetAttributes& request, Buffer body,
                                Responder respond) {
  call_or_queue(std::move(context), request, std::move(body), std::move(respond));
}

void Export::Implementation::on(RequestContext context, SetXattr& request, Buffer body,
                                Responder respond) {
  if (!may_be_set(request.name)) return std::move(respond)(encode_error(EOPNOTSUPP));
  call_or_queue(std::move(context), request, std::move(body), std::move(respond));
}

void Export::Implementation::on(RequestContext context, Allocate& request, Buffer body,
                                Responder respond) {
  // Moving what follows is no change that can be repeated after a restart.
  constexpr std::uint32_t kMoving = FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
  const bool queued = std::holds_alternative<QueuePosition>(request.order);
  if (queued && (request.mode & kMoving) != 0) return std::move(respond)(encode_error(EINVAL));
  call_or_queue(std::move(context), request, std::move(body), std::move(respond));
}

template <class R>
void Export::Implementation::call_or_queue(RequestContext context, R& request, Buffer body,
                                           Responder respond) {
  const auto* position = std::get_if<QueuePosition>(&request.order);
  if (position == nullptr) {
    return names(std::move(context), Request(std::move(request)), std::move(respond));
  }
  queue(std::move(context), *position, request, std::move(body), std::move(respond));
}

template <class R>
void Export::Implementation::queue(RequestContext context, const QueuePosition& position,
                                   R& request, Buffer body, Responder respond) {
  const NodeId node = request.node;
  QueuedOperation operation{position, Request(), std::move(body), std::move(respond)};
  operation.request = std::move(request);
  queue(std::move(context), node, std::move(operation));
}

void Export::Implementation::queue(RequestContext context, const NodeId& node,
                                   QueuedOperation operation) {
  if (context.read_only || options_.read_only) {
    return std::move(operation.respond)(encode_error(EROFS));
  }
  const QueuePosition& position = operation.position;
  if (position.sequence == 0 || position.after >= position.sequence) {
    return std::move(operation.respond)(encode_error(EINVAL));
  }
  switch (clients_[context.client].order.arrive(node, operation)) {
    case WriteOrder::Arrival::queued:
      return pump(context.client, node);
    case WriteOrder::Arrival::too_many:
      return std::move(operation.respond)(encode_error(EAGAIN));
    case WriteOrder::Arrival::applied_before:
      break;
  }
  answer_applied(node, std::move(operation));
}

/// An operation that took effect before is answered with the file as it is now.
void Export::Implementation::answer_applied(const NodeId& node, QueuedOperation operation) {
  RequestContext context;
  context.priority = Priority::behind;
  answer(
      context, node,
      [request = std::move(operation.request)](const Store& store, Job& job) {
        auto now = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        job.reply = now ? reply_to(request, {now->version, *now}, std::nullopt)
                        : encode_error(now.error().value());
      },
      std::move(operation.respond));
}

void Export::Implementation::pump(const ClientTag& tag, const NodeId& node) {
  const auto client = clients_.find(tag);
  if (client == clients_.end()) return;
  const bool one_more = !unsynced_.contains(node);
  if (one_more && !room_for_unsynced()) {
    if (!runs_held_back_.emplace(tag, node).second) return;
    return hold_back(tag, [this, tag, node] {
      runs_held_back_.erase({tag, node});
      pump(tag, node);
    });
  }
  auto run = client->second.order.next(node);
  if (run.empty()) return;
  if (one_more) ++coming_;
  gates_.enter({node},
               [this, tag, node, one_more, run = std::move(run)](std::uint64_t pass) mutable {
                 apply(tag, node, std::move(run), pass, one_more);
               });
}

void Export::Implementation::apply(const ClientTag& tag, const NodeId& node,
                                   std::vector<QueuedOperation> operations, std::uint64_t pass,
                                   bool one_more) {
  auto batch = std::make_shared<std::vector<QueuedOperation>>(std::move(operations));
  auto applied = std::make_shared<Applied>();
  const auto parts = parts_changed(*batch);
  promises_.changing(node, parts);
  run(
      {Priority::behind, tag.key()}, job_on({node}),
      [batch, applied](const Store& store, Job& job) { apply_run(store, job, *batch, *applied); },
      [this, tag, node, pass, one_more, batch, applied, parts,
       before = options_.instance](Job& job) {
        const bool replaced = before != options_.instance;  // meanwhile: it was another disk
        if (job.error == 0 && parts && !applied->failed) {
          promises_.changed(node, tag, *parts, applied->after);
        } else if (job.error == 0) {
          promises_.changed(node, tag);  // what failed may have changed something
        }
        promises_.settled(node);
        gates_.leave(pass);
        if (one_more) --coming_;
        if (applied->through != 0 && job.writing && !replaced) now_unsynced(node);
        admit();
        promise(tag, job);
        if (job.error != 0) {
          applied->failed = true;
          applied->replies.push_back(job.reply);
        }
        for (std::size_t i = 0; i < batch->size(); ++i) {
          const bool reached = i < applied->replies.size();
          std::move((*batch)[i].respond)(reached ? std::move(applied->replies[i])
                                                 : encode_error(ECANCELED));
        }
        const auto client = clients_.find(tag);
        if (client == clients_.end() || replaced) return;
        auto undone = client->second.order.finished(node, applied->through, applied->failed);
        for (Responder& respond : undone.operations) std::move(respond)(encode_error(ECANCELED));
        for (auto& operation : undone.repeated) answer_applied(node, std::move(operation));
        for (auto& told : undone.waiters) std::move(told)();
        if (applied->lost) lost(node, EIO);
        pump(tag, node);
        tell();
      });
}

}  // namespace rushfs::fs

// Queued changes: held back until their turn, then applied in runs, one node at a time.
#include "fs/export_implementation.h"

namespace rushfs::fs {
namespace {

/// What a worker makes of a run of operations on one node.
struct Applied {
  std::vector<Buffer> replies;  // one per operation; a failed one ends the run
  std::uint64_t through = 0;    // last operation that took effect
  bool failed = false;
};

Result<void> apply_one(const Store& store, Job& job, const Request& request) {
  const Node& node = *job.nodes[0];
  const auto* write = std::get_if<Write>(&request);
  const auto* change = std::get_if<SetAttributes>(&request);
  const bool needs_file = write != nullptr || change->size.has_value();
  if (needs_file && !job.writing) {
    auto opened = store.open(node, true);
    if (!opened) return opened.error();
    job.writing = std::move(*opened);
  }
  if (write != nullptr) {
    return store.write(*job.writing, write->offset, write->data, write->drop_set_id);
  }
  return store.set_attributes(node, job.writing.get(),
                              {change->mode, change->uid, change->gid, change->size, change->atime,
                               change->mtime, change->drop_set_id});
}

void apply_run(const Store& store, Job& job, const std::vector<QueuedOperation>& run,
               Applied& out) {
  auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
  for (const QueuedOperation& operation : run) {
    const Version before = attributes ? attributes->version : Version();
    auto done =
        attributes ? apply_one(store, job, operation.request) : Result<void>(attributes.error());
    if (done) attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
    if (!done || !attributes) {
      out.replies.push_back(encode_error(done ? attributes.error().value() : done.error().value()));
      out.failed = true;
      return;
    }
    out.through = operation.position.sequence;
    const Change change{before, *attributes};
    out.replies.push_back(std::holds_alternative<Write>(operation.request)
                              ? encode_reply(WriteReply{change})
                              : encode_reply(ChangeReply{change}));
  }
}

}  // namespace

void Export::Implementation::on(RequestContext context, Write& request, Buffer body,
                                Responder respond) {
  if (request.data.size() > options_.max_write) return std::move(respond)(encode_error(EINVAL));
  const NodeId node = request.node;
  const QueuePosition position = request.position;
  queue(std::move(context), node,
        {position, Request(std::move(request)), std::move(body), std::move(respond)});
}

void Export::Implementation::on(RequestContext context, SetAttributes& request, Buffer body,
                                Responder respond) {
  const auto* position = std::get_if<QueuePosition>(&request.order);
  if (position == nullptr)
    return names(std::move(context), Request(std::move(request)), std::move(respond));
  const NodeId node = request.node;
  const QueuePosition place = *position;
  queue(std::move(context), node,
        {place, Request(std::move(request)), std::move(body), std::move(respond)});
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
  answer_applied(node, std::move(operation.respond));
}

/// An operation that took effect before is answered with the file as it is now.
void Export::Implementation::answer_applied(const NodeId& node, Responder respond) {
  RequestContext context;
  context.priority = Priority::behind;
  answer(
      context, node,
      [](const Store& store, Job& job) {
        auto now = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        // ChangeReply and WriteReply are laid out alike.
        job.reply = now ? encode_reply(ChangeReply{{now->version, *now}})
                        : encode_error(now.error().value());
      },
      std::move(respond));
}

void Export::Implementation::pump(const ClientTag& tag, const NodeId& node) {
  const auto client = clients_.find(tag);
  if (client == clients_.end()) return;
  auto run = client->second.order.next(node);
  if (run.empty()) return;
  gates_.enter({node},
               [self = shared_from_this(), tag, node, run = std::move(run)](
                   std::uint64_t pass) mutable { self->apply(tag, node, std::move(run), pass); });
}

void Export::Implementation::apply(const ClientTag& tag, const NodeId& node,
                                   std::vector<QueuedOperation> operations, std::uint64_t pass) {
  auto batch = std::make_shared<std::vector<QueuedOperation>>(std::move(operations));
  auto applied = std::make_shared<Applied>();
  run(
      Priority::behind, job_on({node}),
      [batch, applied](const Store& store, Job& job) { apply_run(store, job, *batch, *applied); },
      [self = shared_from_this(), tag, node, pass, batch, applied](Job& job) {
        self->gates_.leave(pass);
        if (job.error != 0) {
          applied->failed = true;
          applied->replies.push_back(job.reply);
        }
        for (std::size_t i = 0; i < batch->size(); ++i) {
          const bool reached = i < applied->replies.size();
          std::move((*batch)[i].respond)(reached ? std::move(applied->replies[i])
                                                 : encode_error(ECANCELED));
        }
        const auto client = self->clients_.find(tag);
        if (client == self->clients_.end()) return;
        auto undone = client->second.order.finished(node, applied->through, applied->failed);
        for (Responder& respond : undone.operations) std::move(respond)(encode_error(ECANCELED));
        for (Responder& respond : undone.repeated) self->answer_applied(node, std::move(respond));
        for (auto& waiter : undone.waiters) std::move(waiter)(false);
        self->pump(tag, node);
      });
}

}  // namespace rushfs::fs

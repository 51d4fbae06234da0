// Requests beyond names and bytes that change no file: extended attributes, holes, flags, locks.
#include "fs/server/export_implementation.h"

namespace rushfs::fs {

// The attributes are asked for first: if the file changes meanwhile, what is told with the older
// version is not taken for that of the newer.

void Export::Implementation::on(RequestContext context, ListXattrs& request, Buffer,
                                Responder respond) {
  answer(
      context, request.node,
      [](const Store& store, Job& job) {
        auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        if (failed(job, attributes)) return;
        auto xattrs = store.list_xattrs(*job.nodes[0]);
        if (failed(job, xattrs)) return;
        job.reply = encode_reply(ListXattrsReply{*attributes, std::move(*xattrs)});
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, GetXattr& request, Buffer,
                                Responder respond) {
  answer(
      context, request.node,
      [name = request.name](const Store& store, Job& job) {
        auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        if (failed(job, attributes)) return;
        auto value = store.get_xattr(*job.nodes[0], name);
        if (failed(job, value)) return;
        job.reply = encode_reply(GetXattrReply{*attributes, std::move(*value)});
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, DataRanges& request, Buffer,
                                Responder respond) {
  answer(
      context, request.node,
      [offset = request.offset, count = request.count](const Store& store, Job& job) {
        auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        if (failed(job, attributes)) return;
        // A descriptor of its own: looking for holes moves its position.
        auto file = store.open(*job.nodes[0], false);
        if (failed(job, file)) return;
        auto ranges = store.data_ranges(**file, offset, count);
        if (failed(job, ranges)) return;
        ranges->attributes = *attributes;
        job.reply = encode_reply(*ranges);
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, FileFlags& request, Buffer,
                                Responder respond) {
  if (request.set) return names(std::move(context), Request(request), std::move(respond));
  answer(
      context, request.node,
      [](const Store& store, Job& job) {
        auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        if (failed(job, attributes)) return;
        auto flags = store.file_flags(*job.nodes[0], std::nullopt);
        if (failed(job, flags)) return;
        job.reply = encode_reply(FileFlagsReply{*flags, {attributes->version, *attributes}});
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, Lock& request, Buffer, Responder respond) {
  locks_.lock(std::move(context), request, std::move(respond));
}

void Export::Implementation::on(RequestContext context, TestLock& request, Buffer,
                                Responder respond) {
  locks_.test(context, request, std::move(respond));
}

void Export::Implementation::on(RequestContext context, CancelLock& request, Buffer,
                                Responder respond) {
  locks_.cancel(context.client, request.ticket);
  std::move(respond)(encode_reply(EmptyReply{}));
}

/// With the attributes that whoever had the lock before left.
void Export::Implementation::answer_locked(const RequestContext& context, const LockRequest& lock,
                                           Responder respond) {
  const auto reply = std::make_shared<LockReply>();
  run(
      turn_of(context), job_on({lock.node}),
      [reply](const Store& store, Job& job) {
        auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        job.error = attributes ? 0 : attributes.error().value();
        if (attributes) reply->attributes = *attributes;
      },
      [this, client = context.client, lock, reply,
       respond = std::move(respond)](Job& job) mutable {
        if (job.error != 0) locks_.give_up(lock);
        promise(client, job);
        reply->notices = promises_.told_with(client);
        std::move(respond)(job.error == 0 ? encode_reply(*reply) : encode_error(job.error));
        tell();
      });
}

}  // namespace rushfs::fs

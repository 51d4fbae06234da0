// Requests that change nothing.
#include <sys/stat.h>

#include <algorithm>

#include "cache/zeros.h"
#include "fs/protocol/names.h"
#include "fs/server/export_implementation.h"

namespace rushfs::fs {
namespace {

/// On a worker: job.reading, opened if need be. False: job.reply is the error.
bool open_for_reading(const Store& store, Job& job) {
  if (job.reading) return true;
  auto opened = store.open(*job.nodes[0], false);
  if (failed(job, opened)) return false;
  job.reading = std::move(*opened);
  return true;
}

/// What was read, without zeros at its ends that are worth leaving out.
struct Trimmed {
  std::span<std::uint8_t> data;
  std::uint64_t zeros_before = 0, zeros_after = 0;  // the latter with the hole that may follow
};

Trimmed trim(const Store& store, StoreFile& file, std::uint64_t offset,
             std::span<std::uint8_t> read) {
  constexpr std::size_t kWorthIt = 4096;  // bytes; disks have no smaller holes
  Trimmed trimmed{read};
  std::size_t zeros = cache::leading_zeros(read);
  if (zeros >= kWorthIt && zeros < read.size()) {
    trimmed.zeros_before = zeros;
    trimmed.data = read.subspan(zeros);
  }
  zeros = cache::trailing_zeros(trimmed.data);
  if (zeros < kWorthIt) return trimmed;
  trimmed.data = trimmed.data.first(trimmed.data.size() - zeros);
  trimmed.zeros_after = zeros;
  const std::uint64_t end = offset + read.size();
  const auto data = store.next_data(file, end);
  if (data && *data > end) trimmed.zeros_after += *data - end;
  return trimmed;
}

/// Reads what the file has from `offset` on; `part` shrinks to it. False: job.reply is the error.
bool read_part(const Store& store, Job& job, std::uint64_t offset, Buffer& part) {
  if (part.empty()) return true;
  auto got = store.read(*job.reading, offset, part);
  if (failed(job, got)) return false;
  part.resize(*got);
  return true;
}

void open_with_parts(const Store& store, Job& job, std::uint32_t head_bytes,
                     std::uint32_t tail_bytes) {
  auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
  if (failed(job, attributes) || !open_for_reading(store, job)) return;
  const std::uint64_t size = attributes->size;
  Buffer head(std::min<std::uint64_t>(head_bytes, size));
  const std::uint64_t tail_offset =
      std::max<std::uint64_t>(head.size(), size - std::min<std::uint64_t>(tail_bytes, size));
  Buffer tail(tail_bytes == 0 ? 0 : size - tail_offset);
  if (!read_part(store, job, 0, head) || !read_part(store, job, tail_offset, tail)) return;
  const Trimmed first = trim(store, *job.reading, 0, head);
  const Trimmed last = trim(store, *job.reading, tail_offset, tail);
  const auto start = std::span(head).first(first.zeros_before + first.data.size());
  job.reply = encode_reply(OpenReply{*attributes, start, first.zeros_after,
                                     tail_offset + last.zeros_before, last.data});
}

void read_range(const Store& store, Job& job, std::uint64_t offset, std::uint32_t length) {
  if (!open_for_reading(store, job)) return;
  ReadReplyDraft draft = begin_read_reply(length);
  auto got = store.read(*job.reading, offset, draft.room());
  if (failed(job, got)) return;
  const Trimmed part = trim(store, *job.reading, offset, draft.room().first(*got));
  // After the data: a file that shrinks meanwhile is then not shown with the size it had.
  auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
  if (failed(job, attributes)) return;
  const bool end = *got < length || offset + *got >= attributes->size;
  const ReadReply reply{*attributes, end, part.data, part.zeros_before, part.zeros_after};
  job.reply = finish_read_reply(std::move(draft), reply);
}

}  // namespace

void Export::Implementation::on(RequestContext, Attach&, Buffer, Responder respond) {
  std::move(respond)(encode_error(EINVAL));  // ServerSessions answers it
}
void Export::Implementation::on(RequestContext, Measure&, Buffer, Responder respond) {
  std::move(respond)(encode_error(EINVAL));  // likewise
}

void Export::Implementation::on(RequestContext context, GetAttributes& request, Buffer,
                                Responder respond) {
  answer(
      context, request.node,
      [](const Store& store, Job& job) {
        auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        if (!failed(job, attributes)) job.reply = encode_reply(AttributesReply{*attributes});
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, Touch& request, Buffer,
                                Responder respond) {
  const bool read_only = context.read_only || options_.read_only;
  answer(
      context, request.node,
      [read_only](const Store& store, Job& job) {
        if (!read_only) store.touch(*job.nodes[0]);
        auto attributes = visible_attributes(store, *job.nodes[0], job.orphans[0]);
        if (!failed(job, attributes)) job.reply = encode_reply(AttributesReply{*attributes});
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, Lookup& request, Buffer,
                                Responder respond) {
  if (request.name == ".." && request.directory == context.root) request.name.pop_back();
  const bool dots = is_dots(request.name);
  if (const int error = bad_name(request.name); error != 0 && !dots) {
    return std::move(respond)(encode_error(error));
  }
  const NodeId directory = request.directory;
  answer(
      context, directory,
      [request = std::move(request), dots](const Store& store, Job& job) {
        auto found = store.lookup(*job.nodes[0], request.name);
        const bool absent = !found && found.error() == errno_code(ENOENT);
        if (!absent && failed(job, found)) return;
        auto now = visible_attributes(store, *job.nodes[0], false);
        if (failed(job, now)) return;
        LookupReply reply{std::nullopt, *now};
        if (found) {
          reply.entry = Entry{found->node->id(), found->attributes};
          if (!dots) job.names.push_back({request.directory, request.name, found->node->id()});
          job.shown.push_back(found->node->id());
          job.met.push_back(std::move(found->node));
        }
        job.reply = encode_reply(reply);
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, Readlink& request, Buffer,
                                Responder respond) {
  answer(
      context, request.node,
      [](const Store& store, Job& job) {
        auto target = store.readlink(*job.nodes[0]);
        if (failed(job, target)) return;
        auto attributes = visible_attributes(store, *job.nodes[0], false);
        if (failed(job, attributes)) return;
        job.reply = encode_reply(ReadlinkReply{std::move(*target), *attributes});
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, ReadDirectory& request, Buffer,
                                Responder respond) {
  const NodeId directory = request.directory;
  request.max_bytes = std::min(request.max_bytes, options_.max_read);
  answer(
      context, directory,
      [request = std::move(request)](const Store& store, Job& job) {
        auto listed = store.list(request, *job.nodes[0]);
        if (failed(job, listed)) return;
        for (const DirectoryEntry& entry : listed->entries) {
          if (entry.entry) job.shown.push_back(entry.entry->node);
        }
        if (store.needs_paths()) {
          for (const DirectoryEntry& entry : listed->entries) {
            if (entry.entry)
              job.names.push_back({request.directory, entry.name, entry.entry->node});
          }
        }
        job.reply = encode_reply(*listed);
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, StatFs& request, Buffer,
                                Responder respond) {
  answer(
      context, request.node,
      [](const Store& store, Job& job) {
        auto numbers = store.statfs(*job.nodes[0]);
        if (!failed(job, numbers)) job.reply = encode_reply(*numbers);
      },
      std::move(respond));
}

void Export::Implementation::on(RequestContext context, Open& request, Buffer, Responder respond) {
  if (std::uint64_t{request.head_bytes} + request.tail_bytes > options_.max_read) {
    return std::move(respond)(encode_error(EINVAL));
  }
  run(
      turn_of(context), job_on({request.node}),
      [head = request.head_bytes, tail = request.tail_bytes](const Store& store, Job& job) {
        open_with_parts(store, job, head, tail);
      },
      [this, by = holder(context.client), held = request.hold, client = context.client,
       respond = std::move(respond)](Job& job) mutable {
        const bool opened = job.error == 0 && job.reading;
        if (opened && held && !hold(by, job.nodes[0])) {
          job.reply = encode_error(ENFILE);
        }
        add_untold_to(job, client);
        promise(client, job);
        std::move(respond)(std::move(job.reply));
        tell();
      });
}

void Export::Implementation::on(RequestContext context, Release& request, Buffer,
                                Responder respond) {
  drop(held_.release(holder(context.client), request.node));
  std::move(respond)(encode_reply(EmptyReply{}));
}

void Export::Implementation::on(RequestContext context, Read& request, Buffer, Responder respond) {
  constexpr std::uint64_t kLargestOffset = std::numeric_limits<std::int64_t>::max();
  if (request.length > options_.max_read || request.offset > kLargestOffset - request.length) {
    return std::move(respond)(encode_error(EINVAL));
  }
  run(
      turn_of(context), job_on({request.node}),
      [cancelled = context.cancelled, offset = request.offset, length = request.length](
          const Store& store, Job& job) {
        if (cancelled && *cancelled) {
          job.reply = encode_error(ECANCELED);
        } else {
          read_range(store, job, offset, length);
        }
      },
      [this, client = context.client, respond = std::move(respond)](Job& job) mutable {
        add_untold_to(job, client);
        promise(client, job);
        std::move(respond)(std::move(job.reply));
        tell();
      });
}

}  // namespace rushfs::fs

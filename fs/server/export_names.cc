// Calls that happen once: look at the names on a worker, decide here who holds what, act on a
// worker, remember the answer.
#include "fs/server/export_implementation.h"

namespace rushfs::fs {
namespace {

/// What did not exist before the call, as its answer tells.
std::optional<NodeId> made_by(const Request& request, const Buffer& reply) {
  return std::visit(
      [&](const auto& call) -> std::optional<NodeId> {
        using Call = std::decay_t<decltype(call)>;
        if constexpr (std::is_same_v<typename Call::Reply, EntryReply> &&
                      !std::is_same_v<Call, Link>) {
          const auto made = decode_reply<EntryReply>(reply);
          if (made && !made->existed) return made->entry.node;
        }
        return std::nullopt;
      },
      request);
}

bool holds_what_it_makes(const Request& request) {
  const auto* create = std::get_if<Create>(&request);
  return create != nullptr ? create->hold : std::holds_alternative<CreateUnnamed>(request);
}

}  // namespace

struct Export::Implementation::Naming {
  RequestContext context;
  NameCall call;
  bool one_more = false;  // file that may become unsynced
  std::uint64_t pass = 0;
  std::shared_ptr<Job> job;
  CallName name;
  std::shared_ptr<ReplyFile> file;
  NameOutcome outcome;

  Holder holder() const { return {name.client, name.incarnation}; }
};

void Export::Implementation::names(RequestContext context, Request request, Responder respond) {
  if (context.read_only || options_.read_only) return std::move(respond)(encode_error(EROFS));
  const CallNumber number = call_number(request);
  if (number.number == 0) return std::move(respond)(encode_error(EINVAL));
  auto begun = replies_.begin(context.client, number, respond);
  switch (begun.state) {
    case ReplyLog::State::refused:
      return std::move(respond)(encode_error(EINVAL));
    case ReplyLog::State::answered:
      promise_again(context.client, request, begun.reply);
      std::move(respond)(std::move(begun.reply));
      return tell();
    case ReplyLog::State::running:
      return;
    case ReplyLog::State::former:
    case ReplyLog::State::fresh:
      break;
  }
  auto naming = std::make_shared<Naming>();
  naming->name = replies_.name(context.client, number.number);
  naming->file = replies_.file();
  naming->context = std::move(context);
  naming->call.request = std::move(request);
  naming->call.interrupted = begun.interrupted.has_value();
  if (begun.interrupted) naming->call.intent = *begun.interrupted;
  if (begun.state == ReplyLog::State::former) {
    naming->outcome.reply = std::move(begun.reply);
    return names_check(naming);
  }
  names_begin(naming);
}

/// What an earlier run of the server made and answered, a power cut may have taken.
void Export::Implementation::names_check(std::shared_ptr<Naming> naming) {
  const auto made = made_by(naming->call.request, naming->outcome.reply);
  if (!made) return names_answer_again(naming);
  run(
      turn_of(naming->context), job_on({*made}), [](const Store&, Job&) {},
      [this, naming](Job& job) {
        if (job.error != ESTALE) return names_answer_again(naming);
        naming->call.interrupted = false;  // what has the name now was made by somebody else
        names_begin(naming);
      });
}

void Export::Implementation::names_answer_again(std::shared_ptr<Naming> naming) {
  promise_again(naming->context.client, naming->call.request, naming->outcome.reply);
  names_answer(*naming);
}

void Export::Implementation::names_begin(std::shared_ptr<Naming> naming) {
  const Request& request = naming->call.request;
  naming->one_more = needs_file(request) && !unsynced_.contains(needed_nodes(request)[0]);
  if (naming->one_more && !room_for_unsynced()) {
    return hold_back(naming->context.client, [this, naming] { names_begin(naming); });
  }
  if (naming->one_more) ++coming_;
  gates_.enter(needed_nodes(naming->call.request), [this, naming](std::uint64_t pass) {
    naming->pass = pass;
    for (const NodeId& node : needed_nodes(naming->call.request)) {
      promises_.changing(node, std::nullopt);
    }
    names_look(naming);
  });
}

void Export::Implementation::names_look(std::shared_ptr<Naming> naming) {
  naming->job = job_on(needed_nodes(naming->call.request));
  naming->call.orphans = naming->job->orphans;
  run(
      turn_of(naming->context), naming->job,
      [naming](const Store& store, Job& job) {
        naming->call.nodes = job.nodes;
        if (auto looked = look(store, naming->call); !looked) {
          job.error = looked.error().value();
          job.reply = encode_error(job.error);
        }
      },
      [this, naming](Job& job) {
        if (job.error != 0) {
          naming->outcome.reply = std::move(job.reply);
          return names_end(naming);
        }
        names_act(naming);
      });
}

void Export::Implementation::names_act(std::shared_ptr<Naming> naming) {
  NameCall& call = naming->call;
  const ClientTag& client = naming->context.client;
  if (holds_what_it_makes(call.request) && held_.full_for(naming->holder())) {
    naming->outcome.reply = encode_error(ENFILE);
    return names_end(naming);
  }
  if (const Found* losing = loser(call)) {
    const NodeId& id = losing->node->id();
    if (wants_hold(call.request) && !hold(naming->holder(), losing->node)) {
      naming->outcome.reply = encode_error(ENFILE);
      return names_end(naming);
    }
    call.keep = held_.is_held(id);
  }
  replies_.intend(client, naming->name.number, call.intent);
  if (needs_file(call.request)) calls_.changed(client, call.nodes[0]->id());

  auto job = job_on(needed_nodes(call.request));
  run(
      turn_of(naming->context), job,
      [naming](const Store& store, Job& mine) {
        NameCall& acting = naming->call;
        if (needs_file(acting.request) && !mine.writing) {
          auto opened = store.open(*mine.nodes[0], true);
          if (!opened) {
            naming->outcome.reply = encode_error(opened.error().value());
            return;
          }
          mine.writing = std::move(*opened);
        }
        if (naming->file) naming->file->intend(naming->name, acting.intent);
        naming->outcome = act(store, acting, mine.writing.get());
        if (naming->file) naming->file->answer(naming->name, naming->outcome.reply);
      },
      [this, naming](Job& mine) {
        if (mine.error != 0) naming->outcome.reply = std::move(mine.reply);
        names_end(naming);
      });
}

void Export::Implementation::names_end(std::shared_ptr<Naming> naming) {
  NameCall& call = naming->call;
  NameOutcome& outcome = naming->outcome;
  if (naming->one_more) --coming_;
  if (outcome.changed) {
    for (const Found& found : outcome.found) {
      nodes_.put(found.node->id(), found.node);
      names_synced_.erase(found.node->id());
    }
    if (outcome.file) keep_writing(outcome.found[0].node->id(), outcome.file);
    if (needs_file(call.request)) {
      calls_.changed(naming->context.client, call.nodes[0]->id());
      now_unsynced(call.nodes[0]->id());
    }
    if (holds_what_it_makes(call.request)) {
      const NodeRef& made = outcome.found[0].node;
      if (!hold(naming->holder(), made)) outcome.reply = encode_error(ENFILE);  // full meanwhile
      const bool unnamed = std::holds_alternative<CreateUnnamed>(call.request);
      if (unnamed && !outcome.orphan.empty()) keep_orphan(made->id(), outcome.orphan);
    }
    if (const auto* link = std::get_if<Link>(&call.request)) held_.clear_orphan(link->node);
    if (const Found* losing = loser(call)) {
      const NodeId& lost = losing->node->id();
      if (!outcome.orphan.empty()) keep_orphan(lost, outcome.orphan);
      if (!call.keep && losing->attributes.links <= 1) forget(lost);
    }
    if (std::holds_alternative<Rename>(call.request)) {
      for (const auto* found : {&call.first, &call.second}) {
        if (*found) names_synced_.erase((*found)->node->id());
      }
    }
    remember_names(call, outcome);
    names_changed(call, outcome, naming->context, naming->job->asked);
  }
  for (const NodeId& node : needed_nodes(call.request)) promises_.settled(node);
  gates_.leave(naming->pass);
  names_answer(*naming);
  admit();
}

void Export::Implementation::names_answer(const Naming& naming) {
  const Buffer& reply = naming.outcome.reply;
  auto waiting = replies_.finish(naming.context.client, naming.name.number, reply);
  for (Responder& respond : waiting) std::move(respond)(reply);
  tell();
}

/// Where the nodes of a changed name are now; only stores without file handles need it.
void Export::Implementation::remember_names(const NameCall& call, const NameOutcome& outcome) {
  if (!store_ || !store_->needs_paths()) return;
  if (const auto* rename = std::get_if<Rename>(&call.request)) {
    if (call.first) names_.put(call.first->node->id(), {rename->to_directory, rename->to_name});
    if (call.second && rename->mode == RenameMode::exchange) {
      names_.put(call.second->node->id(), {rename->from_directory, rename->from_name});
    }
    return;
  }
  std::visit(
      [&](const auto& request) {
        if constexpr (requires {
                        request.directory;
                        request.name;
                      }) {
          for (const Found& found : outcome.found) {
            names_.put(found.node->id(), {request.directory, request.name});
          }
        }
      },
      call.request);
}

}  // namespace rushfs::fs

// Clients: who they are, what they hold, and when they are forgotten.
#include "fs/server/export.h"

#include <sys/stat.h>

#include <cassert>

#include "fs/protocol/names.h"
#include "fs/server/export_implementation.h"

namespace rushfs::fs {
namespace {

std::filesystem::path reply_file(const ExportOptions& options) {
  if (options.state_folder.empty()) return {};
  return options.state_folder / (options.name + ".replies");
}

/// The directory a client asked for, one name at a time.
Result<Found> walk_to(const Store& store, const std::string& subpath) {
  auto at = store.root();
  std::size_t from = 0;
  while (at && from < subpath.size()) {
    const std::size_t slash = std::min(subpath.find('/', from), subpath.size());
    const std::string name = subpath.substr(from, slash - from);
    from = slash + 1;
    if (name.empty() || name == ".") continue;
    if (leads_away(name) || name.size() > kMaxName) return errno_code(ENOENT);
    at = store.lookup(*at->node, name);
    if (at && at->node->type() == S_IFLNK) return errno_code(ELOOP);
    if (at && at->node->type() != S_IFDIR) return errno_code(ENOTDIR);
  }
  return at;
}

}  // namespace

Export::Export(ExportOptions options, std::shared_ptr<const Store> store, Loop& home, Loop& workers,
               TimePoint now)
    : implementation_(std::make_unique<Implementation>(std::move(options), std::move(store), home,
                                                       workers, now)) {
  implementation_->start();
}
Export::~Export() = default;

const ExportOptions& Export::options() const {
  return implementation_->options();
}
void Export::attach(const ClientTag& client, const Attach& request, bool read_only, TimePoint now,
                    Attached done) {
  implementation_->attach(client, request, read_only, now, std::move(done));
}
void Export::detached(const ClientTag& client, TimePoint last_heard, TimePoint now) {
  implementation_->detached(client, last_heard, now);
}
void Export::handle(RequestContext context, Request request, Buffer body, Responder respond) {
  implementation_->handle(std::move(context), std::move(request), std::move(body),
                          std::move(respond));
}
void Export::on_replaced(std::function<void()> replaced) {
  implementation_->on_replaced(std::move(replaced));
}
void Export::on_notice(Tell tell, Later later) {
  implementation_->on_notice(std::move(tell), std::move(later));
}
void Export::notice_answered(const ClientTag& client) {
  implementation_->notice_answered(client);
}
std::optional<int> Export::disk_descriptor() const {
  return implementation_->disk_descriptor();
}
void Export::look_at_disk() {
  implementation_->look_at_disk();
}
void Export::tick(TimePoint now) {
  implementation_->tick(now);
}

KeptOpen KeptOpen::within(std::size_t descriptors) {
  KeptOpen kept;
  const std::size_t all = kept.descriptors();
  if (descriptors >= all) return kept;
  constexpr std::size_t kLeast = 8;  // less would open and close the same files all the time
  for (std::size_t* each :
       {&kept.nodes, &kept.reading, &kept.writing, &kept.unsynced, &kept.held}) {
    *each = std::max(kLeast, *each * descriptors / all);
  }
  return kept;
}

Export::Implementation::Implementation(ExportOptions options, std::shared_ptr<const Store> store,
                                       Loop& home, Loop& workers, TimePoint now)
    : options_(std::move(options)),
      store_(std::move(store)),
      work_(std::make_shared<WorkQueue>(home, workers, options_.workers)),
      now_(now),
      locks_([this](const RequestContext& context, const LockRequest& lock, Responder respond) {
        answer_locked(context, lock, std::move(respond));
      }),
      replies_(reply_file(options_)) {
  assert(options_.max_read <= kMaxTransfer && options_.max_write <= kMaxTransfer);
}

void Export::Implementation::start() {
  for (const auto& [tag, incarnation] : replies_.known()) {
    Client& client = enter(tag);
    client.incarnation = incarnation;
    client.gone_since = now_;
  }
  if (!clients_.empty()) locks_.restart(now_ + kLockGrace);
  restore_orphans();
  watch_disk();
}

Holder Export::Implementation::holder(const ClientTag& tag) const {
  const auto client = clients_.find(tag);
  return {tag, client == clients_.end() ? 0 : client->second.incarnation};
}

/// A client that has left meanwhile, or begun anew, has no use for it.
bool Export::Implementation::hold(const Holder& by, const NodeRef& node) {
  const bool left = !clients_.contains(by.client) || holder(by.client) != by;
  return left || held_.hold(by, node);
}

/// A file that lost its last name has got a hidden one.
void Export::Implementation::keep_orphan(const NodeId& node, const std::string& orphan) {
  if (held_.is_held(node)) return held_.set_orphan(node, orphan);
  drop({{node}, {orphan}});
}

InstanceId Export::Implementation::instance(const ClientTag& tag) const {
  const auto client = clients_.find(tag);
  const auto forgotten = client == clients_.end() ? 0 : client->second.clients_forgotten;
  return {options_.instance.value + forgotten};
}

void Export::Implementation::attach(const ClientTag& tag, const Attach& request, bool read_only,
                                    TimePoint now, Attached done) {
  now_ = now;
  Client& client = enter(tag);
  client.gone_since.reset();
  client.attachment = ++attachments_;
  client.order.drop_held();
  locks_.stop_waiting(tag);  // the connection before may not have been missed
  calls_.reconnected(tag);
  if (client.incarnation != request.incarnation) {
    // What a former start of this mount held may still be needed by what is in its queue.
    held_.retire(holder(tag), now + kHoldLease);
    client.incarnation = request.incarnation;
    replies_.attach(tag, request.incarnation);
    locks_.release(tag);
  }
  AttachReply reply;
  reply.features = listen(tag, request.features);
  reply.instance = instance(tag);
  reply.max_read = options_.max_read;
  reply.max_write = options_.max_write;
  reply.read_only = options_.read_only || read_only;
  reply.squashed = !options_.preserve_identity;
  reply.squash_uid = options_.squash_uid;
  reply.squash_gid = options_.squash_gid;
  reply.applied_through = client.order.applied_through();

  auto root = std::make_shared<std::optional<NodeId>>();
  run(
      {Priority::urgent, tag.key()}, job_on({}),
      [subpath = request.subpath, reply, root](const Store& store, Job& job) mutable {
        auto found = walk_to(store, subpath);
        if (!found) {
          job.error = found.error().value();
          job.reply = encode_error(job.error);
          return;
        }
        reply.root = found->node->id();
        reply.attributes = found->attributes;
        *root = reply.root;
        job.reply = encode_reply(reply);
        job.met.push_back(std::move(found->node));
      },
      [this, tag, root, attachment = attachments_, listens = (reply.features & kNotices) != 0,
       done = std::move(done)](Job& job) mutable {
        const auto still = clients_.find(tag);
        const bool here = still != clients_.end() && still->second.attachment == attachment;
        if (*root && listens && here) {
          promises_.begin(tag);
          promises_.promise(tag, **root, job.asked);
        }
        std::move(done)(std::move(job.reply), *root);
        tell();
      });
}

void Export::Implementation::detached(const ClientTag& tag, TimePoint last_heard, TimePoint now) {
  now_ = std::max(now_, now);
  const auto client = clients_.find(tag);
  if (client == clients_.end()) return;
  client->second.gone_since = last_heard;
  client->second.attachment = 0;
  promises_.end(tag);
  locks_.stop_waiting(tag);
  client->second.order.drop_held();
}

Export::Implementation::Client& Export::Implementation::enter(const ClientTag& tag) {
  const auto known = clients_.find(tag);
  if (known != clients_.end()) return known->second;
  if (clients_.size() >= kMaxClients) forget_longest_gone();
  Client& client = clients_[tag];
  client.clients_forgotten = clients_forgotten_;
  return client;
}

/// Never one that is attached. Whoever makes up clients takes the places of his own.
void Export::Implementation::forget_longest_gone() {
  std::unordered_map<std::uint64_t, std::size_t> gone;  // clients of each key
  for (const auto& [tag, client] : clients_) gone[tag.key()] += client.gone_since ? 1 : 0;
  const auto rank = [&](const auto& entry) {
    return std::pair(gone[entry.first.key()], now_ - *entry.second.gone_since);
  };
  auto longest = clients_.end();
  for (auto each = clients_.begin(); each != clients_.end(); ++each) {
    if (!each->second.gone_since) continue;
    if (longest == clients_.end() || rank(*each) > rank(*longest)) longest = each;
  }
  if (longest == clients_.end()) return;
  forget(ClientTag(longest->first));
  ++clients_forgotten_;
}

void Export::Implementation::forget(const ClientTag& tag) {
  drop(held_.release_all(holder(tag)));
  replies_.forget(tag);
  promises_.end(tag);
  locks_.release(tag);
  calls_.forget(tag);
  clients_.erase(tag);
}

void Export::Implementation::tick(TimePoint now) {
  now_ = now;
  for (auto& [tag, client] : clients_) {
    if (!client.gone_since) continue;
    // Its answers stay: a client may be cut off for longer than a lease.
    const auto gone = now - *client.gone_since;
    if (gone >= kHoldLease) drop(held_.release_all(holder(tag)));
    if (gone >= kLockLease) locks_.release(tag);
  }
  drop(held_.expire(now));
  locks_.tick(now);
  close_idle();
  sync_oldest();
  admit();
  look_at_disk();  // for what is mounted in it no event comes
  sweep();
}

void Export::Implementation::on(RequestContext context, Detach&, Buffer, Responder respond) {
  forget(context.client);
  std::move(respond)(encode_reply(EmptyReply{}));
}

void Export::Implementation::handle(RequestContext context, Request request, Buffer body,
                                    Responder respond) {
  now_ = context.now;
  if (restoring_) {
    // A file without a name is only found among those.
    auto asked = std::make_shared<Request>(std::move(request));
    unrestored_.push_back([this, context = std::move(context), asked, body = std::move(body),
                           respond = std::move(respond)]() mutable {
      handle(std::move(context), std::move(*asked), std::move(body), std::move(respond));
    });
    return;
  }
  if (!clients_.contains(context.client)) {
    return std::move(respond)(encode_error(EACCES));  // it has detached
  }
  std::visit([&](auto& each) { on(std::move(context), each, std::move(body), std::move(respond)); },
             request);
}

}  // namespace rushfs::fs

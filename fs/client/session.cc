#include "fs/client/session.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <vector>

namespace rushfs::fs {

namespace {

using namespace std::chrono_literals;

/// A server that is restarting is back within seconds; a cut link must not be hammered.
constexpr transport::Duration kFirstBackoff = 200ms;
constexpr transport::Duration kLongestBackoff = 5s;
/// A person must act first (add a key, name the export); looking twice a minute is enough.
constexpr transport::Duration kRefusedBackoff = 30s;
/// An Attach is one small message each way on a fresh connection.
constexpr transport::Duration kAttachPatience = 15s;
/// LoopTime is only as fresh as the last turn: turns come at least this often.
constexpr transport::Duration kHeartbeat = 1s;

/// A server that is restarted is waited for; a link that is down longer is dead.
constexpr transport::Duration kGrace = 3s;

/// The transport asks for a sign of life every 10 s. A link that gives none for longer, while we
/// wait for answers, is cut: what was sent must not arrive when it is mended, unseen by the checks
/// that follow an attach.
constexpr transport::Duration kLongestSilence = 14s;

/// Questions that follow each other so closely may be one operation of a program: a path is looked
/// up name by name, and the kernel asks again for what it could not read.
constexpr transport::Duration kSameOperation = 1s;

constexpr std::uint64_t kAttachToken = 0;  // calls count from 1

bool needs_a_person(transport::CloseCode code) {
  using transport::CloseCode;
  switch (code) {
    case CloseCode::version_mismatch:
    case CloseCode::unknown_client:
    case CloseCode::wrong_server_key:
    case CloseCode::key_revoked:
    case CloseCode::refused_by_application:
      return true;
    default:
      return false;
  }
}

std::string sentence(const transport::CloseReason& reason) {
  using transport::CloseCode;
  if (!reason.text.empty()) return reason.text;
  switch (reason.code) {
    case CloseCode::none: return "the server closed the connection";
    case CloseCode::idle_timeout: return "nothing was heard from the server any more";
    case CloseCode::handshake_timeout:
      return "the server does not answer (is it running, and is its UDP port let through?)";
    case CloseCode::unknown_client: return "the server does not know this client's key";
    case CloseCode::wrong_server_key: return "the server has another key than the one trusted";
    case CloseCode::version_mismatch: return "the server speaks another version of the protocol";
    case CloseCode::key_revoked: return "the server no longer accepts this client's key";
    case CloseCode::forgotten: return "the server was restarted";
    case CloseCode::server_busy: return "the server has as many clients as it allows";
    default: return "the connection failed (code " +
                    std::to_string(static_cast<int>(reason.code)) + ")";
  }
}

}  // namespace

Session::Session(SessionConfig config, Carrier& carrier, const LoopTime& time,
                 transport::RandomSource random, Attached attached)
    : config_(std::move(config)),
      carrier_(carrier),
      time_(time),
      random_(std::move(random)),
      on_attached_(std::move(attached)),
      backoff_(kFirstBackoff) {}

void Session::enter(State state) {
  const bool was_up = state_ == State::ready;
  state_ = state;
  if (was_up != (state == State::ready) || state_since_ == transport::TimePoint{}) {
    state_since_ = time_.now;
  }
}

void Session::start() {
  assert(state_ == State::idle);
  connect();
}

void Session::stop() {
  if (state_ == State::stopped) return;
  const bool open = state_ != State::waiting && state_ != State::idle;
  enter(State::stopped);
  while (!pending_.empty()) finish(pending_.begin(), errno_code(ENOTCONN));
  if (open) carrier_.disconnect({});
}

void Session::connect() {
  enter(State::connecting);
  carrier_.connect();
}

void Session::connected() {
  if (state_ == State::connecting) attach();
}

void Session::attach() {
  Attach request;
  request.export_name = config_.export_name;
  request.subpath = config_.subpath;
  request.client = config_.client;
  request.incarnation = config_.incarnation;
  request.hostname = config_.hostname;
  if (on_noticed_) request.features = kNotices | kDiskNotices;
  enter(State::attaching);
  next_attempt_ = time_.now + kAttachPatience;
  carrier_.request(kAttachToken, Priority::urgent, encode(request));
}

void Session::attach_answered(Buffer body) {
  auto reply = decode_reply<AttachReply>(body);
  if (!reply) {
    const int error = reply.error().value();
    std::string why = "the server refuses export '" + config_.export_name + "'" +
                      (config_.subpath.empty() ? "" : ", folder '" + config_.subpath + "'") +
                      ": " + std::strerror(error);
    if (error == ENOENT) {
      why = "the server has no export '" + config_.export_name + "'" +
            (config_.subpath.empty() ? "" : " with a folder '" + config_.subpath + "' in it");
    }
    close_reason_.reset();
    wait_to_retry(std::move(why), true);
    carrier_.disconnect({});
    return;
  }
  const bool restarted = instance_ && *instance_ != reply->instance;
  if (instance_) ++reconnections_;
  instance_ = reply->instance;
  heard();
  waiting_since_ = time_.now;
  backoff_ = kFirstBackoff;
  refused_ = false;
  reason_.clear();
  enter(State::ready);
  // The listener may cancel calls and make new ones, which go out at once; the rest follow.
  if (on_attached_) on_attached_(*reply, restarted);
  take_notices();
  for (auto& [call, pending] : pending_) {
    if (state_ == State::ready && !pending.sent) send(call, pending);
  }
}

void Session::closed(const transport::CloseReason& reason) {
  if (state_ == State::stopped || state_ == State::idle || state_ == State::waiting) return;
  close_reason_ = reason;
  wait_to_retry(sentence(reason), needs_a_person(reason.code));
}

void Session::wait_to_retry(std::string reason, bool refused) {
  if (reason != reason_) spdlog::warn("not connected: {}", reason);
  reason_ = std::move(reason);
  refused_ = refused;
  early_notices_.clear();
  notices_here_ = 0;
  for (auto& [call, pending] : pending_) pending.sent = false;
  // Between half and all of the backoff, so that clients of a restarted server do not come at once.
  std::uint8_t byte = 0;
  random_({&byte, 1});
  const auto pause = refused ? kRefusedBackoff : backoff_;
  next_attempt_ = time_.now + pause / 2 + pause * byte / 512;
  if (!refused) backoff_ = std::min(backoff_ * 2, kLongestBackoff);
  enter(State::waiting);
}

CallId Session::call(Priority priority, Patience patience, Buffer request, ReplyHandler handler,
                     std::uint64_t number) {
  const CallId id{next_call_++};
  if (pending_.empty()) waiting_since_ = time_.now;
  auto& pending = pending_
                      .emplace(id, Pending{priority, patience, std::move(request),
                                           std::move(handler), number, false})
                      .first->second;
  if (patience != Patience::patient) wait_for(id, patience);
  if (state_ == State::stopped || (patience != Patience::patient && hopeless())) {
    hopeless_.push_back(id);
    on_due_();
  }
  if (patience != Patience::patient && priority != Priority::ahead) ++waits_;
  if (state_ == State::ready) send(id, pending);
  return id;
}

void Session::wait_for(CallId id, Patience patience) {
  if (askers_++ == 0 && time_.now - asked_until_ > kSameOperation) asked_since_ = time_.now;
  (patience == Patience::prompt ? prompt_ : glances_).push_back({time_.now, id});
}

/// One operation has waited for the timeout; those right after it need not find out again.
bool Session::hopeless() const { return silent_ && time_.now - in_vain_ < kSameOperation; }

std::uint64_t Session::lowest_unanswered() const {
  return unanswered_numbers_.empty() ? next_number_ : *unanswered_numbers_.begin();
}

// The server remembers the answers to all numbers from the lowest unanswered one on, to so many.
void Session::send(CallId id, Pending& pending) {
  if (pending.number >= lowest_unanswered() + kNumbersAhead) {
    held_back_ = true;
    return;
  }
  pending.sent = true;
  carrier_.request(id.value, pending.priority, pending.request);
}

void Session::cancel(CallId id) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;
  if (found->second.sent) carrier_.cancel(id.value);
  finish(found, errno_code(ECANCELED));
}

CallNumber Session::number_call() {
  const std::uint64_t number = next_number_++;
  unanswered_numbers_.insert(number);
  return {number, *unanswered_numbers_.begin()};
}

bool Session::reachable() const {
  return state_ == State::ready || (!refused_ && time_.now - state_since_ < kGrace);
}

void Session::answered(std::uint64_t token, Buffer body) {
  heard();
  if (token == kAttachToken) {
    if (state_ == State::attaching) attach_answered(std::move(body));
    return;
  }
  const auto found = pending_.find(CallId{token});
  if (found != pending_.end()) finish(found, std::move(body));
}

void Session::finish(std::map<CallId, Pending>::iterator found, Result<Buffer> result) {
  auto handler = std::move(found->second.handler);
  if (found->second.patience != Patience::patient) {
    --askers_;
    asked_until_ = time_.now;
  }
  if (found->second.number != 0) unanswered_numbers_.erase(found->second.number);
  pending_.erase(found);
  if (held_back_ && state_ == State::ready) send_held_back();
  std::move(handler)(std::move(result));
}

// They were made when another number was the lowest.
void Session::send_held_back() {
  const auto first = std::ranges::find_if(pending_, [&](const auto& entry) {
    return !entry.second.sent && entry.second.number != 0;
  });
  held_back_ = first != pending_.end();
  if (!held_back_ || first->second.number >= lowest_unanswered() + kNumbersAhead) return;
  held_back_ = false;
  for (auto each = first; each != pending_.end() && !held_back_; ++each) {
    if (each->second.sent || each->second.number == 0) continue;
    each->second.request =
        with_lowest_unanswered(each->second.request.bytes(), lowest_unanswered());
    send(each->first, each->second);
  }
}

void Session::asked(transport::RequestId id, Buffer body) {
  if (!on_noticed_ || !is_notice(body)) return carrier_.reply(id, encode_error(ENOSYS));
  if (state_ != State::attaching && state_ != State::ready) return;
  auto notice = decode_notice(body);
  const std::uint64_t ahead = notice ? notice->number - notices_here_ : 0;
  if (ahead == 0 || ahead > kMaxWaitingNotices) {
    // Nobody would know what is missing.
    const transport::CloseReason reason{transport::CloseCode::protocol_violation, false,
                                        "a notice that cannot be"};
    closed(reason);
    return carrier_.disconnect(reason);
  }
  early_notices_.try_emplace(notice->number, id, std::move(*notice));
  take_notices();
}

void Session::take_notices() {
  while (state_ == State::ready && early_notices_.contains(notices_here_ + 1)) {
    const EarlyNotice next = std::move(early_notices_.extract(++notices_here_).mapped());
    ++notices_;
    noticed_changes_ += next.notice.changes.size();
    on_noticed_(next.notice);
    carrier_.reply(next.id, encode_reply(EmptyReply{}));
  }
}

transport::TimePoint Session::deadline() const {
  auto when = time_.now + kHeartbeat;
  if (state_ == State::waiting || state_ == State::attaching) when = std::min(when, next_attempt_);
  if (!hopeless_.empty()) when = time_.now;
  if (askers_ > 0 && !silent_) when = std::min(when, silent_at());
  if (!prompt_.empty()) {
    when = std::min(when, prompt_.front().since + (silent_ ? glance() : config_.timeout));
  }
  if (!glances_.empty()) when = std::min(when, glances_.front().since + glance());
  return when;
}

/// When the timeout is over for who has waited longest, if nothing is heard.
transport::TimePoint Session::silent_at() const {
  return std::max(last_heard_, asked_since_) + config_.timeout;
}

transport::Duration Session::glance() const {
  return std::min<transport::Duration>(config_.timeout, kGlance);
}

void Session::expire(CallId id) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;
  if (found->second.sent) carrier_.cancel(id.value);
  finish(found, errno_code(state_ == State::stopped ? ENOTCONN : ETIMEDOUT));
}

void Session::end_wait(std::deque<Wait>& waits) {
  const CallId id = waits.front().call;
  waits.pop_front();
  if (silent_ && pending_.contains(id)) in_vain_ = time_.now;
  expire(id);
}

void Session::tick() {
  if (askers_ > 0 && silent_at() <= time_.now) silent_ = true;
  for (const CallId id : std::exchange(hopeless_, {})) expire(id);
  const auto is_over = [&](const Wait& wait, bool brief) {
    if (brief && !reachable()) return true;
    return wait.since + (brief ? glance() : config_.timeout) <= time_.now;
  };
  while (!prompt_.empty() && is_over(prompt_.front(), silent_)) end_wait(prompt_);
  while (!glances_.empty() && is_over(glances_.front(), true)) end_wait(glances_);
  give_up_silent_connection();
  if (next_attempt_ > time_.now) return;
  if (state_ == State::waiting) {
    connect();
  } else if (state_ == State::attaching) {
    wait_to_retry("the server does not answer", false);
    carrier_.disconnect({});
  }
}

void Session::give_up_silent_connection() {
  if (state_ != State::ready || pending_.empty()) return;
  if (time_.now - std::max(last_heard_, waiting_since_) < kLongestSilence) return;
  closed({transport::CloseCode::idle_timeout, false, ""});
  carrier_.disconnect({});
}

void Session::retry_now() {
  if (state_ != State::waiting) return;
  backoff_ = kFirstBackoff;
  next_attempt_ = time_.now;
  tick();
}

std::optional<std::string> Session::refusal() const {
  if (!refused_) return std::nullopt;
  return reason_;
}

LinkStatus Session::status() const {
  using std::chrono::duration_cast;
  LinkStatus status;
  status.state = state_ == State::ready ? LinkState::connected
                 : refused_             ? LinkState::refused
                                        : LinkState::connecting;
  status.reason = reason_;
  status.since = duration_cast<std::chrono::seconds>(time_.now - state_since_);
  if (state_ == State::waiting && next_attempt_ > time_.now) {
    status.next_attempt = duration_cast<std::chrono::milliseconds>(next_attempt_ - time_.now);
  }
  status.reconnections = reconnections_;
  status.calls_waiting = pending_.size();
  return status;
}

}  // namespace rushfs::fs

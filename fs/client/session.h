// Session makes calls to one export of one server, over connections that come and go. When a
// connection ends (server killed, cable cut, idle) it asks for another, attaches again under the
// same client id, and repeats every unanswered call in order; calls that change something carry
// numbers by which the server carries them out once (docs/file-protocol.md, "Attaching").
//
// Pure: the connection is a Carrier, time a LoopTime, randomness a RandomSource. Owner: the file
// loop.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "fs/client/mount_status.h"
#include "fs/client/remote.h"
#include "fs/loop_time.h"
#include "fs/protocol/messages.h"
#include "fs/protocol/notices.h"
#include "transport/endpoint.h"

namespace rushfs::fs {

/// What carries a session's messages: one connection at a time.
class Carrier {
 public:
  virtual ~Carrier() = default;
  /// Starts a connection; the outcome comes as Session::connected() or closed(), later.
  virtual void connect() = 0;
  /// Sends on the current connection. The token returns with Session::answered().
  virtual void request(std::uint64_t token, Priority, transport::Body body) = 0;
  virtual void cancel(std::uint64_t token) = 0;
  /// Answers what the server asked.
  virtual void reply(transport::RequestId, transport::Body body) = 0;
  /// Closes the current connection, or gives up the attempt; closed() follows.
  virtual void disconnect(transport::CloseReason) = 0;
};

struct SessionConfig {
  std::string export_name;
  std::string subpath;
  ClientId client;
  std::uint64_t incarnation = 0;
  std::string hostname;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);  // of a prompt call
};

class Session : public Remote {
 public:
  /// Told of each successful attach before waiting calls are repeated. `restarted`: the server is
  /// another instance than before and has forgotten what was not on its stable storage.
  using Attached = std::function<void(const AttachReply&, bool restarted)>;
  /// Told of each notice, before it is answered.
  using Noticed = std::function<void(const Notice&)>;

  Session(SessionConfig config, Carrier& carrier, const LoopTime& time,
          transport::RandomSource random, Attached attached);

  /// Before start(); without it the server is not asked for notices.
  void on_notice(Noticed noticed) { on_noticed_ = std::move(noticed); }
  /// Told when deadline() is now: a call was made that has no hope.
  void on_due(std::function<void()> due) { on_due_ = std::move(due); }
  void start();
  /// All calls, present and future, fail with ENOTCONN; disconnects.
  void stop();

  CallId call(Priority, Patience, Buffer request, ReplyHandler, std::uint64_t number = 0) override;
  void cancel(CallId) override;
  CallNumber number_call() override;
  bool reachable() const override;
  transport::TimePoint last_heard() const override { return last_heard_; }
  /// The connection shows signs of life beneath the calls: a long reply is still arriving.
  void heard() {
    last_heard_ = time_.now;
    silent_ = false;
  }

  // Events of the carrier.
  void connected();
  void answered(std::uint64_t token, Buffer body);
  void asked(transport::RequestId, Buffer body);
  void closed(const transport::CloseReason& reason);

  /// When to call tick() at the latest; early and repeated calls do nothing.
  transport::TimePoint deadline() const;
  void tick();

  /// Connects at once if it is waiting to try again.
  void retry_now();

  LinkStatus status() const;
  bool attached() const override { return state_ == State::ready; }
  /// Calls somebody waited for: at most so many round trips were spent.
  std::uint64_t waits() const { return waits_; }
  /// What the server told unasked, and the changes that were in it.
  std::uint64_t notices() const { return notices_; }
  std::uint64_t noticed_changes() const { return noticed_changes_; }
  /// The last reason to be refused, a sentence; none while there is hope.
  std::optional<std::string> refusal() const;
  /// How the last connection, or attempt at one, ended; none when it was the file protocol that
  /// refused us, or nothing ended yet.
  const std::optional<transport::CloseReason>& close_reason() const { return close_reason_; }

  /// Calls that happen once are sent so far ahead of the lowest that is unanswered.
  static constexpr std::uint64_t kNumbersAhead = 8000;

 private:
  enum class State : std::uint8_t { idle, connecting, attaching, ready, waiting, stopped };
  struct Pending {
    Priority priority;
    Patience patience;
    transport::Body request;  // kept to be repeated
    ReplyHandler handler;
    std::uint64_t number = 0;
    bool sent = false;  // on the current connection
  };
  struct Wait {
    transport::TimePoint since;
    CallId call;
  };

  void connect();
  void attach();
  void attach_answered(Buffer body);
  void wait_to_retry(std::string reason, bool refused);
  void finish(std::map<CallId, Pending>::iterator, Result<Buffer>);
  void expire(CallId);
  void wait_for(CallId, Patience);
  bool hopeless() const;
  void end_wait(std::deque<Wait>&);
  transport::TimePoint silent_at() const;
  transport::Duration glance() const;
  void give_up_silent_connection();
  std::uint64_t lowest_unanswered() const;
  void send(CallId, Pending&);
  void send_held_back();
  void take_notices();
  void enter(State);

  SessionConfig config_;
  Carrier& carrier_;
  const LoopTime& time_;
  transport::RandomSource random_;
  Attached on_attached_;
  Noticed on_noticed_;
  std::function<void()> on_due_ = [] {};

  State state_ = State::idle;
  transport::TimePoint state_since_{};  // of being ready, or of not being it
  transport::TimePoint last_heard_{};
  transport::TimePoint waiting_since_{};  // something was sent then and nothing before it
  // Of who waits, prompt or with a glance: one question after the other may be one operation.
  std::size_t askers_ = 0;
  transport::TimePoint asked_since_{}, asked_until_{};
  bool silent_ = false;  // nothing was heard for the timeout while somebody waited
  transport::TimePoint in_vain_{};  // when a call last ended for that
  transport::TimePoint next_attempt_{};
  transport::Duration backoff_{};
  bool refused_ = false;
  std::string reason_;
  std::optional<transport::CloseReason> close_reason_;
  std::uint64_t reconnections_ = 0;
  std::optional<InstanceId> instance_;

  std::uint64_t next_call_ = 1;
  std::uint64_t waits_ = 0;
  std::uint64_t notices_ = 0, noticed_changes_ = 0;
  std::uint64_t notices_here_ = 0;  // on this connection
  struct EarlyNotice {
    transport::RequestId id;
    Notice notice;
  };
  /// By number: came before the answer to Attach, or before one that the server had sent earlier.
  std::map<std::uint64_t, EarlyNotice> early_notices_;
  std::uint64_t next_number_ = 1;
  std::set<std::uint64_t> unanswered_numbers_;
  bool held_back_ = false;  // some wait until lower numbers are answered
  std::map<CallId, Pending> pending_;
  /// Calls in the order they were made; answered ones are skipped.
  std::deque<Wait> prompt_, glances_;
  std::deque<CallId> hopeless_;  // end at the next tick
};

}  // namespace rushfs::fs

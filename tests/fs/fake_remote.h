// A far side played by hand: keeps what was asked until the story answers it.
#pragma once

#include <cerrno>
#include <stdexcept>
#include <utility>
#include <vector>

#include "fs/client/remote.h"

namespace rushfs::fs::test {

class FakeRemote : public Remote {
 public:
  struct Call {
    CallId id;
    Priority priority;
    Patience patience;
    Buffer request;
    ReplyHandler handler;
  };

  CallId call(Priority priority, Patience patience, Buffer request, ReplyHandler handler,
              std::uint64_t) override {
    calls.push_back({{++last_}, priority, patience, std::move(request), std::move(handler)});
    return calls.back().id;
  }
  void cancel(CallId id) override {
    for (auto call = calls.begin(); call != calls.end(); ++call) {
      if (call->id != id) continue;
      auto handler = std::move(call->handler);
      calls.erase(call);
      ++cancelled;
      return std::move(handler)(errno_code(ECANCELED));
    }
  }
  CallNumber number_call() override { return {++numbers_, 1}; }
  bool attached() const override { return is_attached; }
  bool reachable() const override { return true; }
  transport::TimePoint last_heard() const override { return heard; }

  /// The calls of a kind that wait for an answer, in order.
  template <class R>
  std::vector<R> waiting() const {
    std::vector<R> found;
    for (const auto& call : calls) {
      auto decoded = decode_request(call.request);
      if (auto* request = std::get_if<R>(&std::get<Request>(decoded))) found.push_back(*request);
    }
    return found;
  }
  /// Answers the first waiting call of a kind; returns its priority.
  template <class R>
  Priority answer(Result<typename R::Reply> reply) {
    for (auto call = calls.begin(); call != calls.end(); ++call) {
      auto decoded = decode_request(call->request);
      if (!std::holds_alternative<R>(std::get<Request>(decoded))) continue;
      Call taken = std::move(*call);
      calls.erase(call);
      std::move(taken.handler)(reply ? encode_reply(*reply)
                                     : encode_error(reply.error().value()));
      return taken.priority;
    }
    throw std::runtime_error("nobody asked");
  }

  std::vector<Call> calls;
  int cancelled = 0;
  transport::TimePoint heard{};
  bool is_attached = true;

 private:
  std::uint64_t last_ = 0, numbers_ = 0;
};

}  // namespace rushfs::fs::test

// What makes a call happen once: the answers to the calls of each client, kept until the client
// says it has them, also over a kill of the server. docs/file-protocol.md, "Calls that happen
// once".
//
// The file gets an intent before a call is carried out and the answer after it. After a kill, an
// intent without an answer is a call that may or may not have happened: begin() then says what had
// the call's names before, so that looking at them tells.
//
// Owner: the file loop; ReplyFile may be written from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "fs/descriptor.h"
#include "fs/server/export.h"

namespace rushfs::fs {

/// What had the two names of a call before it was carried out.
struct Intent {
  std::optional<NodeId> first, second;
  bool operator==(const Intent&) const = default;
};

/// Names a call for ever.
struct CallName {
  ClientTag client;
  std::uint64_t incarnation = 0;
  std::uint64_t number = 0;
};

/// An append-only file of checksummed records. After a power cut it may be newer than the names it
/// tells of, or older.
class ReplyFile {
 public:
  /// Throws std::system_error naming the file.
  explicit ReplyFile(const std::filesystem::path& path);

  // Each is one write(2). A failure is logged once; the call is then only remembered in memory.
  void intend(const CallName& call, const Intent& intent);
  void answer(const CallName& call, std::span<const std::uint8_t> reply);
  /// The client has begun anew: nothing older of it is needed.
  void forget(const ClientTag& client, std::uint64_t incarnation);

  std::uint64_t size() const { return size_; }
  /// Why something of it could not be written; 0: all was.
  int error() const { return error_; }

 private:
  void append(std::uint8_t kind, const CallName& call, std::span<const std::uint8_t> body);

  Descriptor fd_;
  std::atomic<std::uint64_t> size_{0};
  std::atomic<int> error_{0};
};

class ReplyLog {
 public:
  /// Most calls of one client remembered at once; a correct client has fewer unanswered.
  static constexpr std::size_t kMaxCalls = 8192;

  /// `path` empty: in memory only. Otherwise what a former server left there is read. Throws
  /// std::system_error naming the file.
  explicit ReplyLog(std::filesystem::path path);

  void attach(const ClientTag& client, std::uint64_t incarnation);
  void forget(const ClientTag& client);
  /// Clients of a former server, with their incarnation.
  std::vector<std::pair<ClientTag, std::uint64_t>> known() const;

  enum class State {
    fresh,     // carry it out, then finish()
    running,   // `respond` was taken; it is called by finish()
    answered,  // `reply` is the answer
    former,    // `reply` is what a former server answered: finish() with it, or carry it out again
    refused,   // forgotten long ago, or too many: no correct client does that
  };
  struct Begun {
    State state = State::fresh;
    Buffer reply;
    std::optional<Intent> interrupted;  // with fresh, former: it may have happened already
  };
  /// Takes `respond` unless the state is answered or refused. Former is told once.
  Begun begin(const ClientTag& client, const CallNumber& call, Responder& respond);
  /// The call's names were looked up, and it is about to be carried out.
  void intend(const ClientTag& client, std::uint64_t number, const Intent& intent);
  /// Everybody who waits for the answer.
  std::vector<Responder> finish(const ClientTag& client, std::uint64_t number, const Buffer& reply);

  CallName name(const ClientTag& client, std::uint64_t number) const;
  /// Null: in memory only. A worker keeps it for as long as its call runs.
  std::shared_ptr<ReplyFile> file() const { return file_; }

 private:
  struct Call {
    bool answered = false;
    bool former = false;  // by a former server
    bool running = false;
    Buffer reply;
    std::optional<Intent> intent;
    std::vector<Responder> waiting;
  };
  struct Client {
    std::uint64_t incarnation = 0;
    std::uint64_t lowest_unanswered = 0;
    std::map<std::uint64_t, Call> calls;
  };
  void load();
  void compact();
  std::shared_ptr<ReplyFile> write_anew() const;

  std::filesystem::path path_;
  std::shared_ptr<ReplyFile> file_;
  std::uint64_t compact_above_ = 0;  // bytes of the file
  std::map<ClientTag, Client> clients_;
};

}  // namespace rushfs::fs

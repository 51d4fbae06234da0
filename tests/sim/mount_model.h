// What one mount may show its programs, by docs/semantics.md: a state that the server had lately,
// with the mount's own changes on top as long as they may not have arrived.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/server_history.h"

namespace rushfs::sim {

using transport::Duration;
using transport::TimePoint;

/// A change of a file, or of an attribute of one, that a program asked for.
struct OwnChange {
  enum class Kind : std::uint8_t {
    write,    // `bytes` to `offset`
    append,   // `bytes` to where the end is when they arrive
    copy,     // of what another file holds when the server copies
    resize,   // to `size`
    grow,     // to `size`, where it is not as long yet
    clear,    // `size` bytes from `offset` on: zeros, but not behind the end
    replace,  // by `bytes`: an attribute
  };
  Kind kind = Kind::write;
  Tag tag = 0;  // of what has bytes
  std::uint64_t offset = 0, size = 0;
  std::string bytes{};
  std::uint64_t id = 0;  // from here on MountModel's
  TimePoint begun{};
  std::uint64_t before = ~0ULL;      // was answered before this change began
  std::optional<TimePoint> settled{};  // the queue was seen empty
  std::optional<std::size_t> made{};  // the state of the file that it made
  std::uint64_t answered = 0;  // the how manieth that was; 0: not yet
  bool durable = false;
  bool may_be_lost = false;  // was not durable when the mount was killed
};

class MountModel {
 public:
  /// `news`: how old a server's state may be that is shown while the link is up.
  MountModel(const ServerHistory& history, Duration news) : history_(history), news_(news) {}

  /// Whether the link is up now; to be told of every change of that.
  void link(bool up, TimePoint now);
  /// The oldest moment whose state may be shown to who asked then.
  TimePoint oldest(TimePoint asked) const;
  std::optional<TimePoint> up_since() const { return up_since_; }
  TimePoint last_up() const { return last_up_; }
  /// How long it was up the last time.
  Duration last_up_for() const { return last_up_ - last_up_since_; }
  /// It has not been up the whole time since.
  bool cut_since(TimePoint when) const { return !up_since_ || *up_since_ > when; }

  std::uint64_t begin(const FileKey& key, OwnChange change, TimePoint now);
  void finish(const FileKey& key, std::uint64_t id, bool well);
  /// The server has carried it out itself, and thereby made that state of the file.
  void made(const FileKey& key, std::uint64_t id, std::size_t state);
  /// It ended with an error that says that nothing was done.
  void refused(const FileKey& key, std::uint64_t id);
  /// What was `answered` by then survives the mount's end.
  void durable(std::uint64_t answered);
  /// Nothing waits in the queue any more. Returns what should have arrived and has not.
  std::vector<Tag> drained(TimePoint now);
  /// The write was on the server's stable storage.
  bool settled(Tag tag) const;
  /// kill -9.
  void killed();
  /// Ours went to a file of its own, or was `parked`: what the file shows is theirs now.
  void set_aside(bool parked);
  /// Of the changes that were `answered` by then: what should be at the server and was never seen
  /// there.
  std::vector<Tag> missing(const FileKey& key, std::uint64_t answered) const;
  std::vector<Tag> missing(std::uint64_t answered) const;  // of all files

  struct Asked {
    TimePoint when{};
    std::uint64_t answered = 0;  // changes by then: the answer has to count with them
  };
  Asked ask(TimePoint now) const { return {now, answers_}; }
  using Fits = std::function<bool(const FileState&, const std::string& bytes)>;
  /// Some state of the file that may be shown to who asked then is one that fits.
  bool may_show(const FileKey& key, const Asked& asked, TimePoint now, const Fits& fits) const;

  /// The mount's own change of this name made that state of the folder; it has to show it or a
  /// later one.
  void named(const FileKey& folder, const std::string& name, std::size_t state);
  std::size_t named_state(const FileKey& folder, const std::string& name) const;
  std::size_t named_state(const FileKey& folder) const;

 private:
  struct Own {
    std::vector<OwnChange> changes;  // settled ones for as long as somebody may have asked before
    std::size_t floor = 0;  // the state that our last change, now arrived, made
    std::size_t floor_before = 0;
    TimePoint floor_since{};
    bool vague = false;     // until all has arrived, nobody can tell what it should look like
    TimePoint vague_until{};
    bool aside = false;

    bool all_settled() const;
  };
  std::vector<Tag> missing(const FileKey& key, const Own& own, std::uint64_t answered) const;
  bool arrived(const FileKey& key, const OwnChange& change, std::size_t state) const;
  std::size_t arrived(const FileKey& key, const Own& own, std::size_t state) const;

  const ServerHistory& history_;
  const Duration news_;
  std::optional<TimePoint> up_since_;
  TimePoint last_up_{};
  TimePoint last_up_since_{};
  std::uint64_t next_id_ = 1, answers_ = 0;
  std::map<FileKey, Own> own_;
  std::map<std::pair<FileKey, std::string>, std::size_t> named_;
};

}  // namespace rushfs::sim

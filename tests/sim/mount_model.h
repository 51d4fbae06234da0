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

inline constexpr std::uint64_t kAnywhere = ~0ULL;

/// A change of content that a program asked for.
struct OwnChange {
  std::uint64_t id = 0;
  Tag tag = 0;  // 0: makes the file `size` long; with kAnywhere an append
  std::uint64_t offset = 0, size = 0;
  std::string bytes;
  TimePoint begun{};
  std::uint64_t before = ~0ULL;      // was answered before this change began
  std::optional<TimePoint> settled;  // the queue was seen empty
  bool answered = false, durable = false;
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

  std::uint64_t begin(FileKey key, OwnChange change, TimePoint now);
  void finish(FileKey key, std::uint64_t id, bool well);
  /// The last change so far that was answered: what is asked from now on has to count with it.
  std::uint64_t answered() const { return last_answered_; }
  /// The changes up to this one survive the mount's end.
  void durable(std::uint64_t answered);
  /// Nothing waits in the queue any more. Returns what should have arrived and has not.
  std::vector<Tag> drained(TimePoint now);
  /// The write was on the server's stable storage.
  bool settled(Tag tag) const;
  /// kill -9.
  void killed();
  /// Ours went to a file of its own, or was `parked`: what the file shows is theirs now.
  void set_aside(bool parked);
  /// Of the changes up to this one: what should be at the server and was never seen there.
  std::vector<Tag> missing(FileKey key, std::uint64_t answered) const;
  std::vector<Tag> missing(std::uint64_t answered) const;  // of all files

  struct Asked {
    TimePoint when{};
    std::uint64_t answered = 0;
  };
  Asked ask(TimePoint now) const { return {now, last_answered_}; }
  using Fits = std::function<bool(const FileState&, const std::string& bytes)>;
  /// Some state of the file that may be shown to who asked then is one that fits.
  bool may_show(FileKey key, const Asked& asked, TimePoint now, const Fits& fits) const;

  /// The mount's own change of this name made that state of the folder; it has to show it or a
  /// later one.
  void named(FileKey folder, const std::string& name, std::size_t state);
  std::size_t named_state(FileKey folder, const std::string& name) const;
  std::size_t named_state(FileKey folder) const;

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
  std::vector<Tag> missing(FileKey key, const Own& own, std::uint64_t answered) const;
  bool arrived(FileKey key, const OwnChange& change, std::size_t state) const;
  std::size_t arrived(FileKey key, const Own& own, std::size_t state) const;

  const ServerHistory& history_;
  const Duration news_;
  std::optional<TimePoint> up_since_;
  TimePoint last_up_{};
  TimePoint last_up_since_{};
  std::uint64_t next_id_ = 1, last_answered_ = 0;
  std::map<FileKey, Own> own_;
  std::map<std::pair<FileKey, std::string>, std::size_t> named_;
};

}  // namespace rushfs::sim

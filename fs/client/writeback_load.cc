// What to take from the queue next, and how neighbouring writes become one message.
#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "fs/client/writeback.h"

namespace rushfs::fs {

namespace {

/// One load keeps the queue loop busy for some milliseconds only, so that writers get their turn.
constexpr std::uint64_t kLargestLoad = 8 << 20;
constexpr std::uint64_t kSmallestLoad = 1 << 20;
/// Operations loaded by number at once; kernels write at most 1 MiB each.
constexpr std::size_t kChosenAtOnce = 16;
/// So much is worth a message of its own.
constexpr std::uint64_t kWorthSending = 64 << 10;
/// Small changes leave no more often than this: dozens of a busy program at once, and nobody on
/// another machine sees them noticeably later.
constexpr std::chrono::milliseconds kCompany{2};

}  // namespace

bool Writeback::Node::wanted_urgently() const {
  return std::any_of(waiters.begin(), waiters.end(), [](const Waiter& w) { return w.urgent; });
}

std::uint64_t Writeback::Node::sent_through() const {
  return sent.empty() ? committed : std::max(committed, sent.back().last);
}

bool Writeback::Node::idle() const {
  return unsent.empty() && sent.empty() && waiters.empty() && !commit && !open && !parked_from &&
         appending == 0 && last <= committed;
}

void Writeback::Node::note_unsent(std::uint64_t sequence) {
  if (unsent.empty() || unsent.back() < sequence) {
    unsent.push_back(sequence);
  } else if (auto at = std::lower_bound(unsent.begin(), unsent.end(), sequence); *at != sequence) {
    unsent.insert(at, sequence);
  }
}

// Those before it go their way.
void Writeback::Node::hold_from(std::uint64_t sequence) {
  parked_from = std::min(parked_from.value_or(sequence), sequence);
  unsent.erase(std::lower_bound(unsent.begin(), unsent.end(), *parked_from), unsent.end());
  known_after = last;
}

bool Writeback::Node::append_under_way() const {
  if (append_through == 0) return false;
  if (append_through > sent_through()) return true;
  return std::any_of(sent.begin(), sent.end(),
                     [](const Sent& s) { return s.operation.append && !s.answered; });
}

// A node's operations must leave in order: those of it still unknown to us come first.
bool Writeback::may_choose(const Node& node) const {
  if (node.waits() || node.after_append || node.unsent.empty()) return false;
  if (node.unsent.front() <= cursor_) return true;
  return node.wanted_urgently() && cursor_ >= node.known_after;
}

bool Writeback::may_load() const {
  return attached_ && !loading_ && in_flight_ < window_ && cursor_ < highest_;
}

/// Nothing small is under way, whose answer would make us look again.
bool Writeback::alone() const { return in_flight_ == 0 || in_flight_ >= kWorthSending; }

// Each message costs both ends more than a few bytes do: while some are under way, the next small
// changes wait for company until these are answered (as RFC 896 has it), or somebody for them; and
// for a moment, where answers come at once.
bool Writeback::gathering() const {
  return gathered_ < kWorthSending && (!alone() || parts_.time.now < gathers_until_);
}

std::optional<transport::TimePoint> Writeback::deadline() const {
  if (!may_load() || !gathering() || !alone()) return std::nullopt;
  return gathers_until_;
}

void Writeback::hurry() {
  gathered_ = kWorthSending;
  pump();
}

// Each in its turn, however much of the others there is.
std::optional<NodeId> Writeback::next_urgent() {
  std::erase_if(urgent_, [&](const NodeId& id) {
    const auto found = nodes_.find(id);
    return found == nodes_.end() || !found->second.wanted_urgently();
  });
  const auto ready = [&](const NodeId& id) { return may_choose(nodes_.at(id)); };
  const auto after = urgent_.upper_bound(last_urgent_);
  auto next = std::find_if(after, urgent_.end(), ready);
  if (next == urgent_.end()) next = std::find_if(urgent_.begin(), after, ready);
  if (next == urgent_.end() || !ready(*next)) return std::nullopt;
  last_urgent_ = *next;
  return last_urgent_;
}

void Writeback::pump() {
  if (!attached_ || loading_) return;
  const auto urgent = next_urgent();
  if (urgent && in_flight_ < 4 * window_) return load_chosen(*urgent, nodes_.at(*urgent));
  while (!chosen_.empty()) {
    const NodeId id = *chosen_.begin();
    const auto found = nodes_.find(id);
    if (found == nodes_.end() || !may_choose(found->second)) {
      chosen_.erase(chosen_.begin());
    } else if (in_flight_ < window_) {
      return load_chosen(id, found->second);
    } else {
      return;
    }
  }
  if (!may_load()) return;
  if (!gathering()) return load_in_order();
  if (alone()) due_();
}

// They lie behind the cursor; what was sent since is recognised and skipped.
void Writeback::load_again_from(std::uint64_t sequence) {
  ++generation_;
  loading_ = false;
  cursor_ = std::min(cursor_, sequence - 1);
}

void Writeback::load_in_order() {
  loading_ = true;
  gathered_ = 0;
  gathers_until_ = parts_.time.now + kCompany;
  const auto room = std::clamp(window_ - in_flight_, kSmallestLoad, kLargestLoad);
  parts_.queue_loop.run(
      [&queue = parts_.queue, after = cursor_, room] {
        return Loaded{queue.next(after, room), queue.parked().size()};
      },
      [this, generation = generation_, through = highest_](Loaded found) {
        if (generation != generation_) return;
        loading_ = false;
        cursor_ = found.operations.empty() ? std::max(cursor_, through)
                                           : found.operations.back().sequence;
        take_in(std::move(found));
        pump();
      });
}

void Writeback::load_chosen(const NodeId& id, Node& node) {
  loading_ = true;
  // After a refusal one operation tries whether the server takes it now.
  const std::size_t count = node.error ? 1 : std::min(kChosenAtOnce, node.unsent.size());
  std::vector<std::uint64_t> sequences(node.unsent.begin(),
                                       node.unsent.begin() + static_cast<std::ptrdiff_t>(count));
  parts_.queue_loop.run(
      [&queue = parts_.queue, sequences] {
        return Loaded{queue.load(sequences), queue.parked().size()};
      },
      [this, generation = generation_, id, sequences](Loaded found) {
        if (generation != generation_) return;
        loading_ = false;
        const auto at = nodes_.find(id);
        if (at != nodes_.end()) {
          // The queue leaves out what it had to park; it must not be asked for again.
          std::erase_if(at->second.unsent, [&](std::uint64_t sequence) {
            return std::binary_search(sequences.begin(), sequences.end(), sequence);
          });
          take_in(std::move(found));
        }
        pump();
      });
}

// Whether a loaded operation goes out now; if not, it is remembered or was sent before.
bool Writeback::wanted_now(const cache::Operation& operation, Node& node) {
  if (operation.sequence <= node.sent_through()) return false;
  if (node.parked_from && operation.sequence >= *node.parked_from) return false;
  const bool overtaking = !node.unsent.empty() && node.unsent.front() < operation.sequence;
  // Should the server lose its memory, an append that was not answered is looked for where it was
  // expected: nothing of ours may have changed that place since.
  const bool append = operation.kind == cache::OperationKind::append;
  const bool content = !append && (operation.kind == cache::OperationKind::write ||
                                   operation.size_bytes.has_value());
  if (!overtaking && content && node.append_under_way()) node.after_append = true;
  if (!node.waits() && !overtaking && !node.after_append) {
    if (append) node.append_through = operation.sequence;
    return true;
  }
  node.note_unsent(operation.sequence);
  chosen_.insert(NodeId{operation.node});
  return false;
}

void Writeback::take_in(Loaded loaded) {
  if (loaded.parked != parked_.size()) look_at_parked();
  std::vector<cache::Operation> wanted;
  wanted.reserve(loaded.operations.size());
  for (auto& operation : loaded.operations) {
    const auto found = nodes_.find(NodeId{operation.node});
    if (found == nodes_.end()) continue;  // given up while it was loaded
    Node& node = found->second;
    if (!wanted_now(operation, node)) continue;
    while (!node.unsent.empty() && node.unsent.front() <= operation.sequence) {
      node.unsent.pop_front();
    }
    wanted.push_back(std::move(operation));
  }
  for (auto& batch : merge(std::move(wanted))) send(std::move(batch));
}

// The queue parks what it finds damaged on local disk.
void Writeback::look_at_parked() {
  parts_.queue_loop.run([&queue = parts_.queue] { return queue.parked(); },
                        [this](std::vector<cache::ParkedOperation> parked) {
                          learn_parked(std::move(parked));
                        });
}

// An append that the server may have had is sent again as it was: what it had comes under its own
// number, or the server would put it behind the end once more.
bool Writeback::may_grow(const Batch& batch, const cache::Operation& next) const {
  const bool neighbours = batch.offset + batch.data.size() == next.offset_bytes;
  const bool fits = batch.data.size() + next.data.size() <= max_write_;
  if (batch.kind != next.kind || !neighbours || !fits) return false;
  if (batch.kind != cache::OperationKind::append) return true;
  return batch.sequences.back() > std::max(nodes_.at(batch.node).appends_sent, repeated_through_);
}

std::vector<Writeback::Batch> Writeback::merge(std::vector<cache::Operation> operations) const {
  std::vector<Batch> batches;
  std::unordered_map<std::string, std::size_t> open;  // the node's batch that may still grow
  for (auto& operation : operations) {
    const bool write = cache::carries_data(operation.kind);
    const auto found = open.find(operation.node);
    if (write && found != open.end()) {
      Batch& batch = batches[found->second];
      if (may_grow(batch, operation)) {
        batch.data.insert(batch.data.end(), operation.data.begin(), operation.data.end());
        batch.sequences.push_back(operation.sequence);
        continue;
      }
    }
    if (write) {
      open[operation.node] = batches.size();
    } else {
      open.erase(operation.node);
    }
    batches.push_back({NodeId{std::move(operation.node)},
                       {operation.sequence},
                       operation.after.value_or(0),
                       operation.kind,
                       operation.offset_bytes,
                       operation.size_bytes,
                       std::move(operation.data)});
  }
  for (Batch& batch : batches) batch.data.shrink_to_fit();  // stays in memory for who reads it
  return batches;
}

// Nothing at or below the floor is still to come.
void Writeback::compute_floor() {
  std::uint64_t floor = operations_ == 0 ? highest_ : cursor_;
  for (const auto& [id, node] : nodes_) {
    if (!node.unsent.empty()) floor = std::min(floor, node.unsent.front() - 1);
    if (!node.sent.empty()) floor = std::min(floor, node.sent.front().sequences.front() - 1);
    if (node.parked_from) floor = std::min(floor, *node.parked_from - 1);
  }
  floor_ = std::max(floor_, floor);
}

}  // namespace rushfs::fs

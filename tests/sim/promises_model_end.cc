// How a run of the model ends: all is mended, programs end what they do, and all mounts show what
// the server has.
#include <sys/stat.h>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

using namespace std::chrono_literals;

/// Programs end what they do; who waits for a lock gets it when its turn comes.
void PromisesModel::close_all() {
  const auto closed = [&] {
    watch();
    bool all = true;
    for (std::size_t i = 0; i < programs_.size() && !broken_; ++i) {
      Program& program = programs_[i];
      all = all && !program.busy && !program.file;
      if (program.busy || !program.file || !ready_[program.client]) continue;
      if (program.holds) {
        give_lock(i);
      } else {
        close(i);
      }
    }
    return all || broken_;
  };
  const bool all = world_.run_until(closed);
  std::string waiting;
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    if (programs_[i].busy) waiting += ", of " + std::to_string(i) + ": " + programs_[i].does;
  }
  expect(all, "Losing the link, or the server", "an operation is never answered" + waiting);
}

void PromisesModel::settle() {
  note(0, "** all is mended");
  settling_ = true;
  if (server_back_) {
    world_.start_server();
    server_started_ = now();
  }
  server_back_.reset();
  for (std::size_t client = 0; client < mounts_.size(); ++client) {
    world_.choose(client);
    if (world_.silent(client)) world_.silence_link(false);
    heard_again_[client].reset();
  }
  close_all();
  world_.run_until([&] {
    watch();
    for (const bool ready : ready_) {
      if (!ready) return false;
    }
    return true;
  });
  for (std::size_t client = 0; client < mounts_.size() && !broken_; ++client) {
    world_.choose(client);
    const bool empty = world_.run_until([&] {
      watch();
      refresh(client);
      const auto status = world_.volume(client).queue_status();
      for (const auto& parked : status.parked) {
        world_.volume(client).discard_parked(parked.operation, [](fs::Result<void>) {});
      }
      return broken_ || status.operations == 0;
    });
    expect(empty, "Write, close, fsync", "what is queued is never sent");
  }
  if (!broken_) world_.run_for(5s);
  watch();
  if (!broken_) compare_with_server();
}

void PromisesModel::compare_attributes(const std::string& name, const FileKey& key) {
  const auto node = world_.find(name);
  for (const std::string& attribute : kXattrs) {
    if (broken_ || !node) return;
    const std::string& wanted = *history_.file({key.inode, attribute}).back().bytes;
    const auto value = world_.await<std::string>([&](auto reply) {
      world_.volume().get_xattr(*node, attribute, std::move(reply));
    });
    expect(value ? *value == wanted : wanted.empty(), "What others change",
           "in the end a mount has another " + attribute + " of '" + name + "'");
  }
}

/// Long after the last change all mounts show what the server has.
void PromisesModel::compare_with_server() {
  for (std::size_t client = 0; client < mounts_.size() && !broken_; ++client) {
    world_.choose(client);
    note(client, "** compared with the server");
    for (const auto& [name, key] : history_.folder(history_.root()).back().names) {
      const auto& file = history_.file(key);
      const auto seen = world_.stat(name);
      expect(seen.has_value() && key_of(*seen) == key, "What others change",
             "in the end a mount does not find '" + name + "', but " +
                 (seen ? "#" + std::to_string(seen->inode) : seen.error().message()));
      if (broken_ || file.empty()) continue;
      if (S_ISLNK(file.back().mode)) continue;
      const auto bytes = world_.read_file(name);
      expect(bytes.has_value() && *bytes == *file.back().bytes && seen->size == bytes->size(),
             "What others change", "in the end a mount has other bytes in '" + name + "'");
      compare_attributes(name, key);
    }
  }
}

}  // namespace rushfs::sim

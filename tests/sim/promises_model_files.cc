// Files: opened, read, written and closed by programs of the model.
#include <sys/stat.h>

#include <algorithm>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

constexpr std::size_t kMaxCells = 40;
constexpr std::uint64_t kWholeFile = 32 << 10;

std::string join(const fs::Slices& slices) {
  std::string text;
  for (const auto& slice : slices) text.append(slice.bytes.begin(), slice.bytes.end());
  return text;
}

/// "A read(2) that is under way while a change arrives may show part of it", byte by byte, and end
/// where the file ended before.
struct Composed {
  Composed(std::uint64_t from, std::uint64_t most, const std::string& what)
      : offset(from), length(most), got(what), bytes_seen(what.size()) {}

  bool operator()(const FileState&, const std::string& bytes) {
    const auto part = offset < bytes.size() ? bytes.substr(offset, length) : "";
    had += "\n  could be " + brief(part);
    end = end || part.size() == got.size();
    for (std::size_t i = 0; i < std::min(part.size(), got.size()); ++i) {
      bytes_seen[i] = bytes_seen[i] || part[i] == got[i];
    }
    return part == got;
  }
  bool complete() const {
    return end && std::all_of(bytes_seen.begin(), bytes_seen.end(), [](bool seen) { return seen; });
  }

  const std::uint64_t offset, length;
  const std::string& got;
  std::vector<bool> bytes_seen;
  bool end = false;
  std::string had;
};

}  // namespace

void PromisesModel::check_attributes(std::size_t program, const fs::Attributes& seen,
                                     const FileKey& key, const MountModel::Asked& asked,
                                     const std::string& what) {
  Program& who = programs_[program];
  if (!S_ISREG(seen.mode)) return;
  // "What waits in the queue for a file that we removed and nobody has open is dropped."
  const bool open = std::any_of(programs_.begin(), programs_.end(), [&](const Program& other) {
    return other.client == who.client && other.file && other.file->key == key;
  });
  if (seen.links == 0 && !open) return;
  std::string had;
  const bool fits = mount(who).may_show(
      key, asked, now(), [&](const FileState& state, const std::string& bytes) {
        had += " " + std::to_string(bytes.size()) + "/" + std::to_string(state.links);
        return state.links == seen.links && bytes.size() == seen.size;
      });
  expect(fits, options_.apart ? "What a program sees of its own changes" : "What others change",
         what + " shows " + std::to_string(seen.size) + " bytes, " + std::to_string(seen.links) +
             " links; could be" + had);
}

bool PromisesModel::was_removed(const FileKey& key) const {
  const auto& states = history_.file(key);
  return std::any_of(states.begin(), states.end(),
                     [](const FileState& state) { return state.links == 0; });
}

void PromisesModel::check_file_error(std::size_t program, const std::string& what, int error,
                                     const FileKey& key, const MountModel::Asked& asked) {
  Program& who = programs_[program];
  const bool removed = was_removed(key);
  const bool cut = mount(who).cut_since(asked.when);
  // A question about something known is given up after 5 s; in a cut, so is one about a name.
  const bool right = (error == ETIMEDOUT && cut) || (error == ESTALE && removed) ||
                     (error == ENOENT && removed) || (error == EIO && who.locker);
  const bool keeps = what == "sync" || what == "close";
  const bool lost_copy = keeps && error == EIO && may_have_lost_copy(who, key);
  expect(right || lost_copy || (what == "sync" && removed),
      "Tenets: An error is the one a local disk would give",
         what + " failed: " + std::strerror(error));
}

void PromisesModel::stat(std::size_t program) {
  Program& who = programs_[program];
  if (!who.found) return look_up(program, some_name(program));
  const auto key = key_of(who.found->attributes);
  call<fs::Attributes>(
      program,
      {"stat " + about(key),
       [&](auto reply) { volume(who).get_attributes(who.found->number, std::move(reply)); },
       [this, program, key](const auto& result, const auto& asked) {
         if (result) return check_attributes(program, *result, key, asked, "stat");
         if (history_.file(key).empty()) return;  // a folder
         check_file_error(program, "stat", result.error().value(), key, asked);
       }});
}

void PromisesModel::open(std::size_t program) {
  Program& who = programs_[program];
  if (!who.found || !S_ISREG(who.found->attributes.mode)) {
    return look_up(program, some_name(program));
  }
  const auto key = key_of(who.found->attributes);
  const bool write = chance_.below(3) > 0, append = write && chance_.below(5) == 0;
  const bool truncate = write && chance_.below(5) == 0;
  const fs::OpenFlags flags{.read = true, .write = write, .append = append, .truncate = truncate};
  const auto change =
      truncate ? mount(who).begin(key, {.kind = OwnChange::Kind::resize}, now()) : 0;
  const auto node = who.found->number;
  call<fs::Opened>(
      program,
      {"open " + about(key) + (write ? " to write" : "") + (append ? ", append" : "") +
           (truncate ? ", truncate" : ""),
       [&](auto reply) { volume(who).open(who.found->number, flags, std::move(reply)); },
       [this, program, key, write, append, change, node](const auto& result, const auto& asked) {
         Program& opener = programs_[program];
         if (change != 0) mount(opener).finish(key, change, result.has_value());
         if (!result) return check_file_error(program, "open", result.error().value(), key, asked);
         opener.file = OpenFile{result->handle, key, write, append, false, node};
         opener.found.reset();  // the reference is the file's now
       }});
}

/// As the kernel: where a read may reach past the end, it first asks where that is.
void PromisesModel::read(std::size_t program) {
  Program& who = programs_[program];
  const auto file = *who.file;
  call<fs::Attributes>(
      program,
      {"read " + about(file.key) + "asks for the size",
       [&](auto reply) { volume(who).get_attributes(file.node, std::move(reply)); },
       [this, program, file](const auto& result, const auto& asked) {
         if (result) return read_known(program);
         check_file_error(program, "stat", result.error().value(), file.key, asked);
       }});
}

void PromisesModel::read_known(std::size_t program) {
  Program& who = programs_[program];
  const auto file = *who.file;
  const auto offset = chance_.below(3) == 0 ? some_offset() : 0;
  const bool all = chance_.below(4) == 0;
  const auto length = all ? kWholeFile : 1 + chance_.below(2 * kMaxCells * kCell);
  call<fs::Slices>(
      program,
      {"read " + about(file.key) + std::to_string(length) + " at " + std::to_string(offset),
       [&](auto reply) { volume(who).read(file.handle, offset, length, std::move(reply)); },
       [this, program, file, offset, length](const auto& result, const auto& asked) {
         Program& reader = programs_[program];
         if (reader.file && reader.file->elsewhere) return;
         if (!result) return check_file_error(program, "read", result.error().value(), file.key,
             asked);
         const auto got = join(*result);
         Composed seen(offset, length, got);
         const bool fits = mount(reader).may_show(file.key, asked, now(), std::ref(seen)) ||
                           seen.complete();
         expect(fits, options_.apart ? "What a program sees of its own changes" :
             "What others change",
                "a read got " + brief(got) + seen.had);
       }});
}

void PromisesModel::write(std::size_t program) {
  Program& who = programs_[program];
  const auto file = *who.file;
  if (!file.write) return close(program);
  OwnChange change;
  change.tag = next_tag(who.client);
  for (auto cells = 1 + chance_.below(6); cells > 0; --cells) change.bytes += cell(change.tag);
  change.offset = some_offset();
  const auto length = change.bytes.size();
  const std::string what = (file.append ? "append " : "write ") + about(file.key) +
                           std::to_string(change.tag) +
                           ", " + std::to_string(length) + " at " +
                           std::to_string(change.offset / kCell);
  fs::Buffer bytes(change.bytes.begin(), change.bytes.end());
  const auto offset = change.offset;
  std::uint64_t id = 0;
  if (!file.elsewhere) {
    if (file.append) change.kind = OwnChange::Kind::append;
    id = mount(who).begin(file.key, std::move(change), now());
  }
  call<std::uint64_t>(
      program,
      {what,
       [&](auto reply) {
         volume(who).write(file.handle, offset, std::move(bytes), std::move(reply));
       },
       [this, program, file, id, length](const auto& result, const auto& asked) {
         Program& writer = programs_[program];
         if (id != 0) mount(writer).finish(file.key, id, result.has_value());
         if (!result) return check_file_error(program, "write", result.error().value(), file.key,
             asked);
         expect(*result == length, "Write, close, fsync", "a short write");
       }});
}

void PromisesModel::truncate(std::size_t program) {
  Program& who = programs_[program];
  const auto file = *who.file;
  if (!file.write || file.elsewhere) return close(program);
  OwnChange own{.kind = OwnChange::Kind::resize, .size = some_offset()};
  fs::AttributeChange change;
  change.size = own.size;
  const auto id = mount(who).begin(file.key, own, now());
  call<fs::Attributes>(
      program,
      {"truncate " + about(file.key) + std::to_string(own.size),
       [&](auto reply) {
         volume(who).set_attributes(file.node, change, std::move(reply));
       },
       [this, program, file, id](const auto& result, const auto& asked) {
         mount(programs_[program]).finish(file.key, id, result.has_value());
         if (!result) check_file_error(program, "truncate", result.error().value(), file.key,
             asked);
       }});
}

void PromisesModel::close(std::size_t program) {
  Program& who = programs_[program];
  const auto file = *who.file;
  call<void>(program,
             {"close " + about(file.key),
              [&](auto reply) { volume(who).flush(file.handle, std::move(reply)); },
              [this, program, file](const auto& result, const auto& asked) {
                Program& closer = programs_[program];
                closer.file.reset();
                volume(closer).release(file.handle);
                volume(closer).forget(file.node, 1);
                if (!result) {
                  return check_file_error(program, "close", result.error().value(), file.key,
                      asked);
                }
                if (file.write) mount(closer).durable(asked.answered);
              }});
}

void PromisesModel::sync(std::size_t program) {
  Program& who = programs_[program];
  const auto file = *who.file;
  call<void>(program,
             {"sync " + about(file.key),
              [&](auto reply) { volume(who).sync(file.handle, std::move(reply)); },
              [this, program, file](const auto& result, const auto& asked) {
                Program& syncer = programs_[program];
                if (syncer.file && syncer.file->elsewhere) return;
                if (!result) {
                  return check_file_error(program, "sync", result.error().value(), file.key, asked);
                }
                mount(syncer).durable(asked.answered);
                const auto missing = mount(syncer).missing(file.key, asked.answered);
                expect(missing.empty(), "Write, close, fsync",
                       "fsync was answered, and write " +
                           std::to_string(missing.empty() ? 0 : missing.front()) +
                           " was never at the server");
              }});
}

void PromisesModel::wait(std::size_t program) {
  Program& who = programs_[program];
  call<void>(program,
             {"rushfs wait",
              [&](auto reply) { volume(who).wait_all(std::move(reply)); },
              [this, program](const auto& result, const auto& asked) {
                Program& waiter = programs_[program];
                if (!result) return;  // `rushfs wait` says so; parked things are checked elsewhere
                const auto missing = mount(waiter).missing(asked.answered);
                expect(missing.empty(), "Write, close, fsync",
                       "rushfs wait ended well, and write " +
                           std::to_string(missing.empty() ? 0 : missing.front()) +
                           " was never at the server");
              }});
}

}  // namespace rushfs::sim

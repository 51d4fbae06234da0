// Programs of the model that change a file only while they have it locked: none of them may ever
// lose the change of another.
#include <algorithm>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

using namespace std::chrono_literals;

constexpr const char* kLocks = "Locks";
constexpr std::size_t kLockedFiles = 2;

fs::LockSpan span(std::size_t file) {
  fs::LockSpan wanted;
  wanted.kind = file == 0 ? fs::LockKind::whole : fs::LockKind::record;
  wanted.type = fs::LockType::exclusive;
  return wanted;
}

}  // namespace

void PromisesModel::prepare_locks() {
  for (std::size_t i = 0; i < kLockedFiles; ++i) {
    world_.choose(0);
    const Tag tag = next_tag(9);
    REQUIRE(world_.write_file("locked" + std::to_string(i), cell(tag)));
    REQUIRE(world_.drain());
    history_.look(now());
    const auto key = history_.folder(history_.root()).back().names.at("locked" + std::to_string(i));
    locked_.push_back({key, {tag}, std::nullopt, std::nullopt, {}});
  }
  for (std::size_t i = 0; i < mounts_.size() * kLockedFiles; ++i) {
    programs_.emplace_back();
    programs_.back().client = i % mounts_.size();
    programs_.back().folder_key = history_.root();
    programs_.back().locker = i / mounts_.size();
  }
}

void PromisesModel::act_locked(std::size_t program) {
  Program& who = programs_[program];
  const auto name = "locked" + std::to_string(*who.locker);
  const auto key = locked_[*who.locker].key;
  if (who.file && who.file->elsewhere) {
    if (who.holds) lost_lock(program);
    return close(program);
  }
  if (who.holds) return chance_.below(3) == 0 ? give_lock(program) : work_under_lock(program);
  if (who.file) return chance_.below(20) == 0 ? close(program) : take_lock(program);
  if (!who.found) return look_up(program, name);
  call<fs::Opened>(
      program,
      {"open " + name,
       [&](auto reply) {
         volume(who).open(who.found->number, {.read = true, .write = true}, std::move(reply));
       },
       [this, program, key](const auto& result, const auto& asked) {
         if (!result) return check_file_error(program, "open", result.error().value(), key, asked);
         Program& opener = programs_[program];
         opener.file = OpenFile{result->handle, key, true, false, false, opener.found->number};
         opener.found.reset();
       }});
}

void PromisesModel::take_lock(std::size_t program) {
  Program& who = programs_[program];
  fs::LockAsk wanted;
  wanted.owner = program + 1;
  wanted.process = static_cast<std::uint32_t>(program + 1);
  wanted.span = span(*who.locker);
  if (!settling_ && chance_.below(2) == 0) wanted.ticket = ++lock_tickets_;
  call<void>(
      program,
      {std::string("lock") + (wanted.ticket != 0 ? ", waiting" : ""),
       [&](auto reply) { volume(who).lock(who.file->handle, wanted, std::move(reply)); },
       [this, program, key = who.file->key](const auto& result, const auto& asked) {
         Program& taker = programs_[program];
         if (!result) {
           const int error = result.error().value();
           const bool grace = now() - server_started_ < 20s;
           if (error == EAGAIN) return;
           if (error == EIO || (error == ENOLCK && grace)) return taker.file ? close(program) :
               void();
           return check_file_error(program, "lock", error, key, asked);
         }
         if (taker.file->elsewhere) return;  // a lock of a file of its own
         LockedFile& file = locked_[*taker.locker];
         if (file.holder && *file.holder != program) {
           expect(may_have_lost(*file.holder), kLocks,
                  "programs " + std::to_string(*file.holder) + " and " + std::to_string(program) +
                      " hold one lock");
           programs_[*file.holder].holds = false;
           file.may_hold.clear();
         } else if (file.giver && *file.giver != program && may_have_lost(*file.giver)) {
           file.may_hold.clear();  // before what it wrote had arrived
         }
         file.giver.reset();
         file.holder = program;
         taker.holds = true;
         taker.came_late = false;
         taker.wrote = 0;
         work_under_lock(program);
       }});
}

/// Only one who was away for long may have lost it, or was when the server asked who had locks.
bool PromisesModel::may_have_lost(std::size_t holder) const {
  if (programs_[holder].came_late) return true;
  const MountModel& other = mounts_[programs_[holder].client];
  const auto away = now() - other.last_up();
  const bool briefly = other.last_up() < server_started_ || other.last_up_for() < 1s;
  const bool missed_grace = briefly && now() >= server_started_ + 15s;
  return away >= 60s || missed_grace ||
         (other.up_since() && now() - *other.up_since() < 1s);
}

/// Reads, and writes when what was read is as it must be.
void PromisesModel::work_under_lock(std::size_t program) {
  Program& who = programs_[program];
  const auto handle = who.file->handle;
  call<fs::Slices>(
      program,
      {"read under lock",
       [&](auto reply) { volume(who).read(handle, 0, 1024, std::move(reply)); },
       [this, program, handle](const auto& result, const auto& asked) {
         Program& reader = programs_[program];
         if (!reader.holds) return;
         if (reader.file->elsewhere) return lost_lock(program);
         if (!result) {
           lost_lock(program);
           return check_file_error(program, "read under lock", result.error().value(),
                                   reader.file->key, asked);
         }
         LockedFile& file = locked_[*reader.locker];
         std::string bytes;
         for (const auto& slice : *result) bytes.append(slice.bytes.begin(), slice.bytes.end());
         const auto tags = tags_of(bytes);
         const Tag seen = tags.size() == 1 ? tags[0] : 0;
         const auto& may = file.may_hold;
         const bool right =
             may.empty() ? reader.wrote == 0 || seen == reader.wrote : may.contains(seen);
         expect(right || !file.late_from.empty(), kLocks,
                "program " + std::to_string(program) + " got a lock and reads " +
                    std::to_string(seen) + " instead of " +
                    std::to_string(may.empty() ? reader.wrote : *may.begin()));
         if (!file.may_hold.empty()) file.may_hold = {seen};
         const Tag tag = next_tag(reader.client);
         const std::string mark = cell(tag);
         file.may_hold.insert(tag);
         const bool sure = file.may_hold.size() > 1;
         if (!sure) file.may_hold.clear();
         reader.wrote = tag;
         call<std::uint64_t>(
             program,
             {"write " + std::to_string(tag) + " under lock",
              [&](auto reply) {
                volume(reader).write(handle, 0, fs::Buffer(mark.begin(), mark.end()),
                                     std::move(reply));
              },
              [this, program, tag](const auto& written, const auto& when) {
                Program& writer = programs_[program];
                if (!written) {
                  lost_lock(program);
                  return check_file_error(program, "write under lock", written.error().value(),
                                          writer.file->key, when);
                }
                if (writer.holds && !locked_[*writer.locker].may_hold.empty()) {
                  locked_[*writer.locker].may_hold = {tag};
                }
              }});
       }});
}

void PromisesModel::give_lock(std::size_t program) {
  Program& who = programs_[program];
  fs::LockAsk wanted;
  wanted.owner = program + 1;
  wanted.span = span(*who.locker);
  wanted.span.type = fs::LockType::none;
  LockedFile& file = locked_[*who.locker];
  // From here on the server may give it to others.
  if (file.holder == program) file.holder.reset();
  file.giver = program;
  who.holds = false;
  call<void>(program,
             {"unlock",
              [&](auto reply) { volume(who).lock(who.file->handle, wanted, std::move(reply)); },
              [this, program, key = who.file->key](const auto& result, const auto& asked) {
                Program& giver = programs_[program];
                if (locked_[*giver.locker].giver == program) locked_[*giver.locker].giver.reset();
                if (result) return;
                locked_[*giver.locker].may_hold.clear();
                check_file_error(program, "unlock", result.error().value(), key, asked);
              }});
}

/// What was written before a mount was killed has arrived, perhaps over what others wrote since.
void PromisesModel::nothing_late_from(std::size_t client) {
  for (std::size_t i = 0; i < locked_.size(); ++i) {
    if (locked_[i].late_from.erase(client) == 0) continue;
    locked_[i].may_hold.clear();
    for (Program& program : programs_) {
      if (program.locker == i) program.wrote = 0;
    }
  }
}

/// Nobody can tell whether what it wrote has arrived.
void PromisesModel::lost_lock(std::size_t program) {
  Program& who = programs_[program];
  if (!who.holds) return;
  LockedFile& file = locked_[*who.locker];
  if (file.holder == program) {
    file.holder.reset();
    file.may_hold.clear();
  }
  who.holds = false;
}

}  // namespace rushfs::sim

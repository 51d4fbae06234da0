// Programs on several mounts of one export, which do what
// chance says, while links are cut and everything crashes; each answer is checked against what
// docs/semantics.md promises. The operations are those of Volume, so that no kernel stands between
// a promise and its check.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/fs/client_world.h"
#include "tests/sim/chance.h"
#include "tests/sim/mount_model.h"

namespace rushfs::sim {

struct ModelOptions {
  std::uint64_t seed = 1;
  int operations = 500;
  bool apart = false;    // each mount has names of its own: nothing they do may collide
  bool cuts = true;      // links are cut and fall silent
  bool crashes = true;   // mounts and the server are killed
  bool locks = true;
  bool beside = true;    // programs on the server's own disk
};

class PromisesModel {
 public:
  explicit PromisesModel(const ModelOptions& options);
  ~PromisesModel();
  /// Runs it all. The first broken promise, with what led to it; none: all were kept.
  std::optional<std::string> run();
  std::uint64_t operations() const { return operations_; }
  std::uint64_t checks() const { return checks_; }
  /// Of everything that happened, in its order.
  std::uint64_t digest() const { return digest_; }

 private:
  /// What an operation is about.
  enum class Subject : std::uint8_t { bytes, names, attributes, space, copies };
  static constexpr std::uint64_t kSubjects = 5;
  struct OpenFile {
    fs::HandleNumber handle;
    FileKey key;
    bool write = false, append = false;
    bool elsewhere = false;  // it may have become a conflict copy
    fs::NodeNumber node;     // referenced for as long as it is open
  };
  struct Program {
    std::size_t client = 0;
    std::uint64_t life = 0;  // of its mount; answers to an earlier one are nobody's
    bool busy = false;
    std::string does;  // when busy
    fs::NodeNumber folder = fs::kRootNode;
    FileKey folder_key;
    std::optional<fs::NodeReference> found;
    std::optional<OpenFile> file;
    // Of those that use locks only:
    std::optional<std::size_t> locker;  // which file
    bool holds = false;
    bool came_late = false;  // with the lock it had, after it may have been given to others
    Tag wrote = 0;
  };
  struct LockedFile {
    FileKey key;
    std::set<Tag> may_hold;  // what whoever gets the lock may find; empty: anything
    std::optional<std::size_t> holder;
    std::optional<std::size_t> giver;  // who gives it up, and has no answer yet
    /// Mounts that were killed, and whose next process still sends what was written under locks.
    std::set<std::size_t> late_from;
  };
  template <class T>
  struct Call {
    std::string what;
    std::function<void(fs::Reply<T>)> start;
    std::function<void(const fs::Result<T>&, const MountModel::Asked&)> check;
  };
  template <class T>
  void call(std::size_t program, Call<T> asked_for) {
    Program& who = programs_[program];
    who.busy = true;
    who.does = asked_for.what;
    ++operations_;
    const auto asked = mount(who).ask(now());
    note(who.client, std::to_string(program) + " " + asked_for.what);
    asked_for.start(fs::Reply<T>([this, program, life = who.life, asked, what = asked_for.what,
                                  check = asked_for.check](fs::Result<T> result) {
      if (programs_[program].life != life) return;
      programs_[program].busy = false;
      refresh(programs_[program].client);
      note(programs_[program].client, std::to_string(program) + "   " + what + ": " +
                                          (result ? "done" : result.error().message()));
      check(result, asked);
    }));
  }

  // promises_model.cc: what happens, and when
  void look_at_server();
  void step();
  void happen();
  void watch();
  void kill_client(std::size_t client);
  void cut_power();
  void act_beside();
  void refresh(std::size_t client);

  // promises_model_acts.cc
  bool in_use(std::size_t client, const std::string& beginning) const;
  bool names_in_use(std::size_t client, bool to_change) const;
  Subject some_subject(const Program& who);
  void act(std::size_t program);
  void use_bytes(std::size_t program);
  void use_names(std::size_t program);

  // promises_model_end.cc
  void close_all();
  void settle();
  void compare_with_server();
  void compare_attributes(const std::string& name, const FileKey& key);

  struct Rename {
    fs::RenameMode mode;
    FileKey from_folder, to_folder;
    std::string from, to;
  };

  // promises_model_names.cc
  void look_up(std::size_t program, const std::string& name);
  void enter(std::size_t program);
  void create(std::size_t program, const std::string& name);
  void make_directory(std::size_t program, const std::string& name);
  void link(std::size_t program, const std::string& name);
  void remove(std::size_t program, const std::string& name, bool directory);
  void rename(std::size_t program, const std::string& from, const std::string& to);
  bool renamed(const Rename& what, const FolderState* before, const FolderState& after) const;
  void make_symlink(std::size_t program, const std::string& name);
  void read_symlink(std::size_t program);
  void list(std::size_t program);
  std::string some_name(std::size_t program);
  /// Some state of the folder between the two moments has it.
  std::optional<std::size_t> happened(const FileKey& folder, TimePoint from,
                                      const std::function<bool(const FolderState* before,
                                                               const FolderState&)>& it) const;
  void check_name_error(std::size_t program, const std::string& what, int error,
                        const MountModel::Asked& asked, const std::string& name);

  // promises_model_files.cc
  void stat(std::size_t program);
  void open(std::size_t program);
  void read(std::size_t program);
  void read_known(std::size_t program);
  void write(std::size_t program);
  void truncate(std::size_t program);
  void close(std::size_t program);
  void sync(std::size_t program);
  void wait(std::size_t program);
  void check_attributes(std::size_t program, const fs::Attributes& seen, const FileKey& key,
                        const MountModel::Asked& asked, const std::string& what);
  bool was_removed(const FileKey& key) const;
  void check_file_error(std::size_t program, const std::string& what, int error, const FileKey& key,
                        const MountModel::Asked& asked);

  // promises_model_attributes.cc
  void use_attributes(std::size_t program);
  void set_attribute(std::size_t program, fs::NodeNumber node, const FileKey& key);
  void get_attribute(std::size_t program, fs::NodeNumber node, const FileKey& key);
  void list_attributes(std::size_t program, fs::NodeNumber node, const FileKey& file);

  // promises_model_space.cc
  std::uint64_t some_offset();
  void use_space(std::size_t program);
  void allocate(std::size_t program);
  void seek(std::size_t program);

  // promises_model_copies.cc
  struct CopySpan {
    std::uint64_t from, to, length;  // in source and target
  };
  void copy(std::size_t program);
  void copy(std::size_t program, std::size_t source, CopySpan span);
  std::optional<std::size_t> copied(const MountModel& own, const FileKey& from, const FileKey& to,
                                    const CopySpan& span, std::uint64_t count,
                                    const MountModel::Asked& asked) const;
  bool may_have_lost_copy(const Program& who, const FileKey& key) const;

  // promises_model_locks.cc
  void prepare_locks();
  void act_locked(std::size_t program);
  void take_lock(std::size_t program);
  void work_under_lock(std::size_t program);
  void give_lock(std::size_t program);
  bool may_have_lost(std::size_t holder) const;
  void nothing_late_from(std::size_t client);
  void lost_lock(std::size_t program);

  fs::Volume& volume(const Program& program) { return world_.volume(program.client); }
  MountModel& mount(const Program& program) { return mounts_[program.client]; }
  TimePoint now() const { return world_.now(); }
  Tag next_tag(std::size_t client) { return ++tags_ * 10 + client; }
  fs::test::WorldOptions world_options();
  void note(std::size_t client, const std::string& line);
  void digest(const void* bytes, std::size_t size);
  static bool tracing();
  static std::string about(const FileKey& key) { return "#" + std::to_string(key.inode) + " "; }
  /// `paragraph`: of docs/semantics.md.
  void broken(const std::string& paragraph, const std::string& how);
  void expect(bool kept, const std::string& paragraph, const std::string& how) {
    ++checks_;
    if (!kept) broken(paragraph, how);
  }

  ModelOptions options_;
  Chance chance_;
  const Subject favourite_;
  std::unique_ptr<MemoryDisk> disk_;
  std::unique_ptr<fs::test::World> world_owner_;  // ends first: it answers who still waits
  fs::test::World& world_;
  ServerHistory history_;
  std::vector<MountModel> mounts_;
  std::vector<std::size_t> conflicts_;  // seen of each mount
  /// Files in which each mount had the server copy or clear something, when first.
  std::vector<std::map<FileKey, TimePoint>> asked_of_server_;
  std::set<std::size_t> unanswered_;  // mounts with a change that may have happened
  std::vector<Program> programs_;
  std::uint64_t lock_tickets_ = 0;
  std::vector<LockedFile> locked_;
  std::deque<std::string> log_;
  std::optional<std::string> broken_;
  std::optional<TimePoint> server_back_;  // it is down until then
  std::optional<TimePoint> power_cut_;    // the last time
  TimePoint server_started_{};
  std::vector<std::optional<TimePoint>> heard_again_;
  std::vector<bool> ready_;  // mounts that know their root
  std::uint64_t tags_ = 0, operations_ = 0, checks_ = 0, digest_ = 0;
  bool settling_ = false;
};

}  // namespace rushfs::sim

#include "tests/sim/memory_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "fs/server/directory_store.h"

namespace rushfs::sim {

using namespace fs;  // NOLINT: a Store speaks the language of files

namespace {

using File = MemoryDisk::FileRef;

NodeId id_of(const MemoryDisk::File& file) {
  NodeId id;
  id.bytes.assign(reinterpret_cast<const char*>(&file.inode), sizeof file.inode);
  return id;
}

struct MemoryNode final : Node {
  explicit MemoryNode(File f) : Node(id_of(*f), f->mode & S_IFMT), file(std::move(f)) {}
  File file;
};
struct MemoryFile final : StoreFile {
  explicit MemoryFile(File f)
      : file(std::move(f)), losses_known(MemoryDisk::losses_known_at_open(*file)) {}
  File file;
  std::uint64_t losses_known;
};

const File& at(const Node& node) {
  return static_cast<const MemoryNode&>(node).file;
}
MemoryDisk::File& at(StoreFile& file) {
  return *static_cast<MemoryFile&>(file).file;
}

Found found(const File& file) {
  return {std::make_shared<MemoryNode>(file), MemoryDisk::attributes(*file)};
}

class MemoryWatch final : public StoreWatch {
 public:
  explicit MemoryWatch(MemoryDisk& disk) : disk_(disk) {
    disk.watch([this](const MemoryDisk::File& file, const std::string& name) {
      changes_.push_back({id_of(file), name});
    });
  }
  ~MemoryWatch() override { disk_.watch({}); }
  int descriptor() const override { return -1; }
  std::optional<std::vector<StoreChange>> take() override { return std::exchange(changes_, {}); }

 private:
  MemoryDisk& disk_;
  std::vector<StoreChange> changes_;
};

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(MemoryDisk& disk) : disk_(disk), root_id_(id_of(*disk.root())) {}

  bool present() const override { return true; }
  Result<std::shared_ptr<const Store>> reopen() const override { return errno_code(ENODEV); }
  Result<std::unique_ptr<StoreWatch>> watch() const override {
    return std::unique_ptr<StoreWatch>(std::make_unique<MemoryWatch>(disk_));
  }
  Result<Found> root() const override { return found(disk_.root()); }
  const NodeId& root_id() const override { return root_id_; }
  Result<NodeRef> resolve(const NodeId& id, const NamePath*) const override;
  bool needs_paths() const override { return false; }
  std::vector<NodePlace> find(const std::vector<NodeId>&) const override { return {}; }
  Result<void> check_inside(const Node&) const override { return boost::system::in_place_value; }

  Result<Attributes> attributes(const Node& node) const override {
    return MemoryDisk::attributes(*at(node));
  }
  Result<Found> lookup(const Node& directory, const std::string& name) const override;
  Result<ReadDirectoryReply> list(const ReadDirectory& request, const Node& folder) const override;
  Result<std::string> readlink(const Node& node) const override {
    if (node.type() != S_IFLNK) return errno_code(EINVAL);
    return *at(node)->bytes;
  }
  void touch(const Node&) const override {}  // a disk without access times
  Result<StatFsReply> statfs(const Node&) const override {
    constexpr std::uint64_t kMuch = 1 << 20;
    return StatFsReply{4096, kMuch, kMuch, kMuch, kMuch, kMuch, kMuch};
  }

  Result<FileRef> open(const Node& node, bool) const override {
    if (node.type() == S_IFDIR) return errno_code(EISDIR);
    if (node.type() != S_IFREG) return errno_code(EINVAL);
    return FileRef(std::make_shared<MemoryFile>(at(node)));
  }
  Result<std::size_t> read(StoreFile& file, std::uint64_t offset,
                           std::span<std::uint8_t> into) const override;
  Result<void> write(StoreFile& file, std::uint64_t offset, std::span<const std::uint8_t> data,
                     bool) const override {
    disk_.write(at(file), offset, {reinterpret_cast<const char*>(data.data()), data.size()});
    return boost::system::in_place_value;
  }
  Result<void> start_sync(StoreFile&) const override { return boost::system::in_place_value; }
  Result<void> write_out(StoreFile&, std::uint64_t, std::uint64_t) const override {
    return boost::system::in_place_value;
  }
  Result<void> sync(const Node& node, StoreFile* file, bool, bool) const override {
    std::uint64_t none = 0;
    return disk_.sync(*at(node), file ? static_cast<MemoryFile*>(file)->losses_known : none);
  }
  bool has_name(const Node& node) const override { return at(node)->links > 0; }

  Result<void> set_attributes(const Node& node, StoreFile* file,
                              const AttributeChanges& changes) const override;
  Result<Created> create(const NewName& where, std::uint32_t mode) const override {
    return created(make(where, S_IFREG | (mode & 07777)));
  }
  Result<Found> make_directory(const NewName& where, std::uint32_t mode) const override {
    return make(where, S_IFDIR | (mode & 07777));
  }
  Result<Found> make_node(const NewName& where, std::uint32_t mode, std::uint32_t major,
                          std::uint32_t minor) const override;
  Result<Found> symlink(const NewName& where, const std::string& target) const override;
  Result<void> link(const Node& node, const Node& directory,
                    const std::string& name) const override;
  Result<void> unlink(const Node& directory, const std::string& name) const override {
    return disk_.unlink(*at(directory), name);
  }
  Result<void> remove_directory(const Node& directory, const std::string& name) const override {
    return disk_.remove_directory(*at(directory), name);
  }
  Result<void> rename(const Node& from, const std::string& from_name, const Node& to,
                      const std::string& to_name, RenameMode mode) const override {
    if (hidden(to, to_name)) return errno_code(EPERM);
    return disk_.rename(at(from), from_name, at(to), to_name, mode);
  }

  Result<std::vector<Xattr>> list_xattrs(const Node& node) const override;
  Result<std::string> get_xattr(const Node& node, const std::string& name) const override;
  Result<void> set_xattr(const Node& node, const std::string& name,
                         const std::optional<std::string>& value, XattrMode mode) const override;
  Result<void> allocate(StoreFile& file, std::uint32_t mode, std::uint64_t offset,
                        std::uint64_t length) const override;
  Result<std::uint64_t> next_data(StoreFile& file, std::uint64_t offset) const override {
    return MemoryDisk::next_data(at(file), offset);
  }
  Result<DataRangesReply> data_ranges(StoreFile& file, std::uint64_t offset,
                                      std::uint32_t count) const override;
  Result<std::uint64_t> copy_range(StoreFile& from, std::uint64_t from_offset, StoreFile& to,
                                   std::uint64_t to_offset, std::uint64_t length) const override;
  Result<std::uint64_t> append(StoreFile& file, const Append& request) const override;
  Result<Created> create_unnamed(const Node& directory, const Caller& caller,
                                 std::uint32_t mode) const override {
    return created(make({directory, "", caller}, S_IFREG | (mode & 07777)));
  }
  Result<std::uint32_t> file_flags(const Node&, std::optional<std::uint32_t>) const override {
    return errno_code(ENOTTY);
  }

  Result<void> keep_orphan(const Node& node, const std::string& orphan) const override {
    return disk_.link(at(node), *disk_.orphans(), orphan);
  }
  void drop_orphan(const std::string& orphan) const override {
    static_cast<void>(disk_.unlink(*disk_.orphans(), orphan));
  }
  std::vector<OrphanFile> orphans() const override;

 private:
  bool hidden(const Node& directory, const std::string& name) const {
    return name == kOrphanFolder && at(directory) == disk_.root();
  }
  Result<Found> make(const NewName& where, std::uint32_t mode) const {
    if (hidden(where.directory, where.name)) return errno_code(EPERM);
    auto made = disk_.make(at(where.directory), where.name, where.caller, mode);
    if (!made) return made.error();
    return found(*made);
  }
  static Result<Created> created(Result<Found> made) {
    if (!made) return made.error();
    const File file = at(*made->node);
    return Created{std::move(*made), std::make_shared<MemoryFile>(file)};
  }

  MemoryDisk& disk_;
  const NodeId root_id_;
};

Result<NodeRef> MemoryStore::resolve(const NodeId& id, const NamePath*) const {
  std::uint64_t inode = 0;
  if (id.bytes.size() != sizeof inode) return errno_code(ESTALE);
  std::memcpy(&inode, id.bytes.data(), sizeof inode);
  const auto file = disk_.find(inode);
  if (!file) return errno_code(ESTALE);
  return NodeRef(std::make_shared<MemoryNode>(file));
}

Result<Found> MemoryStore::lookup(const Node& directory, const std::string& name) const {
  const File& folder = at(directory);
  if (!folder->folder()) return errno_code(ENOTDIR);
  if (name == ".") return found(folder);
  if (name == "..") {
    const auto above = folder->parent.lock();
    return found(above ? above : disk_.root());
  }
  auto there = disk_.look_up(*folder, name);
  if (!there) return there.error();
  return found(*there);
}

Result<ReadDirectoryReply> MemoryStore::list(const ReadDirectory& request, const Node& node) const {
  constexpr std::uint64_t kDot = 1, kDotDot = 2;
  const File& folder = at(node);
  if (!folder->folder()) return errno_code(ENOTDIR);
  ReadDirectoryReply reply;
  reply.directory = MemoryDisk::attributes(*folder);
  reply.end = true;
  if (folder->links == 0) return reply;  // removed
  if (request.cookie < kDot) {
    reply.entries.push_back({kDot, folder->inode, DT_DIR, ".", {}});
  }
  if (request.cookie < kDotDot) {
    const auto above = folder->parent.lock();
    reply.entries.push_back({kDotDot, (above ? above : folder)->inode, DT_DIR, "..", {}});
  }
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, found] : folder->names) {
    if (found.cookie <= request.cookie) continue;
    DirectoryEntry entry{found.cookie,
                         found.file->inode,
                         static_cast<std::uint8_t>(IFTODT(found.file->mode)),
                         name,
                         {}};
    if (request.with_entries) {
      entry.entry = Entry{id_of(*found.file), MemoryDisk::attributes(*found.file)};
    }
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.cookie < b.cookie; });
  constexpr std::size_t kEntrySize = 160;  // beside its name, at most
  std::size_t used = 2 * kEntrySize;
  for (auto& entry : entries) {
    used += kEntrySize + entry.name.size();
    if (used > request.max_bytes && !reply.entries.empty()) {
      reply.end = false;
      break;
    }
    reply.entries.push_back(std::move(entry));
  }
  return reply;
}

Result<std::size_t> MemoryStore::read(StoreFile& file, std::uint64_t offset,
                                      std::span<std::uint8_t> into) const {
  const std::string& bytes = *at(file).bytes;
  if (offset >= bytes.size()) return std::size_t{0};
  const std::size_t count = std::min<std::size_t>(into.size(), bytes.size() - offset);
  std::memcpy(into.data(), bytes.data() + offset, count);
  return count;
}

Result<void> MemoryStore::set_attributes(const Node& node, StoreFile* file,
                                         const AttributeChanges& changes) const {
  MemoryDisk::File& to = *at(node);
  if (changes.size) {
    if (file == nullptr) return errno_code(to.folder() ? EISDIR : EINVAL);
    disk_.truncate(to, *changes.size);
  }
  if (changes.uid || changes.gid || changes.nothing()) {
    to.uid = changes.uid.value_or(to.uid);
    to.gid = changes.gid.value_or(to.gid);
    if (!to.folder()) to.mode &= ~static_cast<std::uint32_t>(S_ISUID | S_ISGID);
    disk_.touched(to);
  }
  if (changes.mode) {
    if (node.type() == S_IFLNK) return errno_code(EOPNOTSUPP);
    to.mode = (to.mode & S_IFMT) | (*changes.mode & 07777);
    disk_.touched(to);
  }
  if (changes.atime || changes.mtime) disk_.set_times(to, changes.atime, changes.mtime);
  return boost::system::in_place_value;
}

Result<Found> MemoryStore::make_node(const NewName& where, std::uint32_t mode, std::uint32_t major,
                                     std::uint32_t minor) const {
  auto made = make(where, mode & (S_IFMT | 07777));
  if (!made) return made.error();
  at(*made->node)->major = major;
  at(*made->node)->minor = minor;
  return found(at(*made->node));
}

Result<Found> MemoryStore::symlink(const NewName& where, const std::string& target) const {
  auto made = make(where, S_IFLNK | 0777);
  if (!made) return made.error();
  disk_.set_bytes(*at(*made->node), target);
  return found(at(*made->node));
}

Result<void> MemoryStore::link(const Node& node, const Node& directory,
                               const std::string& name) const {
  if (hidden(directory, name) || node.type() == S_IFDIR) return errno_code(EPERM);
  return disk_.link(at(node), *at(directory), name);
}

Result<std::vector<Xattr>> MemoryStore::list_xattrs(const Node& node) const {
  std::vector<Xattr> xattrs;
  for (const auto& [name, value] : at(node)->xattrs) xattrs.push_back({name, value});
  return xattrs;
}

Result<std::string> MemoryStore::get_xattr(const Node& node, const std::string& name) const {
  const auto found = at(node)->xattrs.find(name);
  if (found == at(node)->xattrs.end()) return errno_code(ENODATA);
  return found->second;
}

Result<void> MemoryStore::set_xattr(const Node& node, const std::string& name,
                                    const std::optional<std::string>& value, XattrMode mode) const {
  MemoryDisk::File& file = *at(node);
  const bool there = file.xattrs.contains(name);
  if (there && mode == XattrMode::create) return errno_code(EEXIST);
  if (!there && (mode == XattrMode::replace || !value)) return errno_code(ENODATA);
  if (value) {
    file.xattrs[name] = *value;
  } else {
    file.xattrs.erase(name);
  }
  disk_.touched(file);
  return boost::system::in_place_value;
}

Result<void> MemoryStore::allocate(StoreFile& file, std::uint32_t mode, std::uint64_t offset,
                                   std::uint64_t length) const {
  constexpr std::uint32_t kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const bool zero = (mode & ~std::uint32_t{FALLOC_FL_KEEP_SIZE}) == FALLOC_FL_ZERO_RANGE;
  if (length == 0) return errno_code(EINVAL);
  if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE && mode != kPunch && !zero) {
    return errno_code(EOPNOTSUPP);
  }
  MemoryDisk::File& to = at(file);
  std::string bytes = *to.bytes;
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0) bytes.resize(std::max(bytes.size(), offset + length));
  if ((zero || mode == kPunch) && offset < bytes.size()) {
    const auto count = std::min<std::uint64_t>(length, bytes.size() - offset);
    bytes.replace(offset, count, count, '\0');
  }
  disk_.set_bytes(to, std::move(bytes));
  return boost::system::in_place_value;
}

Result<DataRangesReply> MemoryStore::data_ranges(StoreFile& file, std::uint64_t offset,
                                                 std::uint32_t count) const {
  const std::uint64_t size = at(file).bytes->size();
  DataRangesReply reply;
  reply.known_to = offset;
  while (reply.known_to < size && reply.ranges.size() < count) {
    const auto begin = MemoryDisk::next_data(at(file), reply.known_to);
    reply.known_to = MemoryDisk::next_hole(at(file), begin);
    if (begin < size) reply.ranges.push_back({begin, reply.known_to});
  }
  return reply;
}

Result<std::uint64_t> MemoryStore::copy_range(StoreFile& from, std::uint64_t from_offset,
                                              StoreFile& to, std::uint64_t to_offset,
                                              std::uint64_t length) const {
  const std::string bytes = *at(from).bytes;
  if (from_offset >= bytes.size()) return std::uint64_t{0};
  const std::string part = bytes.substr(from_offset, length);
  disk_.write(at(to), to_offset, part);
  return std::uint64_t{part.size()};
}

Result<std::uint64_t> MemoryStore::append(StoreFile& file, const Append& request) const {
  MemoryDisk::File& to = at(file);
  const std::uint64_t size = to.bytes->size();
  std::string_view data(reinterpret_cast<const char*>(request.data.data()), request.data.size());
  if (request.repeated && request.expected < size) {
    const auto there = std::min<std::uint64_t>(data.size(), size - request.expected);
    const bool holds = to.bytes->compare(request.expected, there, data.substr(0, there)) == 0;
    if (holds) data.remove_prefix(there);
  }
  if (data.empty()) return request.expected;
  disk_.write(to, size, data);
  return to.bytes->size() - request.data.size();
}

std::vector<OrphanFile> MemoryStore::orphans() const {
  std::vector<OrphanFile> out;
  for (const auto& [name, found] : disk_.orphans()->names) {
    out.push_back({name, std::make_shared<MemoryNode>(found.file)});
  }
  return out;
}

}  // namespace

std::shared_ptr<const Store> open_memory_store(MemoryDisk& disk) {
  return std::make_shared<MemoryStore>(disk);
}

}  // namespace rushfs::sim

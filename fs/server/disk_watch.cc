#include "fs/server/disk_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace rushfs::fs {
namespace {

constexpr std::uint64_t kNameEvents = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;
constexpr std::size_t kBuffer = 64 << 10;
constexpr int kReadsPerTurn = 16;  // a flood leaves room for the file loop's other work

/// A part of an event that names a file: its handle, and behind it perhaps a name.
struct Named {
  NodeIdentity identity;
  std::string name;
};

Named named(const fanotify_event_info_fid& part) {
  file_handle head;
  std::memcpy(&head, part.handle, sizeof(head));
  Named out;
  static_assert(sizeof(part.fsid) == sizeof(out.identity.file_system));
  std::memcpy(&out.identity.file_system, &part.fsid, sizeof(part.fsid));
  out.identity.by_handle = true;
  out.identity.handle_type = head.handle_type;
  const char* bytes = reinterpret_cast<const char*>(part.handle) + sizeof(head);
  out.identity.handle.assign(bytes, head.handle_bytes);
  const char* end = reinterpret_cast<const char*>(&part) + part.hdr.len;
  const char* name = bytes + head.handle_bytes;
  if (part.hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME && name < end) out.name = name;
  return out;
}

}  // namespace

Result<std::unique_ptr<StoreWatch>> DiskWatch::open(const DiskMarks& marks, std::string root,
                                                    const NodeIdCodec::Key& key) {
  auto events = marks.events();
  if (!events) return events.error();
  Descriptor mounts(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  if (!mounts) return errno_code(errno);
  return std::unique_ptr<StoreWatch>(
      new DiskWatch(std::move(*events), std::move(mounts), std::move(root), key));
}

DiskWatch::DiskWatch(Descriptor events, Descriptor mounts, std::string root,
                     const NodeIdCodec::Key& key)
    : events_(std::move(events)),
      mounts_(std::move(mounts)),
      root_(std::move(root)),
      codec_(key),
      mounted_(mounts_beneath(root_)) {}

/// proc_pid_mountinfo(5): a change of any mount shows as an exceptional condition, once.
bool DiskWatch::mounts_changed() {
  pollfd one{mounts_.get(), POLLPRI, 0};
  if (::poll(&one, 1, 0) <= 0 || (one.revents & (POLLPRI | POLLERR)) == 0) return false;
  return std::exchange(mounted_, mounts_beneath(root_)) != mounted_;
}

void DiskWatch::add(const fanotify_event_metadata& event, const char* bytes,
                    std::vector<StoreChange>& out) const {
  if (event.pid == ::getpid()) return;
  for (std::size_t at = event.metadata_len; at < event.event_len;) {
    const auto& part = *reinterpret_cast<const fanotify_event_info_fid*>(bytes + at);
    at += part.hdr.len;
    if (part.hdr.len == 0) break;
    Named what = named(part);
    const NodeId node = codec_.seal(what.identity);
    const bool of_name = part.hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME;
    if (!of_name) {
      out.push_back({node, ""});  // the file itself, whatever happened to it
    } else if ((event.mask & kNameEvents) != 0) {
      out.push_back({node, what.name == "." ? "" : what.name});
    } else if (what.name == ".") {
      out.push_back({node, ""});  // the directory's own attributes
    }
  }
}

std::optional<std::vector<StoreChange>> DiskWatch::take() {
  alignas(fanotify_event_metadata) static thread_local std::array<char, kBuffer> buffer;
  std::vector<StoreChange> out;
  if (mounts_changed()) return std::nullopt;
  for (int i = 0; i < kReadsPerTurn; ++i) {
    const ssize_t size = ::read(events_.get(), buffer.data(), buffer.size());
    if (size <= 0) break;
    for (const char* at = buffer.data(); at < buffer.data() + size;) {
      fanotify_event_metadata event{};  // its place may be aligned to 4 bytes only
      std::memcpy(&event, at, sizeof event);
      if (event.vers != FANOTIFY_METADATA_VERSION || event.event_len == 0) break;
      if ((event.mask & FAN_Q_OVERFLOW) != 0) return std::nullopt;
      add(event, at, out);
      at += event.event_len;
    }
  }
  return out;
}

}  // namespace rushfs::fs

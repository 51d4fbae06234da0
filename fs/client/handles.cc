#include "fs/client/handles.h"

#include <cerrno>

namespace rushfs::fs {

void Handles::count(const Handle& handle, int change) {
  handle.inode->opens += static_cast<std::uint32_t>(change);
  if (handle.flags.write) handle.inode->writers += static_cast<std::uint32_t>(change);
}

bool Handle::take_loss() {
  if (losses_told == inode->losses) return false;
  losses_told = inode->losses_told = inode->losses;
  return true;
}

HandleNumber Handles::add(const InodeRef& inode, OpenFlags flags) {
  const HandleNumber number{next_++};
  const auto added = handles_.emplace(number.value, Handle{inode, flags});
  added.first->second.losses_told = inode->losses_told;
  count(added.first->second, 1);
  return number;
}

Handle* Handles::find(HandleNumber number) {
  const auto found = handles_.find(number.value);
  return found == handles_.end() ? nullptr : &found->second;
}

Result<Handle*> Handles::usable(HandleNumber number) {
  Handle* handle = find(number);
  if (!handle) return errno_code(EBADF);
  if (handle->lost) return errno_code(EIO);
  return handle;
}

std::optional<Handle> Handles::remove(HandleNumber number) {
  auto found = handles_.extract(number.value);
  if (!found) return std::nullopt;
  count(found.mapped(), -1);
  return std::move(found.mapped());
}

void Handles::move(Handle& handle, const InodeRef& to) {
  count(handle, -1);
  handle.inode = to;
  handle.losses_told = to->losses_told;
  count(handle, 1);
}

void Handles::each(const std::function<void(HandleNumber, Handle&)>& visit) {
  for (auto& [number, handle] : handles_) visit(HandleNumber{number}, handle);
}

}  // namespace rushfs::fs

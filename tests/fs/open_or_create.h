// What the kernel does of an open(2) with O_CREAT where it knows of nothing of that name: told that
// there is something (ESTALE), it looks it up and opens it; a symlink it would follow.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>
#include <utility>

#include "fs/client/volume.h"

namespace rushfs::fs::test {

inline void open_or_create(Volume& volume, NodeNumber folder, const std::string& name,
                           OpenFlags flags, std::uint32_t mode, Reply<Created> reply) {
  auto open = [&volume, flags](NodeReference found, Reply<Created> opened) {
    volume.open(found.number, flags,
                [&volume, found, opened = std::move(opened)](Result<Opened> handle) mutable {
                  if (handle) return opened(Created{found, *handle});
                  volume.forget(found.number, 1);
                  opened.fail(handle.error());
                });
  };
  auto look = [&volume, folder, name, open](Reply<Created> opened) {
    volume.lookup(folder, name,
                  [volume = &volume, open,
                   opened = std::move(opened)](Result<NodeReference> found) mutable {
                    if (!found) return opened.fail(found.error());
                    if (found->number.value == 0) return opened.fail(ENOENT);
                    if (S_ISLNK(found->attributes.mode)) {
                      volume->forget(found->number, 1);
                      return opened.fail(ELOOP);
                    }
                    open(*found, std::move(opened));
                  });
  };
  volume.create(folder, name, Caller{0, 0, 022}, mode, flags,
                [look, flags, reply = std::move(reply)](Result<Created> made) mutable {
                  const bool there = !made && made.error() == errno_code(ESTALE);
                  if (!there || flags.exclusive) return reply(std::move(made));
                  look(std::move(reply));
                });
}

}  // namespace rushfs::fs::test

"""Names, and what is behind them: rows of conformance_test.py."""
import os
import socket
import stat
import subprocess
import time

from conformance import *


@row
def special_files(folder):
    kinds = {"pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK, "regular": stat.S_IFREG,
             "characters": stat.S_IFCHR, "blocks": stat.S_IFBLK, "folder": stat.S_IFDIR}
    seen = []
    for who in (0, USER):
        for name, kind in kinds.items():
            path = folder / f"{name} {who}"
            make = lambda: os.mknod(path, kind | 0o666, os.makedev(1, 3))
            seen.append((name, who, as_user(who, make)))
            if path.exists():
                status = path.lstat()
                seen.append((oct(status.st_mode), status.st_uid, status.st_gid, status.st_rdev,
                             status.st_nlink, status.st_size))
    # Devices mean nothing here, nor there: both are mounted with nodev.
    seen += [attempt(os.open, folder / f"{name} 0", os.O_RDWR) for name in ("characters", "blocks")]
    seen.append(attempt(os.open, folder / "socket 0", os.O_RDWR))
    return seen


@row
def a_pipe_connects(folder):
    path = folder / "pipe"
    os.mkfifo(path, 0o600)
    seen = [attempt(os.open, path, os.O_WRONLY | os.O_NONBLOCK), attempt(os.mkfifo, path),
            as_user(USER, os.open, path, os.O_RDONLY | os.O_NONBLOCK)]
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    seen += [os.write(writing, b"through"), os.read(reading, 100), attempt(os.read, reading, 1),
             attempt(os.lseek, reading, 0, os.SEEK_SET), os.fstat(reading).st_size]
    os.close(writing)
    seen.append(os.read(reading, 1))
    os.close(reading)
    return seen


@row
def a_socket_connects(folder):
    directory = os.open(folder, os.O_RDONLY)
    name = f"/proc/self/fd/{directory}/s"  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(name)
        seen = [mode_of(folder / "s"), attempt(socket.socket(socket.AF_UNIX).bind, name)]
        server.listen()
        client.connect(name)
        client.send(b"through")
        seen.append(server.accept()[0].recv(100))
    os.close(directory)
    return seen + [attempt(socket.socket(socket.AF_UNIX).connect, str(folder / "s")[-100:])]


@row
def links_are_counted(folder):
    path, second = put(folder / "file", b"content"), folder / "second"
    os.mkdir(folder / "dir")
    os.symlink("file", folder / "symlink")
    count = lambda: os.stat(path).st_nlink
    seen = [count(), attempt(os.link, path, second), count(), os.path.samefile(path, second),
            attempt(os.link, path, second), attempt(os.link, folder / "none", folder / "x"),
            attempt(os.link, path, folder / "none/x"), attempt(os.link, folder / "dir", folder / "x"),
            attempt(os.link, folder / "symlink", folder / "of symlink", follow_symlinks=False),
            os.lstat(folder / "symlink").st_nlink, mode_of(folder / "of symlink")]
    put(second, b"through the other name")
    seen.append(get(path))
    os.rename(path, second)  # two names of one file: nothing happens
    seen += [count(), sorted(os.listdir(folder))]
    os.unlink(second)
    seen += [count(), get(path)]
    for number in range(20):
        os.link(path, folder / f"link {number}")
    seen.append(count())
    # Folders count those in them.
    below = lambda: os.stat(folder / "dir").st_nlink
    seen.append(below())
    for number in range(3):
        os.mkdir(folder / f"dir/{number}")
    seen.append(below())
    os.rmdir(folder / "dir/0")
    os.rename(folder / "dir/1", folder / "out")
    put(folder / "dir/file")
    seen.append(below())
    os.chown(folder / "link 1", USER, USER)
    os.chmod(folder / "link 1", 0o600)
    return seen + [as_user(USER, os.link, path, folder / "own"),
                   as_user(OTHER, os.link, path, folder / "other's")]


@row
def opening_with_flags(folder):
    put(folder / "file", b"content")
    os.mkdir(folder / "dir")
    os.symlink("file", folder / "link")
    os.symlink("dir", folder / "dirlink")
    os.symlink("nothing", folder / "dangling")
    seen = []
    for name in ("file", "dir", "link", "dirlink", "dangling", "none", "file/", "dir/", "none/"):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_NOFOLLOW,
                      os.O_WRONLY | os.O_NOFOLLOW, os.O_RDONLY | os.O_DIRECTORY,
                      os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, os.O_PATH | os.O_NOFOLLOW,
                      os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW,
                      os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, os.O_RDWR | os.O_CREAT,
                      os.O_RDONLY | os.O_CREAT | os.O_EXCL):
            before = set(os.listdir(folder))
            result = attempt(os.open, f"{folder}/{name}", flags, 0o640)
            if isinstance(result, int):
                kind = stat.S_IFMT(os.fstat(result).st_mode)
                os.close(result)
                result = oct(kind)
            made = set(os.listdir(folder)) - before
            seen.append((name, oct(flags), result, sorted(made)))
            for new in made:
                os.unlink(folder / new)
    fd = os.open(folder / "file", os.O_RDONLY | os.O_TRUNC)  # what it does is up to the system
    seen.append(os.fstat(fd).st_size)
    os.close(fd)
    return seen


@row
def folders_that_are_not_empty(folder):
    for name in ("full", "other", "empty", "empty2"):
        os.mkdir(folder / name)
    put(folder / "file")
    put(folder / "full/file")
    os.mkdir(folder / "other/sub")
    paths = [folder / name for name in ("full", "other", "empty", "empty2", "file", "none")]
    seen = [attempt(os.rmdir, folder / name)
            for name in ("full", "other", "file", "none", "full/.", "full/..", "full/file/x")]
    for source in paths:
        for target in paths:
            empty = source.name.startswith("empty") or target.name.startswith("empty")
            if source != target and not empty and target.name != "none":
                seen.append((source.name, target.name, attempt(os.rename, source, target)))
    seen += [attempt(os.rename, folder / "file", folder / "empty"),
             attempt(os.rename, folder / "empty", folder / "file"),
             attempt(os.rename, folder / "empty", folder / "full")]
    seen += [attempt(os.rename, folder / "empty", folder / "empty2"), sorted(os.listdir(folder)),
             attempt(os.rename, folder / "full", folder / "full/below"),
             attempt(os.rename, folder / "other/sub", folder / "other"),
             attempt(os.rename, folder / "full", folder / "empty2"), sorted(os.listdir(folder)),
             attempt(os.unlink, folder / "empty2"), attempt(os.rmdir, folder / "other/sub"),
             attempt(os.rmdir, folder / "other")]
    return seen


@row
def names_change_the_times_of_their_folder(folder):
    one, two = folder / "one", folder / "two"
    for each in (one, two):
        os.mkdir(each)
    put(one / "file", b"x")
    os.mkdir(one / "sub")
    put(two / "old", b"old")

    def unnamed():
        fd = os.open(one, os.O_TMPFILE | os.O_RDWR)
        linkat(fd, one / "named")
        os.close(fd)

    steps = {
        "create": lambda: put(one / "new"), "mkdir": lambda: os.mkdir(one / "dir"),
        "symlink": lambda: os.symlink("x", one / "symlink"), "mkfifo": lambda: os.mkfifo(one / "p"),
        "link": lambda: os.link(one / "file", one / "link"), "named": unnamed,
        "rename within": lambda: os.rename(one / "new", one / "newer"),
        "rename over": lambda: os.rename(one / "newer", one / "link"),
        "rename across": lambda: os.rename(one / "file", two / "file"),
        "folder across": lambda: os.rename(one / "sub", two / "sub"),
        "exchange": lambda: rename(one / "link", two / "file", EXCHANGE),
        "rename over in the other": lambda: os.rename(one / "named", two / "old"),
        "unlink": lambda: os.unlink(one / "symlink"), "rmdir": lambda: os.rmdir(one / "dir"),
        "write": lambda: put(two / "file", b"more"), "chmod": lambda: os.chmod(two / "file", 0o600),
        "in the other": lambda: put(two / "sub/x"), "failing": lambda: attempt(os.rmdir, two),
        "reading": lambda: [os.listdir(one), get(two / "file")],
    }
    seen = []
    for name, step in steps.items():
        before = [os.stat(each) for each in (one, two)]
        time.sleep(0.02)
        step()
        after = [os.stat(each) for each in (one, two)]
        seen.append((name, [(b.st_mtime_ns < a.st_mtime_ns, b.st_ctime_ns < a.st_ctime_ns,
                             a.st_mtime_ns == a.st_ctime_ns) for b, a in zip(before, after)]))
    return seen


@row
def a_files_change_time_moves_with_all_that_changes_it(folder):
    path = put(folder / "file", b"content")
    fd = os.open(path, os.O_RDWR)
    steps = {
        "open": lambda: os.close(os.open(path, os.O_RDONLY)), "read": lambda: os.pread(fd, 5, 0),
        "write": lambda: os.pwrite(fd, b"x", 0), "nothing": lambda: os.pwrite(fd, b"", 0),
        "longer": lambda: os.ftruncate(fd, 100), "as long": lambda: os.ftruncate(fd, 100),
        "by name": lambda: os.truncate(path, 50), "chmod": lambda: os.chmod(path, 0o640),
        "same mode": lambda: os.fchmod(fd, 0o640), "chown": lambda: os.chown(path, USER, -1),
        "no owner": lambda: os.chown(path, -1, -1), "link": lambda: os.link(path, folder / "link"),
        "unlink": lambda: os.unlink(folder / "link"), "utime": lambda: os.utime(path, (5, 6)),
        "rename": lambda: os.rename(path, folder / "name"),
        "back": lambda: os.rename(folder / "name", path),
        "xattr": lambda: os.setxattr(path, "user.a", b"1"),
        "no xattr": lambda: os.removexattr(path, "user.a"),
        "allocate": lambda: fallocate(fd, 0, 0, 1000), "punch": lambda: fallocate(fd, 3, 0, 10),
        "sync": lambda: os.fsync(fd), "failing": lambda: attempt(os.ftruncate, fd, -1),
    }
    seen = []
    for name, step in steps.items():
        os.fsync(fd)  # what waits in a queue changes the file once more when it arrives
        before = os.fstat(fd)
        time.sleep(0.02)
        step()
        os.fsync(fd)
        after = os.fstat(fd)
        seen.append((name, before.st_mtime_ns < after.st_mtime_ns,
                     before.st_ctime_ns < after.st_ctime_ns, before.st_atime == after.st_atime))
    os.close(fd)
    return seen


@row
def names_that_are_too_long_in_every_call(folder):
    long, just = "n" * 256, "n" * 255
    path = put(folder / "file", b"x")
    calls = {
        "open": lambda n: os.open(n, os.O_RDONLY), "create": put, "mkdir": os.mkdir,
        "mkfifo": os.mkfifo, "symlink": lambda n: os.symlink("x", n), "rmdir": os.rmdir,
        "link": lambda n: os.link(path, n), "rename": lambda n: os.rename(path, n),
        "from": lambda n: os.rename(n, path), "unlink": os.unlink, "stat": os.stat,
        "lstat": os.lstat, "readlink": os.readlink, "chmod": lambda n: os.chmod(n, 0o600),
        "chown": lambda n: os.chown(n, USER, USER), "truncate": lambda n: os.truncate(n, 0),
        "utime": os.utime, "list": os.listdir, "getxattr": lambda n: os.getxattr(n, "user.a"),
        "statfs": lambda n: os.statvfs(n).f_namemax,
    }
    seen = [(name, attempt(call, folder / long) is not None and attempt(call, folder / long))
            for name, call in calls.items()]
    os.symlink("b", folder / "a")
    os.symlink("a", folder / "b")
    chain = folder / "chain"
    os.mkdir(chain)
    put(chain / "0", b"the end")
    for number in range(1, 42):
        os.symlink(f"{number - 1}", chain / f"{number}")
    looping = {name: call for name, call in calls.items()
               if name in ("open", "create", "stat", "chmod", "chown", "truncate", "utime", "list",
                           "getxattr", "statfs")}
    seen += [(name, attempt(call, folder / "a")) for name, call in looping.items()]
    seen += [(name, attempt(call, folder / "a/x")) for name, call in calls.items()]
    seen += [get(chain / "40"), attempt(get, chain / "41")]
    deep, depth = folder, 0
    while len(str(deep)) + 256 < 4095:
        deep, depth = deep / just, depth + 1
    top = os.open(folder, os.O_RDONLY)
    for _ in range(depth + 2):  # beyond what a path can say
        os.mkdir(just, dir_fd=top)
        below = os.open(just, os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=top))
    seen += [os.listdir(top), attempt(os.stat, str(deep / just / just)) is not None]
    os.close(top)
    seen.append(subprocess.run(["rm", "-r", folder / just]).returncode)
    return seen

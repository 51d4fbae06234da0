"""What the tables of conformance_test.py share: how a row is written down, carried out as somebody
else, and what is compared afterwards."""
import ctypes
import errno
import hashlib
import json
import os
import stat
import time

LIBC = ctypes.CDLL(None, use_errno=True)
KEEP, PUNCH, COLLAPSE, ZERO = 1, 2, 8, 16  # FALLOC_FL_*
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4    # RENAME_*
AT_FDCWD = -100
USER, OTHER, THIRD, GROUP = 12341, 12342, 12343, 12350
ROWS = []


def row(function):
    ROWS.append(function)
    return function


def attempt(function, *arguments, **named):
    try:
        return function(*arguments, **named)
    except OSError as error:
        return errno.errorcode[error.errno]


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def fallocate(fd, mode, offset, length):
    return checked(LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def rename(source, target, flags):
    return checked(LIBC.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target),
                                  flags))


def linkat(fd, target):
    return checked(LIBC.linkat(AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD,
                               os.fsencode(target), 0x400))  # AT_SYMLINK_FOLLOW


def as_user(uid, function, *arguments, groups=()):
    """What the function returns when somebody else calls it, who is in these groups besides."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(writing, json.dumps(attempt(function, *arguments)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer or "null")


def put(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(fd, data)
    os.close(fd)
    return path


def get(path):
    with open(path, "rb") as file:
        return file.read()


def read_access(path):
    return attempt(lambda: len(get(path)))


def holes(fd):
    """Where a file has data, in pages: [begin, end) pairs."""
    ranges, at, size = [], 0, os.fstat(fd).st_size
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            break
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        ranges.append((begin, at))
    return ranges


def mode_of(path):
    return oct(os.lstat(path).st_mode)


def content_of(path):
    """Read without a trace, so that what is compared next is as it was."""
    digest = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    while piece := os.read(fd, 1 << 20):
        digest.update(piece)
    os.close(fd)
    return digest.hexdigest()


def time_of(nanoseconds):
    """What a program has set counts to the nanosecond; what happened by itself is now."""
    return "now" if abs(nanoseconds - time.time_ns()) < 600 * 10**9 else nanoseconds


def snapshot(folder):
    """Everything a folder holds, as comparable values."""
    result = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        result[str(path.relative_to(folder))] = (
            oct(status.st_mode), status.st_uid, status.st_gid,
            status.st_nlink, status.st_size if kind != stat.S_IFDIR else 0, status.st_rdev,
            time_of(status.st_mtime_ns), time_of(status.st_ctime_ns),
            time_of(status.st_atime_ns) if kind == stat.S_IFREG else None,
            {name: os.getxattr(path, name, follow_symlinks=False)
             for name in sorted(os.listxattr(path, follow_symlinks=False))},
            os.readlink(path) if kind == stat.S_IFLNK else "",
            content_of(path) if kind == stat.S_IFREG else "")
    return result


def space(folder):
    """What each regular file takes, in bytes."""
    return {str(path.relative_to(folder)): path.lstat().st_blocks * 512
            for path in sorted(folder.rglob("*")) if stat.S_ISREG(path.lstat().st_mode)}

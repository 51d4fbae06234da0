"""Who may what, times and lengths: rows of conformance_test.py."""
import ctypes
import os
import resource
import signal
import subprocess

from conformance import *


@row
def modes_and_owners_by_who_may(folder):
    """Who is in the file's group by way of another group, too."""
    people = {"root": (0, []), "owner": (USER, []), "owner in the group": (USER, [GROUP]),
              "other": (OTHER, []), "other in the group": (OTHER, [GROUP])}
    changes = {
        "mode": lambda path: os.chmod(path, 0o640), "set-uid": lambda path: os.chmod(path, 0o4755),
        "set-gid": lambda path: os.chmod(path, 0o2755), "sticky": lambda path: os.chmod(path, 0o1777),
        "all": lambda path: os.chmod(path, 0o7777), "to himself": lambda path: os.chown(path, USER, -1),
        "away": lambda path: os.chown(path, OTHER, -1), "group": lambda path: os.chown(path, -1, GROUP),
        "own group": lambda path: os.chown(path, -1, USER),
        "another group": lambda path: os.chown(path, -1, OTHER + 5),
        "both": lambda path: os.chown(path, USER, GROUP), "none": lambda path: os.chown(path, -1, -1),
    }
    seen = []
    for kind, make in (("file", put), ("dir", os.mkdir)):
        for who, (uid, groups) in people.items():
            for name, change in changes.items():
                path = folder / f"{kind} {who} {name}"
                make(path)
                os.chown(path, USER, GROUP)
                os.chmod(path, 0o6775)
                result = as_user(uid, change, path, groups=groups)
                status = os.stat(path)
                seen.append((kind, who, name, result, oct(status.st_mode), status.st_uid,
                             status.st_gid))
    return seen


@row
def groups_give_access(folder):
    shared = folder / "shared"
    os.mkdir(shared)
    os.chown(shared, USER, GROUP)
    os.chmod(shared, 0o770)
    path = put(shared / "file", b"content")
    os.chown(path, USER, GROUP)
    os.chmod(path, 0o660)
    seen = []
    for groups in ([], [GROUP], [GROUP + 1, GROUP, GROUP + 2]):
        for name, call in {"read": lambda: len(get(path)), "write": lambda: str(put(path, b"other")),
                           "list": lambda: sorted(os.listdir(shared)),
                           "make": lambda: str(put(shared / "new")),
                           "move": lambda: os.rename(shared / "new", shared / "newer"),
                           "remove": lambda: os.unlink(shared / "newer"),
                           "may write": lambda: os.access(path, os.W_OK),
                           "touch": lambda: os.utime(path),
                           "date": lambda: os.utime(path, (5, 5))}.items():
            result = as_user(OTHER, call, groups=groups)
            seen.append((groups, name, str(result).replace(str(folder), "")))
    os.chmod(path, 0o606)  # the group is looked at before the others
    return seen + [as_user(OTHER, read_access, path), as_user(OTHER, read_access, path, groups=[GROUP])]


@row
def a_set_gid_folder_hands_its_group_on(folder):
    seen = []
    for mode in (0o777, 0o2777):
        top = folder / oct(mode)
        os.mkdir(top)
        os.chown(top, USER, GROUP)
        os.chmod(top, mode)
        for groups in ([], [GROUP]):
            for name, make in {"file": lambda path: str(put(path, mode=0o2775)),
                               "dir": os.mkdir, "pipe": os.mkfifo,
                               "link": lambda path: os.symlink("x", path)}.items():
                path = top / f"{name} {groups}"
                as_user(OTHER, make, path, groups=groups)
                status = os.lstat(path)
                seen.append((oct(mode), name, groups, oct(status.st_mode), status.st_uid, status.st_gid))
    return seen


@row
def times_by_who_may_set_them(folder):
    now, omit = (1 << 30) - 1, (1 << 30) - 2
    kinds = {"now": (0, now), "omit": (0, omit), "date": (77, 5)}
    seen = []
    for mode in (0o644, 0o666):
        for uid in (0, USER, OTHER):
            for first, atime in kinds.items():
                for second, mtime in kinds.items():
                    path = put(folder / "file", b"x")
                    os.chown(path, USER, USER)
                    os.chmod(path, mode)
                    os.utime(path, ns=(1000, 2000))
                    result = as_user(uid, lambda: checked(LIBC.utimensat(
                        AT_FDCWD, os.fsencode(path), (ctypes.c_long * 4)(*atime, *mtime), 0)))
                    status = os.stat(path)
                    told = [value if value < 10**15 else "now"
                            for value in (status.st_atime_ns, status.st_mtime_ns)]
                    seen.append((oct(mode), uid, first, second, result, told))
    os.symlink("file", folder / "link")
    os.utime(folder / "link", (8, 9), follow_symlinks=False)
    link = os.lstat(folder / "link")
    return seen + [link.st_mtime, os.stat(folder / "file").st_mtime_ns < 10**15]


@row
def sticky_folders_by_who_may(folder):
    seen = []
    for mode in (0o777, 0o1777):
        for owner in (0, USER):
            top = folder / f"{oct(mode)} {owner}"
            os.mkdir(top)
            os.chown(top, owner, owner)
            os.chmod(top, mode)
            for who in (0, USER, OTHER):
                for name in ("file", "target", "dir"):
                    (os.mkdir if name == "dir" else put)(top / name)
                    os.chown(top / name, THIRD, THIRD)
                as_user(who, lambda: str(put(top / "mine")))
                calls = {"move": lambda: os.rename(top / "file", top / "moved"),
                         "over": lambda: os.rename(top / "mine", top / "target"),
                         "remove": lambda: os.unlink(top / "file"),
                         "rmdir": lambda: os.rmdir(top / "dir"),
                         "exchange": lambda: rename(top / "dir", top / "target", EXCHANGE)}
                for name, call in calls.items():
                    seen.append((oct(mode), owner, who, name, as_user(who, call)))
                subprocess.run(["find", top, "-mindepth", "1", "-delete"], check=True)
    return seen


@row
def lengths_that_cannot_be(folder):
    path = put(folder / "file", b"content")
    reading, writing = os.open(path, os.O_RDONLY), os.open(path, os.O_RDWR)
    seen = [attempt(os.ftruncate, reading, 1), attempt(os.ftruncate, writing, -1),
            attempt(os.truncate, path, -1), attempt(os.truncate, folder, 1),
            attempt(os.truncate, folder / "none", 1), attempt(os.write, reading, b"x"),
            attempt(os.posix_fallocate, writing, 0, 0), attempt(os.posix_fallocate, reading, 0, 10),
            attempt(os.posix_fallocate, writing, 100, 1000), os.fstat(writing).st_size,
            attempt(os.pread, writing, 1, 1 << 62)]

    def limited(call):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        return call()

    for call in (lambda: os.ftruncate(writing, 5001), lambda: os.pwrite(writing, b"x" * 10, 4995),
                 lambda: os.pwrite(writing, b"x", 5000), lambda: os.ftruncate(writing, 5000),
                 lambda: fallocate(writing, 0, 0, 6000), lambda: os.truncate(path, 6000)):
        seen.append((as_user(0, limited, call), os.fstat(writing).st_size))
    for fd in (reading, writing):
        os.close(fd)
    other = put(folder / "other")
    subprocess.run(["sync", other], check=True)
    seen.append(attempt(os.truncate, other, 1 << 50))  # longer than the disk has files
    return seen + [as_user(OTHER, os.truncate, path, 0), os.stat(path).st_size]


@row
def what_is_executed(folder):
    tool = folder / "tool"
    subprocess.run(["cp", "/bin/true", tool], check=True)
    seen = []
    for mode in (0o755, 0o644, 0o700, 0o711, 0o100):
        os.chmod(tool, mode)
        for who in (0, USER):
            seen.append((oct(mode), who, as_user(who, lambda: subprocess.run([tool]).returncode)))
    sleep = folder / "sleep"
    subprocess.run(["cp", "/bin/sleep", sleep], check=True)
    running = subprocess.Popen([sleep, "60"])
    seen += [attempt(os.truncate, sleep, 0), attempt(os.open, sleep, os.O_RDWR),
             attempt(os.chmod, sleep, 0o700),
             attempt(os.rename, sleep, folder / "renamed"), attempt(os.unlink, folder / "renamed")]
    running.kill()
    return seen + [running.wait()]

#!/usr/bin/env python3
"""docs/semantics.md, "Losing the link, or the server": programs on a mount whose server says nothing
can be killed at once, end by the timeout, and are served what is known; the mount can be taken down.
On loopback: the server is stopped, so that packets are taken and never answered, like on a cut
link."""
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time

import harness
from harness import rushfs, wait_until

# What programs do that needs the server: each waits for its answer when the link is dead. Before
# the slash, what is opened while the link is there.
WAITING = {
    "lookup": "os.stat('folder/never seen')",
    "open": "open('folder/never seen', 'rb')",
    "read": "f = os.open('long', os.O_RDONLY) / os.pread(f, 10, MIDDLE)",
    "read past the kernel": "f = os.open('long', os.O_RDONLY | os.O_DIRECT); "
                            "m = mmap.mmap(-1, 4096) / os.preadv(f, [m], MIDDLE)",
    "create": "open('new', 'wb')",
    "create without a name": "os.open('.', os.O_TMPFILE | os.O_RDWR)",
    "mkdir": "os.mkdir('new folder')",
    "mkfifo": "os.mkfifo('new pipe')",
    "symlink": "os.symlink('known', 'new link')",
    "link": "os.link('known', 'another')",
    "unlink": "os.unlink('known')",
    "rmdir": "os.rmdir('folder')",
    "rename": "os.rename('known', 'other')",
    "rename over what waits": "f = open('known', 'r+b') / "
                              "f.write(b'x'); f.close(); os.rename('known', 'cold')",
    "readlink": "os.readlink('link')",
    "chmod": "os.chmod('cold', 0o600)",
    "chmod of a folder": "os.chmod('folder', 0o700)",
    "chown": "os.chown('cold', 12, 13)",
    "utimens": "os.utime('cold', (1, 2))",
    "list": "os.listdir('folder')",
    "getxattr": "os.getxattr('cold', 'user.note')",
    "listxattr": "os.listxattr('cold')",
    "setxattr": "f = os.open('cold', os.O_RDWR) / os.setxattr(f, 'user.new', b'1')",
    "removexattr": "os.removexattr('cold', 'user.note')",
    "fsync": "f = open('known', 'r+b'); f.write(b'x'); f.flush() / os.fsync(f.fileno())",
    "write that is synchronous": "f = os.open('known', os.O_WRONLY | os.O_SYNC) / os.write(f, b'x')",
    "truncate": "os.truncate('cold', 5)",
    "fallocate": "f = os.open('cold', os.O_RDWR) / os.posix_fallocate(f, 0, 1000000)",
    "find data": "f = os.open('long', os.O_RDONLY) / os.lseek(f, 0, os.SEEK_DATA)",
    "copy": "f = os.open('cold', os.O_RDONLY); g = os.open('known', os.O_RDWR) / "
            "os.copy_file_range(f, g, 1000)",
    "flags": "f = os.open('cold', os.O_RDONLY) / fcntl.ioctl(f, 0x80086601, bytes(8))",
    "flock": "f = os.open('cold', os.O_RDWR) / fcntl.flock(f, fcntl.LOCK_EX)",
    "lock": "f = os.open('cold', os.O_RDWR) / fcntl.lockf(f, fcntl.LOCK_EX)",
    "touch a mapped page": "f = os.open('long', os.O_RDONLY); "
                           "m = mmap.mmap(f, 0, prot=mmap.PROT_READ) / m[MIDDLE]",
    "change a mapped page": "f = os.open('long', os.O_RDWR); "
                            "m = mmap.mmap(f, 0) / m[MIDDLE] = 7",
}
# What needs no server, for it is known, or waits in the queue.
SERVED = {
    "stat": "assert os.stat('known').st_size == 300000",
    "absence": "assert not os.path.exists('of no such name')",
    "open and read": "assert open('known', 'rb').read() == b'k' * 300000",
    "list": "assert 'known' in os.listdir('.')",
    "statfs": "assert os.statvfs('.').f_blocks > 0",
    "readlink": "assert os.readlink('seen link') == 'known'",
    "getxattr": "assert os.getxattr('known', 'user.note') == b'n'",
    "write and close": "f = os.open('known', os.O_RDWR) / os.pwrite(f, b'k', 3); os.close(f)",
    "open for writing": "open('cold', 'r+b').close()",
    "truncate what is open": "f = os.open('known', os.O_RDWR) / os.ftruncate(f, 300000)",
    "chmod what is open": "f = os.open('known', os.O_RDWR) / os.fchmod(f, 0o644)",
    "touch a mapped page": "f = os.open('known', os.O_RDWR); m = mmap.mmap(f, 0) / "
                           "assert m[200000] == ord('k')",
}
MIDDLE = 3 << 20  # where opening a file brings nothing of it
GLANCE = 5  # seconds for which a newer answer is hoped for
# Seconds beyond that at which an operation has ended, on a machine with much to do.
MARGIN = 2


def times(folder):
    """When each entry of a folder was changed; none if they come and go."""
    with contextlib.suppress(FileNotFoundError):
        return {name: os.lstat(folder / name).st_mtime_ns for name in os.listdir(folder)}


def forget_what_is_not_open(folder):
    """As a kernel that is short of memory does."""
    subprocess.run(["mount", "--internal-only", "-o", "remount", str(folder)], check=True,
                   timeout=10)


class DeadLinkTest(harness.TestCase):
    def prepared(self, options, table=None):
        mount = self.mount(options=options)
        self.prepare_folders(mount, table)
        return mount

    def prepare_folders(self, mount, table=None):
        """One for each program: the kernel lets one at a time change a folder's names."""
        table = table or WAITING
        for place in table:
            shutil.rmtree(self.server.folder / place, ignore_errors=True)
            (self.server.folder / place / "folder").mkdir(parents=True)
            for name in ("known", "cold"):
                (self.server.folder / place / name).write_bytes(b"k" * 300_000)
                os.setxattr(self.server.folder / place / name, "user.note", b"n")
            for name in ("link", "seen link"):
                (self.server.folder / place / name).symlink_to("known")
            if "'long'" in table[place]:
                (self.server.folder / place / "long").write_bytes(b"l" * 2 * MIDDLE)
        for place in table:
            folder = mount.folder / place
            wait_until(lambda: times(folder) == times(self.server.folder / place), 5,
                       "seen by the mount")
            (folder / "known").read_bytes()
            os.getxattr(folder / "known", "user.note")
            os.readlink(folder / "seen link")
            for name in ("cold", "folder"):
                os.stat(folder / name)
        os.listdir(mount.folder)
        os.statvfs(mount.folder)

    def program(self, mount, name, table=None):
        """Is there, and acts when its input is closed."""
        *before, act = (table or WAITING)[name].split(" / ")
        process = subprocess.Popen(
            [sys.executable, "-c", "import fcntl, mmap, os, signal, sys\n"
             f"MIDDLE = {MIDDLE}\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n"
             f"{''.join(before)}\nprint('here', flush=True)\nsys.stdin.read()\n"
             f"try: {act}\nexcept OSError as e: sys.exit(e.errno)"],
            cwd=mount.folder / name, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        process.stdout.readline()
        process.stdout.close()
        return process

    def programs(self, mount, table=None):
        return {name: self.program(mount, name, table) for name in table or WAITING}

    def test_every_waiting_program_ends_at_once_when_it_is_killed(self):
        mount = self.mount(options="timeout=60s")
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            self.prepare_folders(mount)
            programs = self.programs(mount)
            with self.server.silent():
                time.sleep(1.2)
                for process in programs.values():
                    process.stdin.close()
                time.sleep(1)
                ended = {name for name, p in programs.items() if p.poll() is not None}
                self.assertEqual(ended, set())
                started = time.monotonic()
                for process in programs.values():
                    process.send_signal(number)
                for name, process in programs.items():
                    with self.subTest(name, signal=number):
                        self.assertEqual(process.wait(timeout=5), -number)
                self.assertLess(time.monotonic() - started, 3)
            wait_until(lambda: mount.status()["link"]["calls_waiting"] == 0, 60, "answered")
        self.assertEqual((mount.folder / "read" / "cold").read_bytes()[:5], b"kkkkk")

    def ends(self, name, process, started, seconds):
        """Its exit status, and when it ended."""
        try:
            status = process.wait(timeout=max(0.1, started + seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.fail(f"{name} did not end within {seconds} s")
        return status, time.monotonic() - started

    def test_every_operation_ends_by_the_timeout(self):
        timeout = 8
        mount = self.prepared(f"timeout={timeout}s")
        programs = self.programs(mount)
        with self.server.silent():
            time.sleep(1.2)
            started = time.monotonic()
            for process in programs.values():
                process.stdin.close()
            for name, process in programs.items():
                with self.subTest(name):
                    status, after = self.ends(name, process, started, timeout + MARGIN)
                    page = name.endswith("mapped page")
                    self.assertEqual(status, -signal.SIGBUS if page else errno.ETIMEDOUT)
                    self.assertGreater(after, timeout - 3)

    def test_what_needs_no_server_ends_meanwhile(self):
        mount = self.prepared("timeout=60s", SERVED)
        silent, dead = self.programs(mount, SERVED), self.programs(mount, SERVED)
        with self.server.silent():
            for programs, before, seconds in ((silent, 1.2, GLANCE), (dead, 25, 1)):
                forget_what_is_not_open(mount.folder)
                time.sleep(before)
                started = time.monotonic()
                for process in programs.values():
                    process.stdin.close()
                for name, process in programs.items():
                    with self.subTest(name, after=before):
                        status, _ = self.ends(name, process, started, seconds + MARGIN)
                        self.assertEqual(status, 0)

    def test_what_was_listed_and_read_is_served_meanwhile(self):
        mount = self.prepared("timeout=10s")
        folder = mount.folder / "list"
        names = sorted(os.listdir(folder))
        with self.server.silent():
            time.sleep(1.2)
            # The first question finds out, the next ones know.
            wait_until(lambda: os.stat(folder / "known"), 15, "answered")
            self.assertEqual(sorted(os.listdir(folder)), names)
            self.assertEqual((folder / "known").read_bytes(), b"k" * 300_000)
            self.server.kill()
            wait_until(lambda: mount.status()["link"]["state"] != "connected", 60, "noticed")
            time.sleep(4)
            started = time.monotonic()
            for _ in range(3):
                self.assertEqual(sorted(os.listdir(folder)), names)
                self.assertEqual(os.stat(folder / "cold").st_size, 300_000)
                self.assertEqual((folder / "known").read_bytes(), b"k" * 300_000)
                with self.assertRaises(FileNotFoundError):
                    os.stat(folder / "nothing of this name")
                os.statvfs(mount.folder)
                time.sleep(1.1)
            self.assertLess(time.monotonic() - started, 3 * 1.1 + 1)
            self.server.start()
        wait_until(lambda: mount.status()["link"]["state"] == "connected", 60, "connected")
        (self.server.folder / "list" / "nothing of this name").write_text("now there is")
        time.sleep(1.1)
        self.assertEqual((folder / "nothing of this name").read_text(), "now there is")

    def test_a_dead_mount_is_taken_down(self):
        mount = self.prepared("timeout=60s")
        stuck = self.program(mount, "mkdir")
        with self.server.silent():
            (mount.folder / "fsync" / "known").write_bytes(b"new")
            stuck.stdin.close()
            time.sleep(1)
            stuck.kill()
            stuck.wait(timeout=5)
            started = time.monotonic()
            mount.unmount("--now")
            self.assertLess(time.monotonic() - started, 10)
        mount.start()
        mount.wait()
        self.assertEqual((self.server.folder / "fsync" / "known").read_bytes(), b"new")

    def test_umount_by_force_ends_who_waits(self):
        mount = self.prepared("timeout=60s")
        stuck = self.program(mount, "mkdir")
        with self.server.silent():
            time.sleep(1.2)
            stuck.stdin.close()
            time.sleep(1)
            subprocess.run(["umount", "--force", "--lazy", str(mount.folder)], check=True,
                           timeout=10)
            stuck.wait(timeout=5)
            mount.process.wait(timeout=10)


if __name__ == "__main__":
    harness.main()

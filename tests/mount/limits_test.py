#!/usr/bin/env python3
"""docs/semantics.md, "What FUSE's kernel does not hand on" and "Not yet": what differs from a local
disk differs just so, and no wider."""
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import pathlib
import struct
import subprocess
import time

import harness

LIBC = ctypes.CDLL(None, use_errno=True)
FICLONE, FICLONERANGE = 0x40049409, 0x4020940D
COLLAPSE, INSERT = 8, 32  # FALLOC_FL_*
STATX_ATTR_IMMUTABLE = 0x10


class Handle(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("bytes", ctypes.c_uint8 * 128)]


class LimitsTest(harness.TestCase):
    def refused(self, error, function, *arguments):
        with self.assertRaises(OSError) as raised:
            function(*arguments)
        self.assertEqual(errno.errorcode[raised.exception.errno], errno.errorcode[error])

    def test_a_clone_is_refused_and_cp_copies_at_the_server_instead(self):
        mount = self.mount()
        source, target = mount.folder / "source", mount.folder / "target"
        source.write_bytes(os.urandom(100_000))
        with open(source, "rb") as reading, open(target, "wb") as writing:
            self.refused(errno.EOPNOTSUPP, fcntl.ioctl, writing, FICLONE, reading.fileno())
            part = struct.pack("qQQQ", reading.fileno(), 0, 4096, 0)
            self.refused(errno.EOPNOTSUPP, fcntl.ioctl, writing, FICLONERANGE, part)
        asked = subprocess.run(["cp", "--reflink=always", source, target], capture_output=True)
        self.assertNotEqual(asked.returncode, 0)
        self.run_in(mount.folder, "cp", "--reflink=auto", source, target)
        self.assertEqual(target.read_bytes(), source.read_bytes())

    def test_pages_the_kernel_has_of_a_long_file_are_read_unnoticed(self):
        (self.server.folder / "long").write_bytes(b"l" * 1_000_000)
        (self.server.folder / "short").write_bytes(b"s" * 100_000)
        mount = self.mount(options="strictatime")
        noted = {}
        for name in ("long", "short"):
            with open(mount.folder / name, "r+b") as file:
                kept = mmap.mmap(file.fileno(), 0)
                pages = (ctypes.c_char * len(kept)).from_buffer(kept)
                self.assertEqual(LIBC.mlock(pages, len(kept)), 0)  # or the kernel may drop them
            time.sleep(1.1)  # the server has heard of it, and its disk has noted a moment of its own
            before = os.stat(mount.folder / name).st_atime_ns
            (mount.folder / name).read_bytes()
            noted[name] = os.stat(mount.folder / name).st_atime_ns > before
        self.assertEqual(noted, {"long": False, "short": True})

    def test_flags_are_told_by_lsattr_and_not_by_statx(self):
        path = self.server.folder / "file"
        path.write_bytes(b"x")
        if subprocess.run(["chattr", "+i", path], capture_output=True).returncode != 0:
            self.skipTest("this disk has no flags")
        self.addCleanup(subprocess.run, ["chattr", "-i", path], check=True)
        mount = self.mount()
        shown = self.run_in(mount.folder, "lsattr", "file")
        self.assertIn("i", shown.split()[0])
        answer = ctypes.create_string_buffer(256)
        self.assertEqual(LIBC.statx(-100, os.fsencode(mount.folder / "file"), 0, 0xfff, answer), 0)
        self.assertEqual(struct.unpack_from("Q", answer, 8)[0] & STATX_ATTR_IMMUTABLE, 0)

    def test_locks_are_held_and_not_listed(self):
        mount = self.mount()
        with open(mount.folder / "file", "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            status = os.fstat(file.fileno())
            device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:"
            listed = pathlib.Path("/proc/locks").read_text()
            self.assertNotIn(f"{device}{status.st_ino} ", listed)
            with open(mount.folder / "file", "rb") as other:
                self.refused(errno.EAGAIN, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_a_handle_of_an_earlier_mount_is_stale(self):
        mount = self.mount()
        path = os.fsencode(mount.folder / "file")
        (mount.folder / "file").write_bytes(b"x")
        handle, number = Handle(128), ctypes.c_int()

        def opened():
            top = os.open(mount.folder, os.O_RDONLY)
            fd = LIBC.open_by_handle_at(top, ctypes.byref(handle), os.O_RDONLY)
            error = ctypes.get_errno()
            os.close(top)
            if fd >= 0:
                os.close(fd)
            return 0 if fd >= 0 else error

        self.assertEqual(LIBC.name_to_handle_at(-100, path, ctypes.byref(handle),
                                                ctypes.byref(number), 0), 0)
        self.assertEqual(opened(), 0)
        mount.unmount()
        mount.start()
        self.assertEqual(errno.errorcode[opened()], "ESTALE")

    def test_a_running_program_opened_for_reading_can_be_emptied(self):
        mount = self.mount()
        path = mount.folder / "sleep"
        self.run_in(mount.folder, "cp", "/bin/sleep", path)
        running = subprocess.Popen([path, "60"])
        self.addCleanup(running.wait)
        self.addCleanup(running.kill)
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            self.refused(errno.ETXTBSY, os.open, path, flags)
        self.assertGreater(path.stat().st_size, 0)
        with contextlib.suppress(OSError):  # where the program has not ended by then
            os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))
        self.assertEqual(path.stat().st_size, 0)

    def test_a_length_no_disk_has_is_refused_at_the_server(self):
        mount = self.mount()
        path = mount.folder / "file"
        path.write_bytes(b"x")
        mount.wait()
        self.refused(errno.EFBIG, os.truncate, path, 1 << 50)
        with open(path, "r+b") as file:
            file.truncate(1 << 50)
            self.refused(errno.EFBIG, os.fsync, file.fileno())
        parked = mount.status()["queue"]["parked"]
        self.assertEqual([operation["errno"] for operation in parked], [errno.EFBIG])
        self.assertEqual((self.server.folder / "file").read_bytes(), b"x")

    def test_a_shared_mapping_of_what_is_appended_to(self):
        mount = self.mount()
        (mount.folder / "log").write_bytes(b"-" * 8192)
        with open(mount.folder / "log", "a+b") as log:
            self.refused(errno.ENODEV, mmap.mmap, log.fileno(), 8192)
            with mmap.mmap(log.fileno(), 8192, flags=mmap.MAP_PRIVATE) as private:
                self.assertEqual(private[:2], b"--")

    def test_collapse_and_insert(self):
        mount = self.mount()
        (mount.folder / "file").write_bytes(b"-" * 65536)
        with open(mount.folder / "file", "r+b") as file:
            for mode in (COLLAPSE, INSERT):
                done = LIBC.fallocate(file.fileno(), mode, ctypes.c_long(4096), ctypes.c_long(4096))
                self.assertEqual((done, ctypes.get_errno()), (-1, errno.EOPNOTSUPP))

    def test_of_two_mounts_that_write_without_a_lock_the_last_stays(self):
        one, two = self.mount("one"), self.mount("two")
        for mount, content in ((one, b"first "), (two, b"second")):
            (mount.folder / "file").write_bytes(content)
            mount.wait()
        self.assertEqual((self.server.folder / "file").read_bytes(), b"second")
        self.assertEqual(os.listdir(self.server.folder), ["file"])
        self.assertEqual(one.status()["queue"]["conflicts"] + two.status()["queue"]["conflicts"], [])


if __name__ == "__main__":
    harness.main()

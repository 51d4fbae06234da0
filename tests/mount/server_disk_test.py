#!/usr/bin/env python3
"""docs/semantics.md, "What others change": what the server's machine has to allow for it, and what
is mounted in an export while it is served."""
import errno
import fcntl
import os
import pathlib
import struct
import subprocess
import time

import harness

UNIT = pathlib.Path(__file__).parents[2] / "packaging/systemd/rushfs-server.service"
ASKED_AGAIN = 1  # seconds after which a mount asks that is not told
LATE = 1  # seconds more that a busy machine may take
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL = 0x80086601, 0x40086602, 0x10


class ServerDiskTest(harness.TestCase):
    def mount_in_export(self, kind, folder):
        done = subprocess.run(["mount", "-t", kind, "none", folder], capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest(f"mount -t {kind}: {done.stderr}")
        self.place.expect_mount(folder)

    def seen(self, path, content, what):
        harness.wait_until(lambda: path.exists() and path.read_bytes() == content,
                           ASKED_AGAIN + LATE, what)

    def check_file_system_in_export(self, kind):
        disk = self.server.folder / "disk"
        disk.mkdir()
        mount = self.mount()
        shown = mount.folder / "disk"
        self.assertEqual(os.listdir(shown), [])
        self.mount_in_export(kind, disk)
        (disk / "clip").write_bytes(b"1" * 5000)
        self.seen(shown / "clip", b"1" * 5000, "what was mounted")
        for take in range(3):
            time.sleep(ASKED_AGAIN + 0.1)  # what is believed without a promise is not believed now
            self.assertEqual((shown / "clip").stat().st_size, 5000 + take)
            content = b"%d" % take * (5001 + take)
            (disk / "clip").write_bytes(content)
            self.seen(shown / "clip", content, "a change on it")
        subprocess.run(["umount", "-l", disk], check=True)  # the server has it open
        harness.wait_until(lambda: self.names_in(shown) == [], ASKED_AGAIN + 1 + LATE,
                           "the folder beneath")

    def names_in(self, folder):
        try:
            return os.listdir(folder)
        except OSError as error:  # for as long as the name of what is gone is believed
            self.assertEqual(error.errno, errno.ESTALE)
            return None

    def test_a_file_system_in_the_export_that_the_kernel_tells_of(self):
        self.check_file_system_in_export("tmpfs")

    def test_a_file_system_in_the_export_that_it_does_not_tell_of(self):
        self.check_file_system_in_export("ramfs")

    def test_the_packaged_service_may_do_what_it_promises(self):
        line = next(line for line in UNIT.read_text().splitlines()
                    if line.startswith("CapabilityBoundingSet="))
        names = [name.removeprefix("CAP_").lower() for name in line.split("=")[1].split()]
        self.server.stop()
        self.server.prefix = ["setpriv", "--bounding-set",
                              ",".join(["-all", *(f"+{name}" for name in names)])]
        self.server.start()
        self.assertNotIn("are seen within a second", self.server.log())
        mount = self.mount()
        self.server.put("clip", b"1")
        clip = mount.folder / "clip"
        self.assertEqual(clip.read_bytes(), b"1")
        os.chown(clip, 1234, 1235)
        os.setxattr(clip, "trusted.note", b"by root")
        # cap_net_raw, effective and permitted (struct vfs_cap_data, version 2)
        os.setxattr(clip, "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
        at_server = (self.server.folder / "clip").stat()
        self.assertEqual((at_server.st_uid, at_server.st_gid), (1234, 1235))
        file = os.open(clip, os.O_RDONLY)
        flags = struct.unpack("l", fcntl.ioctl(file, FS_IOC_GETFLAGS, struct.pack("l", 0)))[0]
        for value in (flags | FS_IMMUTABLE_FL, flags):
            fcntl.ioctl(file, FS_IOC_SETFLAGS, struct.pack("l", value))
        os.close(file)

    def test_what_flags_have_forbidden_is_sent_when_they_are_taken_away(self):
        mount = self.mount()
        clip = mount.folder / "clip"
        clip.write_bytes(b"before")
        mount.wait()
        there = os.open(self.server.folder / "clip", os.O_RDONLY)
        flags = fcntl.ioctl(there, FS_IOC_GETFLAGS, struct.pack("l", 0))
        file = os.open(clip, os.O_RDWR)
        forbid = struct.pack("l", struct.unpack("l", flags)[0] | FS_IMMUTABLE_FL)
        with self.server.silent():
            os.pwrite(file, b"after!", 0)
            fcntl.ioctl(there, FS_IOC_SETFLAGS, forbid)
        self.addCleanup(fcntl.ioctl, there, FS_IOC_SETFLAGS, flags)
        harness.wait_until(lambda: len(mount.status()["queue"]["parked"]) == 1, 20, "refused")
        fcntl.ioctl(file, FS_IOC_SETFLAGS, flags)
        mount.wait()
        self.assertEqual((self.server.folder / "clip").read_bytes(), b"after!")
        os.close(file)

    def test_exports_that_share_files(self):
        inner = self.server.folder / "day"
        inner.mkdir()
        self.server.stop()
        self.server.exports = [f"files={self.server.folder}", f"day={inner}"]
        self.server.start()
        self.assertIn("Export day shows files of files too", self.server.log())
        all_of_it, day = self.mount("all"), self.mount("day", export="day")
        for take in range(3):
            (all_of_it.folder / "day" / "clip").write_bytes(b"%d" % take)
            all_of_it.wait()
            self.seen(day.folder / "clip", b"%d" % take, "what a client of the other export wrote")


if __name__ == "__main__":
    harness.main()

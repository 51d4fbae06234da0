#!/usr/bin/env python3
"""docs/semantics.md, "Waiting, unmounting, asking": a mount's process is killed while the kernel
waits for it in every way it can, and nobody is left waiting. docs/decisions/0003."""
import os
import sys
import time

import harness

KILLS = 4
# The kernel holds a folder while names change in it, and pages while they are read. Both wait for
# the mount; what drops names and pages waits for them.
CHANGE_NAMES = """
import os, sys
while True:
    os.mkdir(sys.argv[1])
    os.rmdir(sys.argv[1])
"""
READ = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
while True:
    os.pread(file, 1 << 20, 0)
    os.pread(file, 1 << 20, 3 << 20)
"""
CHANGE_AS_WELL = """
import os, sys
file = os.open(sys.argv[1] + "/clip", os.O_RDWR)
while True:
    os.close(os.open(sys.argv[1] + "/name", os.O_CREAT | os.O_WRONLY))
    os.unlink(sys.argv[1] + "/name")
    os.pwrite(file, b"x", 0)
"""


class GuardTest(harness.TestCase):
    def program(self, script, path):
        return self.place.start([sys.executable, "-c", script, str(path)], "program.log")

    def test_whoever_waits_for_a_killed_mount_ends(self):
        folder = self.server.folder / "folder"
        folder.mkdir()
        (folder / "clip").write_bytes(bytes(4 << 20))
        mount = self.mount()
        others = self.program(CHANGE_AS_WELL, folder)
        for _ in range(KILLS):
            programs = [self.program(CHANGE_NAMES, mount.folder / "folder/own"),
                        self.program(READ, mount.folder / "folder/clip")]
            time.sleep(1 + self.random.random())
            self.assertEqual([program.poll() for program in programs], [None, None])
            mount.process.kill()
            mount.process.wait(timeout=20)
            for program in programs:
                self.assertEqual(program.wait(timeout=20), 1)
            harness.force_unmount(mount.folder)
            if (folder / "own").exists():
                (folder / "own").rmdir()
            mount.start()
        self.assertIsNone(others.poll())
        mount.unmount()


if __name__ == "__main__":
    harness.main(["--rate", "100", "--delay", "50", "--buffer", "50"])

#!/usr/bin/env python3
"""docs/file-protocol.md, "Queued changes", 5 and 6: the server's disk cannot write for a moment. It is
a file in a small memory file system, behind a loop device."""
import os
import pathlib
import subprocess
import time

import harness

MiB = 1 << 20


class FailingDiskTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        memory, self.disk = self.place.path("memory"), self.place.path("disk")
        memory.mkdir()
        self.disk.mkdir()
        self.run_in("/", "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", memory)
        with open(memory / "image", "wb") as image:
            image.truncate(600 * MiB)
        self.run_in("/", "mkfs.ext4", "-q", "-O", "^has_journal", "-E", "nodiscard",
                    memory / "image")
        self.run_in("/", "mount", "-o", "loop", memory / "image", self.disk)
        self.place.expect_mount(self.disk)
        self.place.expect_mount(memory)
        self.memory = memory
        self.server.stop()
        self.server.exports = [f"files={self.disk}"]
        self.server.start()

    def test_what_could_not_be_written_is_written_again(self):
        mount = self.mount()
        piece = os.urandom(MiB)
        clip = open(mount.folder / "clip", "wb", buffering=0)
        self.addCleanup(clip.close)
        for _ in range(100):
            clip.write(piece)
        there = self.disk / "clip"
        harness.wait_until(lambda: there.stat().st_size == 100 * MiB, 20, "all has arrived")
        time.sleep(0.5)  # the kernel has tried what does not fit
        self.run_in("/", "mount", "-o", "remount,size=900m", self.memory)
        for _ in range(60):
            clip.write(piece)
        try:
            os.fsync(clip.fileno())
        except OSError:
            mount.wait()  # it says that it failed; then it is repeated
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        with open(there, "rb") as file:
            wrong = [number for number in range(160) if file.read(MiB) != piece]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""docs/semantics.md, "A slow disk". Over an emulated link of 100 Mbit/s; the disk is a file behind a
loop device that the kernel holds to a fifth of that."""
import os
import pathlib
import subprocess
import sys
import threading
import time

import harness
from harness import rushfs

MiB = 1 << 20
RATE = 20e6 / 8  # bytes a second
THROTTLE = pathlib.Path("/sys/fs/cgroup/blkio")
LINK = ["--rate", "100", "--delay", "20", "--buffer", "50"]
# Seconds after which what is said has to be right: a kernel first takes what its memory allows, as
# much as 32 MiB or more, and only then makes its disk felt.
SETTLED = 8


class SlowDisk:
    """A mounted file system of its own."""

    def __init__(self, place, size=600 * MiB):
        image, self.folder = place.path("slow.img"), place.path("slow")
        self.folder.mkdir()
        with open(image, "wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-E",
                        "lazy_itable_init=0", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(self.folder)], check=True)
        place.expect_mount(self.folder)
        device = os.stat(self.folder).st_dev
        self.device = f"{os.major(device)}:{os.minor(device)}"

    def throttle(self, bytes_per_second):
        for way in ("read", "write"):
            (THROTTLE / f"blkio.throttle.{way}_bps_device").write_text(
                f"{self.device} {int(bytes_per_second)}\n")

    def forget(self, path):
        """What the kernel holds of a file."""
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Watch(threading.Thread):
    """Asks for the status five times a second."""

    def __init__(self, mount):
        super().__init__()
        self.mount, self.over = mount, threading.Event()
        self.started_at, self.statuses = time.monotonic(), []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(0.2):
            self.statuses.append((time.monotonic() - self.started_at, self.mount.status()))

    def named(self, way):
        """What was said to limit sending or receiving, with how often, once it had settled."""
        counts = {}
        for when, status in self.statuses:
            path = status["path"] if way == "sending" else (status["path"] or {}).get("receiving")
            if when > SETTLED and path:
                counts[path["limited_by"]] = counts.get(path["limited_by"], 0) + 1
        return counts

    def most_lost(self):
        return max(status["path"]["packets_lost"] for _, status in self.statuses
                   if status["path"])


class SlowDiskTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.disk = SlowDisk(self.place)

    def finish(self):
        self.disk.throttle(0)  # or taking it down would take as long as its backlog
        super().finish()

    def serve_from_slow_disk(self):
        self.server.stop()
        self.server.exports = [f"files={self.disk.folder}"]
        self.server.start()

    def assert_named(self, counts, cause):
        """Nearly always, and the network never."""
        self.assertGreater(counts.get(cause, 0), 10, counts)
        self.assertGreater(counts.get(cause, 0), 0.9 * sum(counts.values()), counts)
        self.assertNotIn("network", counts)

    def write(self, path, size):
        content = os.urandom(MiB)
        with open(path, "wb", buffering=0) as file:
            for _ in range(size // MiB):
                file.write(content)

    def test_the_servers_disk_while_it_is_written_to(self):
        self.serve_from_slow_disk()
        mount = self.mount()
        self.disk.throttle(RATE)
        size = 64 * MiB
        started = time.monotonic()
        with Watch(mount) as watch:
            self.write(mount.folder / "clip", size)
            mount.wait()
        self.assertGreater(time.monotonic() - started, 0.8 * size / RATE)
        self.assert_named(watch.named("sending"), "receiver's disk")
        path = mount.status()["path"]
        self.assertLessEqual(path["packets_lost"], 1e-3 * path["packets_sent"])

    def test_the_servers_disk_while_it_is_read_from(self):
        clip = harness.make_file(self.disk.folder / "clip", 40 * MiB, 1)
        self.disk.forget(clip)
        self.serve_from_slow_disk()
        mount = self.mount()
        self.disk.throttle(RATE)
        with Watch(mount) as watch:
            self.assertEqual(len((mount.folder / "clip").read_bytes()), 40 * MiB)
        self.assert_named(watch.named("receiving"), "sender's disk")

    def test_the_clients_disk_while_programs_write(self):
        mount = harness.Mount(self.place, self.server)
        mount.cache = self.disk.folder / "cache"
        mount.start()
        self.disk.throttle(RATE)
        with Watch(mount) as watch:
            for number in range(6):
                self.write(mount.folder / f"clip{number}", 6 * MiB)
            mount.wait()
        self.assert_named(watch.named("sending"), "sender's disk")

    def test_the_clients_disk_does_not_slow_reading(self):
        size = 128 * MiB
        harness.make_file(self.server.folder / "clip", size, 2)
        harness.make_file(self.server.folder / "other", 4096, 3)
        mount = harness.Mount(self.place, self.server)
        mount.cache = self.disk.folder / "cache"
        mount.start()
        self.disk.throttle(RATE / 4)
        before = mount_memory(mount)
        started = time.monotonic()
        with open(mount.folder / "clip", "rb") as file:
            while file.read(MiB):
                pass
        self.assertLess(time.monotonic() - started, 2 * size * 8 / 100e6)
        self.assertLess(mount_memory(mount) - before, 300 * MiB)
        opening = time.monotonic()
        self.assertEqual(len((mount.folder / "other").read_bytes()), 4096)
        self.assertLess(time.monotonic() - opening, 10)


def mount_memory(mount):
    status = pathlib.Path(f"/proc/{mount.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


if __name__ == "__main__":
    if not harness.LONG:
        # How much a kernel takes before its disk is felt is the machine's affair;
        # sim_limits_test holds the same without one.
        print("skipped: part of the long form")
        sys.exit(harness.SKIPPED)
    if not (THROTTLE / "blkio.throttle.write_bps_device").exists():
        print("skipped: the kernel's blkio controller (cgroup v1) is not here")
        sys.exit(harness.SKIPPED)
    harness.main(LINK)

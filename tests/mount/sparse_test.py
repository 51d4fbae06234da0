#!/usr/bin/env python3
"""docs/semantics.md, "Space and holes": what was never written neither crosses the link nor takes
space on either disk, however it is read."""
import os
import shutil
import tempfile
import time

import harness

GIB = 1 << 30
SIZE = 10 * GIB
ISLANDS = {3 * GIB: b"first" * 1000, 7 * GIB + 12345: b"second" * 1000}


def space(*paths):
    """Bytes on disk of files."""
    return sum(path.stat().st_blocks * 512 for path in paths)


class SparseTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        with open(self.server.folder / "image", "wb") as file:
            file.truncate(SIZE)
            for offset, content in ISLANDS.items():
                file.seek(offset)
                file.write(content)
        self.client = self.mount()
        self.image = self.client.folder / "image"

    def received(self):
        time.sleep(2)  # the path is reported once a second
        path = harness.wait_until(lambda: self.client.status()["path"], 20, "the path is known")
        return path["bytes_received"]

    def cached(self):
        """The block cache's data files: docs/disk-format.md."""
        return [path for path in self.client.cache.rglob("blocks/*/*") if len(path.name) == 16]

    def assert_islands(self, path):
        self.assertEqual(path.stat().st_size, SIZE)
        with open(path, "rb") as file:
            for offset, content in ISLANDS.items():
                file.seek(offset - 4096)
                self.assertEqual(file.read(4096 + len(content) + 4096),
                                 bytes(4096) + content + bytes(4096))

    def test_copies_are_quick_and_stay_sparse(self):
        for options in (["--sparse=auto"], ["--sparse=always"]):
            copy = self.place.path("copy")
            before, start = self.received(), time.monotonic()
            self.run_in("/", "cp", *options, self.image, copy)
            seconds, bytes_received = time.monotonic() - start, self.received() - before
            print(f"cp {options[0]} of 10 GiB with two islands: {seconds:.2f} s, "
                  f"{bytes_received} bytes received", flush=True)
            self.assertLess(bytes_received, 2_000_000)
            self.assertLess(space(copy), 1 << 20)
            self.assert_islands(copy)
            copy.unlink()
        self.assertLess(space(*self.cached()), 1 << 20)

    def test_reading_through_a_hole_carries_nothing(self):
        before, start = self.received(), time.monotonic()
        with open(self.image, "rb", buffering=0) as file:
            file.seek(4 * GIB)
            for _ in range(1024):
                self.assertFalse(any(memoryview(file.read(1 << 20)).cast("Q")))
        seconds, bytes_received = time.monotonic() - start, self.received() - before
        print(f"1 GiB of a hole read: {seconds:.2f} s, {bytes_received} bytes received", flush=True)
        self.assertLess(bytes_received, 500_000)
        time.sleep(1)  # what was read is put into the cache afterwards
        self.assertEqual(len(self.cached()), 1)
        self.assertEqual(space(*self.cached()), 0)


class HugeFileTest(harness.TestCase):
    """What tmpfs, xfs and btrfs allow, a sparse file of exabytes, costs what its data do."""

    def setUp(self):
        self.memory = tempfile.mkdtemp(prefix="rushfs-huge-", dir="/dev/shm")
        self.addCleanup(shutil.rmtree, self.memory, ignore_errors=True)
        self.server_exports = [f"files={self.memory}"]
        super().setUp()

    def test_a_page_far_out_is_read_and_written(self):
        far = (1 << 62) - 4096
        with open(self.memory + "/sparse", "wb") as file:
            file.truncate(1 << 62)
        mount = self.mount()
        with open(mount.folder / "sparse", "r+b", buffering=0) as file:
            self.assertEqual(os.pread(file.fileno(), 4096, far), bytes(4096))
            self.assertEqual(os.pwrite(file.fileno(), b"x" * 4096, far), 4096)
            os.fsync(file.fileno())
        with open(self.memory + "/sparse", "rb") as file:
            self.assertEqual(os.pread(file.fileno(), 4096, far), b"x" * 4096)
        mount.unmount()


harness.main()

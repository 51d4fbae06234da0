#!/usr/bin/env python3
"""docs/semantics.md, "What others change": two mounts of one export, and programs on the server's
own disk, see each other's changes at the next access and without polling."""
import mmap
import os
import time

import harness

SOON = 0.5  # seconds; one way and 50 ms, and what other tests beside this one take of the machine


class CoherenceTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.anna, self.ben = self.mount("anna"), self.mount("ben")

    def soon(self, condition, what):
        """How long it took, in milliseconds."""
        start = time.monotonic()
        harness.wait_until(condition, SOON * (4 if os.environ.get("RUSHFS_SANITIZE") else 1), what)
        return (time.monotonic() - start) * 1000

    def write(self, mount, name, content, flags=os.O_TRUNC):
        """Answered when the server has it."""
        file = os.open(mount.folder / name, os.O_WRONLY | os.O_CREAT | flags, 0o644)
        os.write(file, content)
        os.fsync(file)
        os.close(file)

    def test_content_and_attributes(self):
        self.write(self.anna, "clip", b"first" * 1000)
        self.assertEqual((self.ben.folder / "clip").read_bytes(), b"first" * 1000)
        with open(self.ben.folder / "clip", "rb", buffering=0) as opened:
            mapped = mmap.mmap(opened.fileno(), 4096, access=mmap.ACCESS_READ)
            self.assertEqual(mapped[:5], b"first")
            for take in range(20):
                content = b"%05d" % take * 1000
                self.write(self.anna, "clip", content, 0)
                self.soon(lambda: os.pread(opened.fileno(), 5, 0) == content[:5], "read again")
                self.soon(lambda: mapped[:5] == content[:5], "seen through a mapping")
        os.chmod(self.anna.folder / "clip", 0o600)
        self.soon(lambda: (self.ben.folder / "clip").stat().st_mode & 0o777 == 0o600, "the mode")

    def test_names(self):
        for mount in (self.anna, self.ben):
            self.assertFalse((mount.folder / "take").exists())
        self.write(self.anna, "take", b"1")
        self.soon(lambda: (self.ben.folder / "take").exists(), "a new name, once known absent")
        os.rename(self.anna.folder / "take", self.anna.folder / "cut")
        self.soon(lambda: not (self.ben.folder / "take").exists(), "the old name is gone")
        self.assertEqual((self.ben.folder / "cut").read_bytes(), b"1")
        os.unlink(self.ben.folder / "cut")
        self.soon(lambda: not (self.anna.folder / "cut").exists(), "a removal")
        os.mkdir(self.anna.folder / "day")
        self.soon(lambda: "day" in os.listdir(self.ben.folder), "a folder")
        self.write(self.ben, "day/clip", b"2")
        self.soon(lambda: os.listdir(self.anna.folder / "day") == ["clip"], "a file in it")

    def test_programs_on_the_servers_disk(self):
        self.server.put("clip", b"1" * 8192)
        self.assertEqual((self.ben.folder / "clip").read_bytes(), b"1" * 8192)
        with open(self.ben.folder / "clip", "rb", buffering=0) as opened:
            (self.server.folder / "clip").write_bytes(b"2" * 8192)
            self.soon(lambda: os.pread(opened.fileno(), 4, 0) == b"2222", "the new content")
        (self.server.folder / "clip").rename(self.server.folder / "cut")
        self.soon(lambda: os.listdir(self.ben.folder) == ["cut"], "the rename")
        self.soon(lambda: not (self.ben.folder / "clip").exists(), "the old name is gone")
        self.assertEqual((self.ben.folder / "cut").read_bytes(), b"2" * 8192)

    def test_what_is_known_costs_no_round_trip(self):
        for number in range(100):
            (self.server.folder / f"clip{number}").write_bytes(b"frames")
        names = [self.ben.folder / f"clip{number}" for number in range(100)]
        for name in names:
            name.read_bytes()
        time.sleep(1)  # news of what was just written there may come after it was read
        for name in names:
            name.read_bytes()
        time.sleep(5)  # longer than the kernel keeps anything, and than files are held
        before = self.ben.status()["round_trips"]
        for name in names:
            name.stat()
            os.close(os.open(name, os.O_RDONLY))
        self.assertEqual(self.ben.status()["round_trips"] - before, 0)

    def test_a_reader_follows_a_growing_file(self):
        with open(self.anna.folder / "log", "wb", buffering=0) as log:
            log.write(b"0\n")
            os.fsync(log.fileno())
            with open(self.ben.folder / "log", "rb", buffering=0) as tail:
                self.assertEqual(tail.read(), b"0\n")
                for line in range(1, 20):
                    log.write(b"%d\n" % line)
                    seen = b""

                    def grown():
                        nonlocal seen
                        seen += tail.read()
                        return seen == b"%d\n" % line
                    harness.wait_until(grown, 2.5, "the line arrives")


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""Two people change one file while one of them is cut off: both versions are kept, and both are told.
Over the link of a home line, which goes away; what the other does is done at the server."""
import os

import harness
from harness import rushfs, wait_until


class ConflictTest(harness.TestCase):
    def test_both_versions_exist_when_the_link_is_back(self):
        (self.server.folder / "edit.txt").write_bytes(b"o" * 100_000)
        mount = self.mount()
        self.assertEqual((mount.folder / "edit.txt").read_bytes(), b"o" * 100_000)
        with self.link_cut(20):
            with open(mount.folder / "edit.txt", "r+b") as file:
                file.seek(1000)
                file.write(b"ours")
            (self.server.folder / "edit.txt").write_bytes(b"theirs")
        wait_until(lambda: mount.status()["link"]["state"] == "connected", 60, "connected")
        wait_until(lambda: mount.status()["queue"]["conflicts"], 60, "noticed")
        mount.wait()
        self.assertEqual((self.server.folder / "edit.txt").read_bytes(), b"theirs")
        conflict, = mount.status()["queue"]["conflicts"]
        self.assertRegex(conflict["copy"], r"^edit \(conflict \S+ \d{4}-\d\d-\d\d\)\.txt$")
        ours = b"o" * 1000 + b"ours" + b"o" * 98_996
        self.assertEqual((self.server.folder / conflict["copy"]).read_bytes(), ours)
        self.assertEqual((mount.folder / conflict["copy"]).read_bytes(), ours)
        self.assertEqual((mount.folder / "edit.txt").read_bytes(), b"theirs")
        self.assertIn(conflict["copy"], rushfs("status", str(mount.folder)).stdout)
        self.assertIn(conflict["copy"], self.place.path("mount.log").read_text())

    def test_who_has_ours_open_goes_on_in_it(self):
        edit = self.server.folder / "edit.txt"
        edit.write_bytes(b"o" * 100_000)
        mount = self.mount()
        self.assertEqual((mount.folder / "edit.txt").read_bytes(), b"o" * 100_000)
        with open(mount.folder / "edit.txt", "r+b", buffering=0) as file:
            with self.link_cut(20):
                file.write(b"ours")
                edit.write_bytes(b"theirs")
            wait_until(lambda: mount.status()["queue"]["conflicts"], 60, "noticed")
            conflict, = mount.status()["queue"]["conflicts"]
            os.pwrite(file.fileno(), b"more", 4)
            os.ftruncate(file.fileno(), 50_000)
        mount.wait()
        self.assertEqual(edit.read_bytes(), b"theirs")
        self.assertEqual((mount.folder / "edit.txt").read_bytes(), b"theirs")
        copy = self.server.folder / conflict["copy"]
        self.assertEqual(copy.read_bytes(), b"oursmore" + b"o" * 49_992)
        self.assertEqual((mount.folder / conflict["copy"]).stat().st_size, 50_000)

    def test_a_new_file_that_the_servers_disk_lost_is_made_again(self):
        """What a power cut of the server does to a name that its journal had not: it is gone."""
        mount = self.mount()
        with open(mount.folder / "clip", "wb", buffering=0) as file:
            file.write(b"a" * 300_000)
            at_server = self.server.folder / "clip"
            wait_until(lambda: at_server.exists() and at_server.stat().st_size == 300_000, 30, "sent")
            self.server.kill()
            at_server.unlink()
            self.server.start()
            file.write(b"b" * 1000)
            self.assertEqual(os.fstat(file.fileno()).st_size, 301_000)
            wait_until(at_server.exists, 60, "made again")
            os.ftruncate(file.fileno(), 300_500)
            os.fchmod(file.fileno(), 0o600)
        mount.wait()
        self.assertEqual(at_server.stat().st_mode & 0o777, 0o600)
        self.assertEqual(at_server.read_bytes(), b"a" * 300_000 + b"b" * 500)
        self.assertEqual((mount.folder / "clip").read_bytes(), b"a" * 300_000 + b"b" * 500)


if __name__ == "__main__":
    harness.main(harness.LINK)

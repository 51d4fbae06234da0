#!/usr/bin/env python3
"""The link goes away for twenty seconds, as when a train enters a tunnel: nothing is lost, nothing
hangs, and what is cached can still be read."""
import subprocess
import time

import harness

MiB = 1 << 20


class CutTest(harness.TestCase):
    def test_cp_onto_the_mount_survives_a_cut(self):
        mount = self.mount()
        local = harness.make_file(self.place.path("local"), 40 * MiB, 1)
        copy = subprocess.Popen(["cp", str(local), str(mount.folder / "copy")])
        self.addCleanup(copy.kill)
        time.sleep(1)
        with self.link_cut(20):
            pass
        self.assertEqual(copy.wait(timeout=120), 0)
        mount.wait()
        self.assertEqual(harness.digest(self.server.folder / "copy"), harness.digest(local))

    def test_cp_from_the_mount_survives_a_cut(self):
        there = harness.make_file(self.server.folder / "there", 40 * MiB, 2)
        mount = self.mount()
        copy = subprocess.Popen(["cp", str(mount.folder / "there"), str(self.place.path("back"))])
        self.addCleanup(copy.kill)
        time.sleep(1)
        with self.link_cut(20):
            pass
        self.assertEqual(copy.wait(timeout=120), 0)
        self.assertEqual(harness.digest(self.place.path("back")), harness.digest(there))

    def test_what_is_cached_is_read_while_the_link_is_down(self):
        there = harness.make_file(self.server.folder / "there", 2 * MiB, 3)
        mount = self.mount(options="timeout=5s")
        with open(mount.folder / "there", "rb") as file:
            content = file.read()
            with self.link_cut(6):
                started = time.monotonic()
                file.seek(0)
                self.assertEqual(file.read(), content)
                self.assertLess(time.monotonic() - started, 2)
                started = time.monotonic()
                with self.assertRaises(OSError):  # nobody knows; the deadline says so
                    (mount.folder / "never seen").read_bytes()
                self.assertLess(time.monotonic() - started, 15)
        harness.wait_until(lambda: mount.status()["link"]["state"] == "connected", 60, "connected")
        self.assertEqual(harness.digest(mount.folder / "there"), harness.digest(there))


if __name__ == "__main__":
    harness.main(harness.LINK)

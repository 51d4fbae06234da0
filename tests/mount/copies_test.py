#!/usr/bin/env python3
"""docs/semantics.md, "Copies": cp(1) from the mount to the mount copies at the server."""
import os
import time

import harness

MiB = 1 << 20
KiB = 1 << 10


class CopiesTest(harness.TestCase):
    def crossed(self, mount, action):
        """Bytes that crossed the link for it, both ways."""
        def counted():
            time.sleep(2.5)  # the status counts once a second
            path = harness.wait_until(lambda: mount.status()["path"], 10, "a path")
            return path["bytes_sent"] + path["bytes_received"]
        before = counted()
        action()
        return counted() - before

    def test_cp_moves_no_data(self):
        harness.make_file(self.server.folder / "clip", 64 * MiB, 1)
        mount = self.mount()
        cost = self.crossed(mount, lambda: self.run_in(mount.folder, "cp", "clip", "copy"))
        print(f"cp of 64 MiB: {cost} bytes")
        self.assertLess(cost, 16 * KiB)
        self.assertEqual(harness.digest(self.server.folder / "copy"),
                         harness.digest(self.server.folder / "clip"))
        self.assertEqual(harness.digest(mount.folder / "copy"),
                         harness.digest(self.server.folder / "clip"))

    def test_cp_of_what_waits_in_the_queue_sends_it_once(self):
        mount = self.mount()
        local = harness.make_file(self.place.path("local"), 16 * MiB, 2)

        def write_and_copy():
            self.run_in(mount.folder, "cp", local, "clip")
            self.run_in(mount.folder, "cp", "clip", "copy")

        cost = self.crossed(mount, write_and_copy)
        self.assertGreater(cost, 16 * MiB)
        self.assertLess(cost, 16 * MiB * 1.2)
        for name in ("clip", "copy"):
            self.assertEqual(harness.digest(self.server.folder / name), harness.digest(local))

    def test_cp_of_a_folder_moves_no_data_either(self):
        day = self.server.folder / "day"
        day.mkdir()
        for number in range(50):
            harness.make_file(day / f"clip {number}", MiB, number)
        mount = self.mount()
        cost = self.crossed(mount, lambda: self.run_in(mount.folder, "cp", "-r", "day", "copy"))
        print(f"cp -r of 50 files of 1 MiB: {cost} bytes")
        self.assertLess(cost, 50 * 4 * KiB)
        self.assert_same_tree(day, self.server.folder / "copy")
        self.assertEqual(len(os.listdir(mount.folder / "copy")), 50)


if __name__ == "__main__":
    harness.main()

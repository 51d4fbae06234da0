#!/usr/bin/env python3
"""Round trips that programs wait for, counted at real mounts: what makes a distant disk feel near."""
import os
import subprocess
import time

import harness
from harness import wait_until


class RoundTripTest(harness.TestCase):
    def spent(self, mount, action):
        before = mount.status()["round_trips"]
        action()
        return mount.status()["round_trips"] - before

    def run_on(self, *command):
        subprocess.run(command, check=True, capture_output=True)

    def test_ls_l_of_a_thousand_entries_costs_three(self):
        for number in range(1000):
            (self.server.folder / f"clip {number}").write_bytes(b"c")
        mount = self.mount()
        time.sleep(1.2)
        cost = self.spent(mount, lambda: self.run_on("ls", "-l", mount.folder))
        print("ls -l of 1,000 entries:", cost)
        # The folder itself is looked at too: ls asks what it was given.
        self.assertLessEqual(cost, 3 + 1)

    def test_cp_r_costs_a_round_trip_for_each_file(self):
        source = self.place.path("card")
        source.mkdir()
        for number in range(100):
            (source / f"clip {number}").write_bytes(os.urandom(10_000))
        mount = self.mount()
        cost = self.spent(mount, lambda: self.run_on("cp", "-r", source, mount.folder / "card"))
        print("cp -r of 100 files:", cost)
        self.assertLessEqual(cost, 110)
        mount.wait()
        self.assert_same_tree(source, self.server.folder / "card")
        back = self.place.path("back")
        cost = self.spent(mount, lambda: self.run_on("cp", "-r", mount.folder / "card", back))
        print("and back:", cost)
        self.assertLessEqual(cost, 110)
        self.assert_same_tree(source, back)

    def test_cp_into_a_small_folder_costs_one(self):
        source = self.place.path("clip")
        source.write_bytes(os.urandom(100_000))
        mount = self.mount()
        others = (mount.folder / f"other {number}" for number in range(1000))
        # The folder's listing comes along with the first.
        wait_until(lambda: self.spent(mount, next(others).exists) == 0, 10, "listed")
        cost = self.spent(mount, lambda: self.run_on("cp", source, mount.folder / "clip"))
        print("cp of a file:", cost)
        self.assertLessEqual(cost, 1)

    def test_names_cost_one_each(self):
        mount = self.mount()
        (mount.folder / "day").mkdir()
        os.listdir(mount.folder)
        costs = {
            "create, write, close": lambda: (mount.folder / "day" / "a").write_bytes(b"a"),
            "rename": lambda: os.rename(mount.folder / "day" / "a", mount.folder / "day" / "b"),
            "mkdir": lambda: os.mkdir(mount.folder / "day" / "c"),
            "unlink": lambda: os.unlink(mount.folder / "day" / "b"),
        }
        for name, action in costs.items():
            with self.subTest(name):
                # The folder itself may have to be looked at once more after a second.
                self.assertLessEqual(self.spent(mount, action), 1 + 1)

    def test_open_and_first_read_of_something_listed_cost_one(self):
        (self.server.folder / "clip").write_bytes(b"c" * 100_000)
        mount = self.mount()
        os.listdir(mount.folder)
        self.assertEqual(self.spent(mount, lambda: os.stat(mount.folder / "clip")), 0)

        def first_read():
            with open(mount.folder / "clip", "rb", buffering=0) as file:
                self.assertEqual(file.read(4096), b"c" * 4096)

        self.assertLessEqual(self.spent(mount, first_read), 1)


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""docs/semantics.md, "Round trips": those that programs wait for, counted at real mounts; they make
a distant disk feel near."""
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
        self.assertLessEqual(cost, 3)

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
        day = mount.folder / "day"
        costs = {
            "create, write, close": lambda: (day / "a").write_bytes(b"a"),
            "link": lambda: os.link(day / "a", day / "l"),
            "symlink": lambda: os.symlink("a", day / "s"),
            "rename": lambda: os.rename(day / "a", day / "b"),
            "mkdir": lambda: os.mkdir(day / "c"),
            "unlink": lambda: os.unlink(day / "b"),
            "rmdir": lambda: os.rmdir(day / "c"),
        }
        for pause in (0, 2.5):  # then nothing is fresh but what the server would have told of
            for name, action in costs.items():
                with self.subTest(name, pause=pause):
                    time.sleep(pause)
                    self.assertEqual(self.spent(mount, action), 1)
            for left in ("l", "s"):
                os.unlink(day / left)

    def test_names_others_made_cost_one_each(self):
        for number in range(20):
            (self.server.folder / f"clip {number}").write_bytes(b"c")
        mount = self.mount()
        os.listdir(mount.folder)
        costs = {
            "rename": lambda: os.rename(mount.folder / "clip 1", mount.folder / "cut 1"),
            "unlink": lambda: os.unlink(mount.folder / "clip 2"),
        }
        for name, action in costs.items():
            with self.subTest(name):
                self.assertEqual(self.spent(mount, action), 1)

    def first_read(self, path):
        with open(path, "rb", buffering=0) as file:
            self.assertEqual(file.read(4096), b"c" * 4096)

    def test_open_and_first_read_of_something_listed_cost_one(self):
        (self.server.folder / "clip").write_bytes(b"c" * 100_000)
        mount = self.mount()
        os.listdir(mount.folder)
        clip = mount.folder / "clip"
        self.assertEqual(self.spent(mount, lambda: os.stat(clip)), 0)
        self.assertEqual(self.spent(mount, lambda: self.first_read(clip)), 1)
        self.assertEqual(self.spent(mount, lambda: self.first_read(clip)), 0)

    def test_open_and_first_read_of_something_never_looked_up_cost_one_more(self):
        day = self.server.folder / "day"
        day.mkdir()
        (day / "clip").write_bytes(b"c" * 100_000)
        mount = self.mount()
        os.stat(mount.folder / "day")
        self.assertEqual(self.spent(mount, lambda: self.first_read(mount.folder / "day/clip")), 2)

    def test_what_is_known_costs_nothing_for_as_long_as_the_link_is_up(self):
        (self.server.folder / "clip").write_bytes(b"c" * 100_000)
        mount = self.mount()
        clip = mount.folder / "clip"
        self.first_read(clip)
        time.sleep(2.5)  # longer than anything is believed without the server's word
        self.assertEqual(self.spent(mount, lambda: os.stat(clip)), 0)
        self.assertEqual(self.spent(mount, lambda: self.first_read(clip)), 0)


if __name__ == "__main__":
    harness.main()

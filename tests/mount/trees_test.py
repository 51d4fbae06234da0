#!/usr/bin/env python3
"""What people do with folders, over a home line: cp -r, rsync and tar, onto the mount and back."""
import os
import shutil

import harness

FOLDERS = 4 if not harness.LONG else 20
FILES = 8 if not harness.LONG else 50


class TreeTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.local = self.place.path("local")
        self.make_tree(self.local)

    def make_tree(self, top):
        """A card as a camera leaves it: clips, sidecars, links, odd names, an empty folder."""
        for folder in range(FOLDERS):
            where = top / f"A00{folder} größe & \"quote\""
            where.mkdir(parents=True)
            for file in range(FILES):
                size = self.random.choice([0, 1, 100, 4095, 4096, 70_000, 400_000])
                harness.make_file(where / f"clip {file:03}.mov", size, self.random.random())
            os.chmod(where / "clip 000.mov", 0o640)
            (where / "latest.mov").symlink_to("clip 001.mov")
            os.link(where / "clip 002.mov", where / "same clip.mov")
        (top / "empty").mkdir()
        os.utime(top / "empty", (1_000_000_000, 1_000_000_000))

    def test_cp_there_and_back(self):
        mount = self.mount()
        self.run_in(self.place.folder, "cp", "-r", "--preserve=all", self.local,
                    mount.folder / "copy")
        self.assert_same_tree(self.local, mount.folder / "copy")
        mount.wait()
        self.assert_same_tree(self.local, self.server.folder / "copy")
        for name in ("empty", "A000 größe & \"quote\"/clip 000.mov"):
            here, there = (self.local / name).stat(), (self.server.folder / "copy" / name).stat()
            self.assertEqual((here.st_mode, here.st_mtime_ns), (there.st_mode, there.st_mtime_ns))
        mount.drop_cache()
        self.run_in(self.place.folder, "cp", "-r", mount.folder / "copy", self.place.path("back"))
        self.assert_same_tree(self.local, self.place.path("back"))

    def test_rsync_twice_sends_once(self):
        mount = self.mount()
        command = ["rsync", "-aH", "--checksum", "--itemize-changes", f"{self.local}/",
                   f"{mount.folder}/sync/"]
        self.run_in(self.place.folder, *command)
        self.assertEqual(self.run_in(self.place.folder, *command), "")
        mount.wait()
        self.assert_same_tree(self.local, self.server.folder / "sync")

    def test_tar_packs_and_unpacks(self):
        mount = self.mount()
        self.run_in(self.local, "tar", "cf", mount.folder / "card.tar", ".")
        (mount.folder / "out").mkdir()
        self.run_in(mount.folder / "out", "tar", "xf", mount.folder / "card.tar")
        mount.wait()
        self.assert_same_tree(self.local, self.server.folder / "out")

    def test_find_and_rm_leave_nothing(self):
        mount = self.mount()
        self.run_in(self.place.folder, "cp", "-r", self.local, mount.folder / "copy")
        listed = self.run_in(mount.folder, "find", "copy").count("\n")
        self.assertEqual(listed, self.run_in(self.local, "find", ".").count("\n"))
        self.run_in(mount.folder, "rm", "-r", "copy")
        mount.wait()
        self.assertEqual(os.listdir(self.server.folder), [])


if __name__ == "__main__":
    for program in ("rsync", "tar"):
        if not shutil.which(program):
            print(f"skipped: no {program} here")
            raise SystemExit(harness.SKIPPED)
    harness.main(harness.LINK)

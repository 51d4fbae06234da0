#!/usr/bin/env python3
"""Programs that are particular about their disk, over a home line: git and sqlite3."""
import shutil

import harness


class ProgramTest(harness.TestCase):
    def git(self, folder, *words):
        return self.run_in(folder, "git", "-c", "user.name=Test", "-c", "user.email=t@example.org",
                           "-c", "safe.directory=*", "-c", "gc.auto=0", *words)

    def test_git_clones_into_the_mount_and_out_of_it(self):
        origin = self.place.path("origin")
        origin.mkdir()
        self.git(origin, "init", "-q", "-b", "main")
        for number in range(10):
            harness.make_file(origin / f"file {number}", 5000, number)
            self.git(origin, "add", ".")
            self.git(origin, "commit", "-q", "-m", f"change {number}")
        mount = self.mount()
        inside = mount.folder / "inside"
        self.git(self.place.folder, "clone", "-q", "--no-hardlinks", origin, inside)
        self.assertEqual(self.git(inside, "status", "--porcelain"), "")
        (inside / "new file").write_text("made on the mount\n")
        self.git(inside, "add", ".")
        self.git(inside, "commit", "-q", "-m", "made on the mount")
        self.git(inside, "fsck", "--full")
        back = self.place.path("back")
        self.git(self.place.folder, "clone", "-q", "--no-hardlinks", inside, back)
        self.assertEqual(self.git(back, "log", "--format=%H"), self.git(inside, "log", "--format=%H"))
        self.assertEqual((back / "new file").read_text(), "made on the mount\n")
        mount.wait()
        self.git(self.server.folder / "inside", "fsck", "--full")

    def test_sqlite_works_on_the_mount(self):
        mount = self.mount()
        database = mount.folder / "catalogue.db"
        self.run_in(self.place.folder, "sqlite3", database,
                    "create table clip (name text primary key, frames integer);")
        for number in range(5):
            self.run_in(self.place.folder, "sqlite3", database,
                        "begin; insert into clip select 'clip' || value, value from "
                        f"generate_series({number * 100}, {number * 100 + 99}); commit;")
        count = self.run_in(self.place.folder, "sqlite3", database,
                            "select count(*) from clip; pragma integrity_check;")
        self.assertEqual(count.split(), ["500", "ok"])
        mount.wait()
        there = self.run_in(self.place.folder, "sqlite3", self.server.folder / "catalogue.db",
                            "select sum(frames) from clip; pragma integrity_check;")
        self.assertEqual(there.split(), [str(sum(range(500))), "ok"])


if __name__ == "__main__":
    for program in ("git", "sqlite3"):
        if not shutil.which(program):
            print(f"skipped: no {program} here")
            raise SystemExit(harness.SKIPPED)
    harness.main(harness.LINK)

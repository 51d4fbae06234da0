#!/usr/bin/env python3
"""docs/semantics.md, "What others change" and "Locks", over a far link: two mounts of one export,
each 100 ms away with 1 % loss."""
import mmap
import os
import sqlite3
import subprocess
import sys
import threading
import time

import harness

ONE_WAY = 0.05
ADD = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=120, isolation_level=None)
for _ in range(int(sys.argv[2])):
    base.execute("begin immediate")
    base.execute("update counter set n = n + 1")
    base.execute("commit")
"""
APPEND = """
import os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for number in range(int(sys.argv[3])):
    os.write(log, f"{sys.argv[2]} {number} ".encode().ljust(99, b".") + b"\\n")
os.fsync(log)
"""


class TwoMachinesTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.anna, self.ben = self.mount("anna"), self.mount("ben")

    def on_both(self, script, name, *arguments):
        programs = [subprocess.Popen([sys.executable, "-c", script, str(mount.folder / name),
                                      *(str(argument) for argument in arguments[i])])
                    for i, mount in enumerate((self.anna, self.ben))]
        self.place.processes += programs
        for program in programs:
            self.assertEqual(program.wait(timeout=200), 0)

    def reached(self, condition, change):
        """Makes a change, and tells when the server had it."""
        times = []

        def watch():
            while not condition():
                time.sleep(0.001)
            times.append(time.monotonic())
        watcher = threading.Thread(target=watch)
        watcher.start()
        change()
        watcher.join(30)
        return times[0]

    def late(self, there, condition):
        """How long after it had reached the server a change was seen; 0 if at the first look, one
        way and 50 ms later."""
        time.sleep(max(0.0, there + ONE_WAY + 0.05 - time.monotonic()))
        if condition():
            return 0.0
        harness.wait_until(condition, 10, "seen")
        return time.monotonic() - there

    def test_content_is_seen_one_way_after_it_reached_the_server(self):
        clip = self.server.folder / "clip"
        clip.write_bytes(b"0" * 4096)
        late = []
        with open(self.ben.folder / "clip", "rb", buffering=0) as opened:
            mapped = mmap.mmap(opened.fileno(), 4096, access=mmap.ACCESS_READ)
            self.assertEqual(mapped[:1], b"0")
            for take in range(1, 9):
                def write():
                    with open(self.anna.folder / "clip", "r+b", buffering=0) as file:
                        file.write(b"%d" % take)
                there = self.reached(lambda: clip.read_bytes()[:1] == b"%d" % take, write)
                # The kernel's pages are gone when the notice has come: no question is asked before.
                late.append(self.late(
                    there, lambda: os.pread(opened.fileno(), 1, 0) == b"%d" % take))
                self.assertEqual(mapped[:1], b"%d" % take)
        print("of 8 changes, seen at the first look 50 ms after one way:", late.count(0.0))
        self.assertGreaterEqual(late.count(0.0), 7, late)  # a lost packet may cost one its time

    def test_what_changes_just_after_something_else_is_seen_as_soon(self):
        first, second = self.server.folder / "first", self.server.folder / "second"
        late = []
        for take in range(1, 9):
            first.write_bytes(b"0" * take)
            second.write_bytes(b"0" * take)
            time.sleep(0.5)
            for file in (first, second):
                self.assertEqual((self.ben.folder / file.name).stat().st_size, take)

            def write():
                os.truncate(first, 100)
                time.sleep(0.005)  # the mount is being told of that
                os.truncate(second, 100)
            there = self.reached(lambda: second.stat().st_size == 100, write)
            late.append(self.late(
                there, lambda: (self.ben.folder / "second").stat().st_size == 100))
        print("of 8 second changes, seen at the first look 50 ms after one way:", late.count(0.0))
        self.assertGreaterEqual(late.count(0.0), 7, late)

    def changes(self, folder, take):
        """What may be done in a folder, and how it shows in whichever folder: name, deed, sign."""
        clip, new, other = (f"{name}{take}" for name in ("clip", "new", "other"))

        def mode(at):
            return (at / clip).stat().st_mode & 0o777 == 0o600

        def times(at):
            return (at / clip).stat().st_mtime == 1000 + take

        def there(at):
            return (at / new).exists()

        def renamed(at):
            return (at / other).exists() and not (at / new).exists()

        def removed(at):
            return not (at / other).exists()

        return [("chmod", lambda: os.chmod(folder / clip, 0o600), mode),
                ("utimes", lambda: os.utime(folder / clip, (1000 + take, 1000 + take)), times),
                ("a new name", lambda: (folder / new).touch(), there),
                ("a rename", lambda: os.rename(folder / new, folder / other), renamed),
                ("a removal", lambda: os.unlink(folder / other), removed),
                ("a listing", lambda: (folder / new).mkdir(), lambda at: new in os.listdir(at))]

    def test_attributes_and_names_are_seen_one_way_after_they_reached_the_server(self):
        for where, folder in (("the other mount", self.anna.folder),
                              ("the server's disk", self.server.folder)):
            late = {}
            for take in range(6):
                take += 100 * (folder == self.server.folder)
                (self.server.folder / f"clip{take}").write_bytes(b"0" * 4096)
                harness.wait_until(lambda: (self.ben.folder / f"clip{take}").exists(), 10, "made")
                for name, deed, sign in self.changes(folder, take):
                    self.assertFalse(sign(self.ben.folder), name)
                    os.listdir(self.ben.folder)
                    there = self.reached(lambda: sign(self.server.folder), deed)
                    seen = self.late(there, lambda: sign(self.ben.folder))
                    late.setdefault(name, []).append(seen)
            print(f"done on {where}, late by s:", {name: [round(one, 3) for one in all_of if one]
                                                   for name, all_of in late.items()})
            for name, all_of in late.items():
                self.assertGreaterEqual(all_of.count(0.0), 5, (where, name, all_of))

    def test_sqlite_counts_together(self):
        for mode in ("delete", "wal"):
            with self.subTest(mode):
                base = sqlite3.connect(self.anna.folder / mode, timeout=60)
                base.execute(f"pragma journal_mode={mode}")
                base.execute("create table counter (n)")
                base.execute("insert into counter values (0)")
                base.commit()
                base.close()
                self.on_both(ADD, mode, (4,), (4,))
                base = sqlite3.connect(self.ben.folder / mode, timeout=60)
                self.assertEqual(base.execute("select n from counter").fetchone()[0], 8)
                self.assertEqual(base.execute("pragma integrity_check").fetchone()[0], "ok")
                base.close()

    def test_no_record_of_two_logs_in_one_is_lost_or_torn(self):
        (self.server.folder / "log").touch()
        self.on_both(APPEND, "log", ("anna", 40), ("ben", 40))
        lines = (self.server.folder / "log").read_bytes().splitlines()
        self.assertEqual(sorted(line.split(b".")[0] for line in lines),
                         sorted(f"{who} {number} ".encode()
                                for who in ("anna", "ben") for number in range(40)))


if __name__ == "__main__":
    harness.main(["--rate", "100", "--delay", "100", "--loss", "1", "--buffer", "100"])

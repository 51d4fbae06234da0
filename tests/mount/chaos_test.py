#!/usr/bin/env python3
"""docs/semantics.md, "Tenets": whatever dies, what was promised is there and nothing that nobody
wrote. Two mounts of one export, programs on both (chaos_programs.py), and at random: kill -9 of a
mount or the server, a cut link, a full disk of a cache or the server. By hand for long:

    RUSHFS_TEST_SECONDS=3600 RUSHFS_TEST_SEED=7 tests/mount/chaos_test.py
"""
import concurrent.futures
import contextlib
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import threading
import time

import chaos_programs
import harness

SECONDS = int(os.environ.get("RUSHFS_TEST_SECONDS") or (600 if harness.LONG else 2))
PROGRAMS = str(harness.HERE / "chaos_programs.py")
ROUND = 8 if SECONDS > 60 else 5  # seconds in which things die, before all is looked at
PATIENCE = 90  # seconds in which all programs have ended once everything lives again
MiB = 1 << 20
FS_IOC_SETFLAGS, FS_IMMUTABLE_FL = 0x40086602, 0x10
# Per mount. Of what both share a file, each has one.
KINDS = ["records", "records", "log", "trees", "rollback", "wal", "commits"]
if SECONDS > 60:
    KINDS.append("shared")


class ChaosTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.disk = self.small_disk()
        self.server.stop()
        self.server.folder = self.disk / "files"
        self.server.folder.mkdir()
        self.server.exports = [f"files={self.server.folder}"]
        self.server.start()
        self.mounts = [self.mount_with_small_cache(name) for name in ("anna", "ben")]
        self.done = {}

    def small_disk(self):
        disk, image = self.place.path("disk"), self.place.path("image")
        disk.mkdir()
        with open(image, "wb") as file:
            file.truncate(400 * MiB)
        self.run_in("/", "mkfs.ext4", "-q", "-m", "0", image)
        self.run_in("/", "mount", "-o", "loop", image, disk)
        self.place.expect_mount(disk)
        return disk

    def mount_with_small_cache(self, name):
        cache = self.place.path(name + "-cache")
        cache.mkdir()
        self.run_in("/", "mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", cache)
        self.place.expect_mount(cache)
        mount = self.mount(name, options="timeout=30s")
        mount.unmount()
        beneath = os.open(mount.folder, os.O_RDONLY)
        self.set_flags(beneath, FS_IMMUTABLE_FL)  # no program writes there between two mounts
        self.addCleanup(self.set_flags, beneath, 0)
        mount.start()
        return mount

    @staticmethod
    def set_flags(folder, flags):
        fcntl.ioctl(folder, FS_IOC_SETFLAGS, struct.pack("l", flags))

    # ---- What dies ----

    @contextlib.contextmanager
    def mount_killed(self):
        mount = self.random.choice(self.mounts)
        mount.process.kill()
        mount.process.wait()
        yield
        harness.rushfs("unmount", str(mount.folder))
        mount.start()

    @contextlib.contextmanager
    def server_killed(self):
        self.server.kill()
        yield
        self.server.start()

    @contextlib.contextmanager
    def link_lost(self):
        with self.link_cut(0):
            yield

    @contextlib.contextmanager
    def disk_full(self, disk):
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free)
            while file.write(bytes(4096)):
                pass
        try:
            yield
        finally:
            filler.unlink()

    def server_disk_full(self):
        return self.disk_full(self.disk)

    def cache_disk_full(self):
        return self.disk_full(self.random.choice(self.mounts).cache)

    def let_die(self, kinds, seconds):
        """One thing after the other, at times two at once, and brings them back."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.random.random() * 1.5)
            long = self.random.random() < 0.05
            if long:  # who is cut off for the first 15 s of a server loses his locks
                time.sleep(2)
                self.on_both(lambda mount: harness.wait_until(
                    lambda: mount.status()["link"]["state"] == "connected", 60, "connected"))
            with contextlib.ExitStack() as dead:
                for kind in self.random.sample(kinds, self.random.choice([1, 1, 2])):
                    self.done[kind.__name__] = self.done.get(kind.__name__, 0) + 1
                    self.say(kind.__name__)
                    dead.enter_context(kind())
                    time.sleep(self.random.random() * 1.5)
                if long:
                    time.sleep(20)
            self.say("all lives")

    def say(self, what):
        print(f"{time.time():.3f} {what}", file=self.log, flush=True)

    # ---- Rounds ----

    def start_programs(self, number):
        programs = {}
        for mount in self.mounts:
            for place, kind in enumerate(KINDS):
                journal = self.place.path(f"{mount.name}{number}-{kind}{place}.journal")
                with open(journal.with_suffix(".log"), "w") as log:
                    programs[journal] = kind, subprocess.Popen(
                        [sys.executable, PROGRAMS, kind, mount.folder,
                         str(self.random.randrange(10**9)), journal],
                        stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        self.place.processes += [process for _, process in programs.values()]
        for _, process in programs.values():
            self.place.janitor.tell("process", process.pid)
        return programs

    def end_programs(self, programs):
        for _, process in programs.values():
            process.stdin.close()
        end = time.monotonic() + PATIENCE
        for journal, (_, process) in programs.items():
            try:
                status = process.wait(timeout=max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                state = pathlib.Path(f"/proc/{process.pid}/stack").read_text()
                self.fail(f"{journal} does not end: {journal.read_text()[-300:]}\n{state}")
            self.assertEqual(status, 0, journal.with_suffix(".log").read_text())

    def play(self, number, kinds):
        (self.server.folder / "here").touch()
        programs = self.start_programs(number)
        with open(self.place.path(f"deaths{number}.log"), "w") as self.log:
            self.let_die(kinds, ROUND)
        self.end_programs(programs)
        self.on_both(lambda mount: mount.wait(seconds=PATIENCE))
        wrong = [sentence for journal, (kind, _) in programs.items()
                 for sentence in chaos_programs.wrong(kind, self.server.folder, journal)]
        wrong += self.copies_of_conflicts()
        if wrong:
            self.fail(f"round {number}:\n" + "\n".join(wrong))
        for shown in self.on_both(lambda mount: self.tree(mount.folder)):
            self.assertEqual(shown, self.tree(self.server.folder))
        return [(journal.name, note) for journal in programs
                for note in chaos_programs.notes_in(journal) if note[0] == "error"]

    def on_both(self, act):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return list(pool.map(act, self.mounts))

    @staticmethod
    def tree(folder):
        """Without what the server hides."""
        return {name: digest for name, digest in harness.tree_digests(folder).items()
                if not name.startswith(".rushfs-orphans")}

    def copies_of_conflicts(self):
        return [str(path) for path in self.server.folder.rglob("*(conflict *")]

    def clear(self):
        for entry in self.server.folder.iterdir():
            if entry.name == ".rushfs-orphans":
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def rounds(self, kinds, look):
        end = time.monotonic() + SECONDS / 2
        number = 0
        while number == 0 or time.monotonic() < end:
            number += 1
            look(self.play(number, kinds))
            self.clear()
        print(f"{number} rounds: {self.done}", flush=True)
        self.leave_nothing()

    def leave_nothing(self):
        self.on_both(lambda mount: mount.unmount())
        for mount in self.mounts:
            self.assertIsNone(harness.mount_of(mount.folder))
        orphans = self.server.folder / ".rushfs-orphans"
        if harness.LONG:  # what was held for who was killed
            harness.wait_until(lambda: not orphans.exists() or not os.listdir(orphans), 700,
                               "no file without a name is left")
        self.assertEqual(self.server.stop(), 0)
        harness.wait_until(lambda: self.processes() == [], 10, "all processes have ended")

    def processes(self):
        """Of ours, but for the link's."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes()
                if b"rushfs\0" in words and os.fsencode(self.place.folder) in words:
                    found.append(words)
        return found

    def test_writers_go_on_when_others_give_their_disk_back(self):
        mount = self.mounts[0]
        written, ended = [], threading.Event()
        self.addCleanup(ended.set)

        def write(number):
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    with open(mount.folder / f"file{number}", "ab", buffering=0) as file:
                        file.write(b"w" * 6000)
                    written.append(number)
        writers = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(6)]
        for writer in writers:
            writer.start()
        for seconds in (0.5, 1, 2, 3):
            with self.disk_full(mount.cache):
                time.sleep(seconds)
            before = len(written)
            harness.wait_until(lambda: set(written[before:]) == set(range(6)), 10, "all go on")
        ended.set()
        for writer in writers:
            writer.join()

    def test_whatever_dies_what_was_promised_is_there(self):
        self.rounds([self.mount_killed, self.server_killed, self.link_lost, self.server_disk_full,
                     self.cache_disk_full], lambda errors: None)

    def test_no_program_fails_where_only_the_server_and_the_link_come_and_go(self):
        self.rounds([self.server_killed, self.link_lost],
                    lambda errors: self.assertEqual(errors, []))


if __name__ == "__main__":
    harness.main(["--rate", "100", "--delay", "10", "--loss", "0.5", "--buffer", "50"])

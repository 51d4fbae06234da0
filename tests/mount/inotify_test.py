#!/usr/bin/env python3
"""docs/semantics.md, "Watching": a program that watches folders of one mount with inotify(7) gets
the events of what another machine, or a program on the server's own disk, does there."""
import ctypes
import os
import select
import shutil
import signal
import stat
import struct
import subprocess
import time

import harness

libc = ctypes.CDLL(None, use_errno=True)
FLAGS = {"MODIFY": 2, "ATTRIB": 4, "CLOSE_WRITE": 8, "MOVED_FROM": 0x40, "MOVED_TO": 0x80,
         "CREATE": 0x100, "DELETE": 0x200, "ISDIR": 0x40000000}


class Watcher:
    """Events of some folders, as (what, name)."""

    def __init__(self, *folders):
        self.file = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.folders, self.seen = {}, []
        for folder in folders:
            self.add(folder)

    def add(self, folder):
        wanted = sum(FLAGS[name] for name in FLAGS if name != "ISDIR")
        watch = libc.inotify_add_watch(self.file, os.fsencode(folder), wanted)
        assert watch >= 0, os.strerror(ctypes.get_errno())
        self.folders[watch] = os.path.basename(folder)

    def take(self, seconds=0.0):
        if not select.select([self.file], [], [], seconds)[0]:
            return
        data = os.read(self.file, 1 << 16)
        while data:
            watch, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16:16 + length].rstrip(b"\0").decode()
            data = data[16 + length:]
            self.seen += [(what, name) for what, flag in FLAGS.items()
                          if mask & flag and what != "ISDIR"]

    def expect(self, *events, seconds=10):
        """These come, in this order; others may come between."""
        deadline = time.monotonic() + seconds
        left = list(events)
        while True:
            while left and left[0] in self.seen:
                del self.seen[:self.seen.index(left[0]) + 1]
                left.pop(0)
            if not left:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{left} did not come; {self.seen} did")
            self.take(0.1)

    def close(self):
        if self.file is not None:
            os.close(self.file)
        self.file = None


class InotifyTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.anna, self.ben = self.mount("anna"), self.mount("ben")

    def watch(self, *folders):
        watcher = Watcher(*folders)
        self.addCleanup(watcher.close)
        return watcher

    def replay_process(self, mount):
        return int(subprocess.run(["pgrep", "-P", str(mount.process.pid)], check=True, text=True,
                                  stdout=subprocess.PIPE).stdout.split()[0])

    def test_files_come_change_move_and_go(self):
        watcher = self.watch(self.ben.folder)
        one = self.anna.folder
        with open(one / "clip", "wb", buffering=0) as clip:
            clip.write(b"first")
            watcher.expect(("CREATE", "clip"))
            os.fsync(clip.fileno())
            watcher.expect(("MODIFY", "clip"), ("CLOSE_WRITE", "clip"))
        os.chmod(one / "clip", 0o600)
        watcher.expect(("ATTRIB", "clip"))
        os.rename(one / "clip", one / "cut")
        watcher.expect(("MOVED_FROM", "clip"), ("MOVED_TO", "cut"))
        self.assertEqual((self.ben.folder / "cut").read_bytes(), b"first")
        self.assertFalse((self.ben.folder / "clip").exists())
        os.unlink(one / "cut")
        watcher.expect(("DELETE", "cut"))
        self.assertEqual(os.listdir(self.ben.folder), [])
        os.symlink("nowhere", one / "link")
        watcher.expect(("CREATE", "link"))
        self.assertEqual(os.readlink(self.ben.folder / "link"), "nowhere")

    def test_folders_in_folders_and_a_move_between_them(self):
        made = self.place.path("made")
        (made / "card").mkdir(parents=True)
        (made / "card/clip").write_bytes(b"frames")
        watcher = self.watch(self.ben.folder)
        (self.server.folder / "bin").mkdir()
        # As one piece: of what is made in a folder that the mount knows, it knows too.
        os.rename(made, self.server.folder / "day")
        watcher.expect(("CREATE", "bin"), ("CREATE", "day"))
        for place in ("day", "day/card", "bin"):
            watcher.add(self.ben.folder / place)
        os.rename(self.anna.folder / "day/card/clip", self.anna.folder / "bin/clip")
        watcher.expect(("CREATE", "clip"))  # nobody has looked at it here: it comes from nowhere
        os.rename(self.anna.folder / "bin/clip", self.anna.folder / "day/card/again")
        watcher.expect(("MOVED_FROM", "clip"), ("MOVED_TO", "again"))
        os.mkdir(self.anna.folder / "day/new")
        watcher.expect(("CREATE", "new"))
        watcher.add(self.ben.folder / "day/new")
        (self.anna.folder / "day/new/take").write_bytes(b"1")
        watcher.expect(("CREATE", "take"))
        os.unlink(self.anna.folder / "day/new/take")
        watcher.expect(("DELETE", "take"))
        os.rmdir(self.anna.folder / "day/new")
        watcher.expect(("DELETE", "new"))

    def test_a_file_that_takes_the_place_of_another(self):
        (self.server.folder / "project").write_bytes(b"old")
        (self.server.folder / "project.tmp").write_bytes(b"new")
        os.listdir(self.ben.folder)
        watcher = self.watch(self.ben.folder)
        with open(self.ben.folder / "project", "rb") as opened:
            os.rename(self.anna.folder / "project.tmp", self.anna.folder / "project")
            watcher.expect(("MOVED_FROM", "project.tmp"), ("MOVED_TO", "project"))
            self.assertEqual((self.ben.folder / "project").read_bytes(), b"new")
            self.assertEqual(opened.read(), b"old")

    def test_nothing_outside_the_mount_is_touched(self):
        """Names lead to it: a symbolic link, and a file of this machine that is mounted over one."""
        outside = self.place.path("outside")
        outside.write_text("ours")
        outside.chmod(0o600)
        os.symlink(outside, self.anna.folder / "link")
        (self.anna.folder / "clip").write_text("footage")
        (self.anna.folder / "end").write_text("x")
        self.anna.wait()
        for name in ("link", "clip", "end"):
            os.lstat(self.ben.folder / name)
        watcher = self.watch(self.ben.folder)
        subprocess.run(["mount", "--bind", outside, self.ben.folder / "clip"], check=True)
        try:
            os.chown(self.anna.folder / "link", -1, 12345, follow_symlinks=False)
            os.chmod(self.anna.folder / "clip", 0o666)
            (self.anna.folder / "clip").write_text("cut")
            self.anna.wait()
            os.chmod(self.anna.folder / "end", 0o666)
            watcher.expect(("ATTRIB", "end"))
        finally:
            subprocess.run(["umount", self.ben.folder / "clip"], check=True)
        self.assertEqual(outside.read_text(), "ours")
        self.assertEqual(stat.S_IMODE(outside.stat().st_mode), 0o600)

    def test_what_was_removed_and_made_again_stays(self):
        places = [self.server.folder / f"day{number}" for number in range(12)]
        for take in (b"1", b"2", b"3"):
            for place in places:
                shutil.rmtree(place, ignore_errors=True)
                (place / "card").mkdir(parents=True)
                for name in ("clip", "cut"):
                    (place / name).write_bytes(take * 1000)
            for place in places:
                clip = self.ben.folder / place.name / "clip"
                harness.wait_until(lambda: clip.exists() and clip.read_bytes()[:1] == take, 5, "there")
                os.listdir(clip.parent)
            for _ in range(5):
                for place in places:
                    for name in ("clip", "cut", "card"):
                        os.stat(self.ben.folder / place.name / name)
                time.sleep(0.1)

    def test_programs_on_the_servers_disk(self):
        watcher = self.watch(self.ben.folder)
        (self.server.folder / "clip").write_bytes(b"1")
        watcher.expect(("CREATE", "clip"))
        (self.server.folder / "clip").write_bytes(b"22")
        watcher.expect(("MODIFY", "clip"))
        (self.server.folder / "clip").unlink()
        watcher.expect(("DELETE", "clip"))

    def test_what_the_watcher_does_itself_is_told_once(self):
        watcher = self.watch(self.ben.folder)
        (self.ben.folder / "mine").write_bytes(b"1")
        self.ben.wait()
        os.unlink(self.ben.folder / "mine")
        time.sleep(1)
        watcher.take()
        self.assertEqual([what for what, _ in watcher.seen if what in ("CREATE", "DELETE")],
                         ["CREATE", "DELETE"])

    def test_many_changes_while_the_folder_is_used(self):
        watcher = self.watch(self.ben.folder)
        for number in range(200):
            (self.anna.folder / f"clip{number}").write_bytes(b"%d" % number)
            os.listdir(self.ben.folder)
            if number % 3 == 0:
                (self.ben.folder / f"own{number}").touch()
        created = set()
        deadline = time.monotonic() + 30
        while len(created) < 200 and time.monotonic() < deadline:
            watcher.take(0.2)
            created = {name for what, name in watcher.seen
                       if what == "CREATE" and name.startswith("clip")}
        self.anna.wait()
        # Whoever looks up a name in the moment of its event may keep the kernel from telling of it.
        self.assertGreaterEqual(len(created), 198)
        for number in range(200):
            self.assertEqual((self.ben.folder / f"clip{number}").read_bytes(), b"%d" % number)
        self.assertEqual(len(os.listdir(self.server.folder)), 200 + 67)

    def test_the_process_may_die_and_the_mount_may_go(self):
        watcher = self.watch(self.ben.folder)
        (self.anna.folder / "one").touch()
        watcher.expect(("CREATE", "one"))
        os.kill(self.replay_process(self.ben), signal.SIGKILL)
        (self.anna.folder / "two").touch()
        harness.wait_until(lambda: (self.ben.folder / "two").exists(), 5, "seen all the same")
        (self.ben.folder / "three").write_bytes(b"3")
        watcher.close()
        self.ben.unmount()
        (self.ben.folder / "beneath").write_bytes(b"of the local disk")
        (self.anna.folder / "beneath").write_bytes(b"of the mount")
        os.unlink(self.anna.folder / "beneath")
        self.anna.wait()
        self.assertEqual((self.ben.folder / "beneath").read_bytes(), b"of the local disk")
        self.assertEqual((self.server.folder / "three").read_bytes(), b"3")

    def test_who_does_not_want_it(self):
        quiet = self.mount("quiet", options="noinotify")
        watcher = self.watch(quiet.folder)
        (self.anna.folder / "clip").touch()
        harness.wait_until(lambda: (quiet.folder / "clip").exists(), 5, "seen")
        watcher.take(0.5)
        self.assertEqual(watcher.seen, [])


if __name__ == "__main__":
    harness.main()

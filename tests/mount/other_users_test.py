#!/usr/bin/env python3
"""docs/semantics.md, "Other users": what other users of the machine can see of a mount, ask it and do
to it: nothing, unless allow_other lets them use its files by the rights these have."""
import os
import pathlib
import shutil
import stat
import subprocess
import sys

import harness
from harness import rushfs

FAILURE = 1
OWNER, OTHER = 65534, 1  # nobody and daemon: fusermount3 wants to know a name


class OtherUsersTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.place.folder.chmod(0o755)
        self.program = shutil.copy(harness.RUSHFS, self.place.path("rushfs"))

    def try_as(self, user, call):
        """What a call of that user ends with."""
        status = self.as_user(user, exec, call, {"os": os})
        return os.strerror(status) if status else "done"

    @staticmethod
    def socket_of(mount):
        device = harness.mount_of(mount.folder).split()[2].replace(":", "-")
        return pathlib.Path(f"/run/rushfs/{device}.sock")

    def ask_as(self, user, *words):
        return subprocess.run([self.program, *map(str, words)], user=user, group=user,
                              extra_groups=[], cwd="/", capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, env={"HOME": "/nonexistent"})

    def test_nobody_else_gets_into_a_mount_without_allow_other(self):
        (self.server.folder / "clip").write_text("frames")
        mount = self.mount()
        for call in (f"os.listdir({str(mount.folder)!r})", f"os.stat({str(mount.folder)!r})",
                     f"open({str(mount.folder / 'clip')!r}).read()",
                     f"os.mkdir({str(mount.folder / 'folder')!r})"):
            self.assertEqual(self.try_as(OTHER, call), "Permission denied", call)
        self.assertEqual(sorted(os.listdir(self.server.folder)), ["clip"])

    def test_with_allow_other_the_rights_of_the_files_count(self):
        folder = self.server.folder
        for name, owner, mode in (("private", OWNER, 0o600), ("shared", OWNER, 0o644),
                                  ("own", OTHER, 0o600)):
            (folder / name).write_text("frames")
            os.chown(folder / name, owner, owner)
            (folder / name).chmod(mode)
        (folder / "drop").mkdir()
        (folder / "drop").chmod(0o1777)
        (folder / "drop/theirs").write_text("x")
        mount = self.mount(options="allow_other")
        at = {name: str(mount.folder / name) for name in ("private", "shared", "own", "drop")}
        refused, forbidden = "Permission denied", "Operation not permitted"
        for call, expected in (
                (f"open({at['private']!r}).read()", refused),
                (f"open({at['shared']!r}).read()", "done"),
                (f"open({at['shared']!r}, 'a')", refused),
                (f"os.truncate({at['shared']!r}, 0)", refused),
                (f"os.chmod({at['shared']!r}, 0o666)", forbidden),
                (f"os.chown({at['own']!r}, {OWNER}, -1)", forbidden),
                (f"os.setxattr({at['shared']!r}, 'user.a', b'1')", refused),
                (f"os.setxattr({at['own']!r}, 'trusted.a', b'1')", forbidden),
                (f"os.mkdir({str(mount.folder / 'folder')!r})", refused),
                (f"os.unlink({at['own']!r})", refused),
                (f"os.unlink({at['drop'] + '/theirs'!r})", forbidden),
                (f"open({at['own']!r}, 'a').close()", "done"),
                (f"open({at['drop'] + '/new'!r}, 'w').close()", "done")):
            self.assertEqual(self.try_as(OTHER, call), expected, call)
        mount.wait()
        self.assertEqual((folder / "drop/new").stat().st_uid, OTHER)
        self.assertEqual((folder / "shared").read_text(), "frames")
        self.assertEqual(stat.S_IMODE((folder / "shared").stat().st_mode), 0o644)

    def test_only_its_owner_is_answered_and_obeyed(self):
        mount = self.mount(options="allow_other")
        before = mount.status()
        for words in (["status", mount.folder], ["set", mount.folder, "rate=1M"],
                      ["wait", mount.folder], ["set", mount.folder, "--retry"],
                      ["set", mount.folder, "--discard", "1"], ["unmount", mount.folder],
                      ["unmount", mount.folder, "--now"]):
            done = self.ask_as(OTHER, *words)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn("another user", done.stdout + done.stderr, words)
        listed = self.ask_as(OTHER, "status")
        self.assertNotIn("queue", listed.stdout)
        self.assertIsNotNone(harness.mount_of(mount.folder))
        self.assertEqual(mount.status()["pid"], before["pid"])

    def open_fuse_to_all(self):
        """As udev's rules have it; a machine without udev keeps it to root."""
        before = os.stat("/dev/fuse").st_mode & 0o777
        os.chmod("/dev/fuse", 0o666)
        self.addCleanup(os.chmod, "/dev/fuse", before)

    def test_an_ordinary_users_mount_is_his_alone(self):
        self.open_fuse_to_all()
        mount = harness.Mount(self.place, self.server)
        for path in (mount.folder, mount.key, mount.known_hosts):
            os.chown(path, OWNER, OWNER)
        home = self.place.path("home")
        home.mkdir()
        os.chown(home, OWNER, OWNER)
        mount.cache = home / "cache"
        command = [self.program, *mount.command("--foreground")[1:]]
        process = self.place.start(command, "mount.log", user=OWNER, group=OWNER, extra_groups=[],
                                   env={"HOME": str(home), "PATH": os.environ["PATH"]})
        harness.wait_until(lambda: mount.answers() or process.poll() is not None, 40, "mounted")
        self.assertIsNone(process.poll(), self.place.path("mount.log").read_text())
        self.assertEqual(mount.status()["pid"], process.pid)  # root may ask
        for user, expected in ((OWNER, "done"), (OTHER, "Permission denied"),
                               (0, "Permission denied")):
            self.assertEqual(self.try_as(user, f"os.listdir({str(mount.folder)!r})"), expected)
        self.assertIn("another user", self.ask_as(OTHER, "wait", mount.folder).stderr)
        done = self.ask_as(OWNER, "wait", mount.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        process.terminate()
        process.wait(timeout=30)
        os.rmdir(f"/tmp/rushfs-{OWNER}")

    def test_what_it_keeps_is_closed_to_others(self):
        mount = self.mount(options="allow_other")
        (mount.folder / "clip").write_bytes(b"frames" * 1000)
        mount.wait()
        mode = stat.S_IMODE(next(mount.cache.iterdir()).stat().st_mode)
        self.assertEqual(mode, 0o700)
        socket_name = self.socket_of(mount)
        for path, mode in ((socket_name.parent, 0o700), (socket_name, 0o600), (mount.key, 0o600)):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode, path)
        inside = next(mount.cache.iterdir())
        for call in (f"os.listdir({str(inside)!r})", f"open({str(inside / 'server')!r})",
                     f"open({str(mount.key)!r})", "os.listdir('/run/rushfs')",
                     f"open('/proc/{mount.process.pid}/mem', 'rb')",
                     f"os.listdir('/proc/{mount.process.pid}/fd')"):
            self.assertEqual(self.try_as(OTHER, call), "Permission denied", call)

    def test_a_cache_folder_of_another_user_is_not_used(self):
        mount = self.mount()
        mount.unmount()
        inside = next(mount.cache.iterdir())
        os.chown(inside, OTHER, OTHER)
        done = subprocess.run(mount.command(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, FAILURE, done.stderr)
        self.assertIn("not a folder of ours", done.stderr)
        os.chown(inside, 0, 0)
        moved = inside.rename(self.place.path("moved"))
        inside.symlink_to(moved)
        done = subprocess.run(mount.command(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, FAILURE, done.stderr)
        self.assertIn("not a folder of ours", done.stderr)
        inside.unlink()
        mount.start()

    def test_a_socket_of_another_user_is_not_believed(self):
        """Who looks for a mount's socket in /tmp may find one that somebody else has put there."""
        mount = self.mount()
        real = self.socket_of(mount)
        listening = self.place.start(
            [sys.executable, "-c", f"""
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind({str(self.place.path('theirs'))!r})
os.chmod({str(self.place.path('theirs'))!r}, 0o666)
os.setuid({OTHER})
listener.listen()
while True:
    caller = listener.accept()[0]
    caller.recv(65536)
    caller.send(b'{{"done": true}}\\n')
"""], "theirs.log")
        harness.wait_until(lambda: self.place.path("theirs").exists(), 20, "they listen")
        kept = real.with_suffix(".kept")
        real.rename(kept)
        try:
            real.symlink_to(self.place.path("theirs"))
            done = rushfs("wait", str(mount.folder), check=False)
            self.assertNotEqual(done.returncode, 0, done.stdout)
        finally:
            real.unlink()
            kept.rename(real)
        listening.kill()
        mount.wait()


if __name__ == "__main__":
    harness.main()

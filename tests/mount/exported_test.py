#!/usr/bin/env python3
"""docs/semantics.md, "The exported tree" and "Owners and permissions", as programs on a mount meet
them."""
import errno
import os
import stat
import subprocess
import threading

import harness

USER, OTHER = 12341, 12342


class ExportedTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.place.folder.chmod(0o755)
        self.server.folder.chmod(0o777)

    def owner(self, path):
        status = os.lstat(path)
        return status.st_uid, status.st_gid

    def make_all_kinds(self, folder):
        (folder / "file").write_bytes(b"x")
        (folder / "folder").mkdir()
        (folder / "link").symlink_to("file")
        os.mkfifo(folder / "pipe")

    def test_a_symlink_means_what_it_means_on_the_machine_that_follows_it(self):
        (self.place.path("beside")).write_text("beside the export")
        (self.server.folder / "up").symlink_to("../beside")
        (self.server.folder / "absolute").symlink_to(self.place.path("beside"))
        mount = self.mount()
        self.assertEqual(os.readlink(mount.folder / "up"), "../beside")
        self.assertEqual((mount.folder / "absolute").read_text(), "beside the export")
        self.place.path("beside").unlink()
        with self.assertRaises(FileNotFoundError):
            (mount.folder / "absolute").read_text()

    def test_what_is_moved_out_is_gone_and_back_when_it_returns(self):
        (self.server.folder / "day").mkdir()
        (self.server.folder / "day/clip").write_bytes(b"frames")
        mount = self.mount()
        top = os.open(mount.folder / "day", os.O_RDONLY)
        (self.server.folder / "day").rename(self.place.path("outside"))

        def gone():
            try:
                os.stat("clip", dir_fd=top)
            except OSError as error:
                return error.errno in (errno.ESTALE, errno.ENOENT)
            return False

        harness.wait_until(gone, 5, "what left the tree is gone")
        harness.wait_until(lambda: not (mount.folder / "day").exists(), 5, "and so is its name")
        self.place.path("outside").rename(self.server.folder / "again")
        harness.wait_until((mount.folder / "again/clip").exists, 5, "back")
        self.assertEqual((mount.folder / "again/clip").read_bytes(), b"frames")
        self.assertEqual(os.listdir(mount.folder / "again"), ["clip"])
        os.close(top)

    def test_a_disk_that_hangs_holds_up_its_own_exports_only(self):
        image, disk = self.place.path("image"), self.place.path("disk")
        disk.mkdir()
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
        self.place.expect_mount(disk)
        for name in "one", "two":
            for number in range(20):
                (disk / name / str(number)).mkdir(parents=True)
            self.server.exports.append(f"{name}={disk / name}")
        self.server.stop()
        self.server.start()
        mount = self.mount()
        folders = [folder for name in ("one", "two")
                   for folder in self.mount(name, export=name).folder.iterdir()]
        makers = [threading.Thread(target=(folder / "new").mkdir) for folder in folders]
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        try:
            for maker in makers:
                maker.start()
            done = threading.Thread(target=self.write_and_make_sure, args=[mount.folder / "clip"],
                                    daemon=True)
            done.start()
            done.join(timeout=10)
            self.assertTrue(all(maker.is_alive() for maker in makers))
            self.assertFalse(done.is_alive())
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
            for maker in makers:
                maker.join()
        self.assertTrue(all((folder / "new").is_dir() for folder in folders))

    def write_and_make_sure(self, path):
        with open(path, "wb") as file:
            file.write(b"frames")
            file.flush()
            os.fsync(file.fileno())

    def test_a_pipe_connects_programs_of_one_machine(self):
        os.mkfifo(self.server.folder / "pipe")
        mount = self.mount()
        reading = os.open(mount.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        writing = os.open(mount.folder / "pipe", os.O_WRONLY)
        os.write(writing, b"here")
        self.assertEqual(os.read(reading, 10), b"here")
        with self.assertRaises(OSError) as refused:  # nobody reads there
            os.open(self.server.folder / "pipe", os.O_WRONLY | os.O_NONBLOCK)
        self.assertEqual(refused.exception.errno, errno.ENXIO)
        for fd in (reading, writing):
            os.close(fd)

    def test_roots_server_makes_files_as_who_asked_for_them(self):
        mount = self.mount(options="allow_other")
        self.assertEqual(self.as_user(USER, self.make_all_kinds, mount.folder), 0)
        mount.wait()
        for name in ("file", "folder", "link", "pipe"):
            self.assertEqual(self.owner(self.server.folder / name), (USER, USER), name)
        os.chmod(mount.folder / "file", 0o600)
        self.assertEqual(self.as_user(OTHER, os.open, mount.folder / "file", os.O_RDONLY), errno.EACCES)
        self.assertEqual(self.as_user(OTHER, os.chmod, mount.folder / "file", 0o666), errno.EPERM)
        self.assertEqual(self.as_user(USER, os.open, mount.folder / "file", os.O_RDWR), 0)

    def test_an_ordinary_users_server_makes_everything_as_its_user(self):
        self.server.stop()
        self.server.become(USER)
        self.server.start()
        mount = self.mount(options="allow_other")
        self.make_all_kinds(mount.folder)
        self.assertEqual(self.as_user(OTHER, os.mkdir, mount.folder / "theirs"), 0)
        mount.wait()
        for name in ("file", "folder", "link", "pipe", "theirs"):
            self.assertEqual(self.owner(self.server.folder / name), (USER, USER), name)
            self.assertEqual(self.owner(mount.folder / name), (USER, USER), name)
        for ids in ((OTHER, -1), (-1, OTHER)):
            with self.assertRaises(PermissionError) as refused:
                os.chown(mount.folder / "file", *ids)
            self.assertEqual(refused.exception.errno, errno.EPERM)
        os.chmod(mount.folder / "file", 0o640)
        self.assertEqual(stat.S_IMODE(os.stat(self.server.folder / "file").st_mode), 0o640)

    def test_an_ordinary_users_server_writes_to_what_others_let_it_write_to(self):
        theirs = self.server.folder / "clip"
        theirs.write_bytes(b"theirs")
        theirs.chmod(0o666)
        self.server.stop()
        self.server.become(USER)
        os.chown(theirs, OTHER, OTHER)
        self.server.start()
        mount = self.mount()
        for take in (b"ours", b"once more"):
            (mount.folder / "clip").write_bytes(take)
            mount.wait()
            self.assertEqual(theirs.read_bytes(), take)
        for change in (lambda: os.chmod(mount.folder / "clip", 0o600),
                       lambda: os.utime(mount.folder / "clip", (1, 1))):
            with self.assertRaises(PermissionError):
                change()
        mount.wait()

    def test_what_is_read_only_says_so(self):
        (self.server.folder / "file").write_bytes(b"as it was")
        self.server.stop()
        self.server.authorized_keys.write_text("")
        self.server.allow(self.place.path("client-key"), "ro")
        self.server.start()
        mount = self.mount()
        calls = {
            "write": lambda: (mount.folder / "file").write_bytes(b"new"),
            "make": lambda: (mount.folder / "new").write_bytes(b""),
            "remove": lambda: (mount.folder / "file").unlink(),
            "rename": lambda: (mount.folder / "file").rename(mount.folder / "other"),
            "change": lambda: (mount.folder / "file").chmod(0o600),
        }
        for name, call in calls.items():
            with self.subTest(name):
                with self.assertRaises(OSError) as refused:
                    call()
                self.assertEqual(refused.exception.errno, errno.EROFS)
        self.assertEqual((self.server.folder / "file").read_bytes(), b"as it was")


if __name__ == "__main__":
    harness.main()

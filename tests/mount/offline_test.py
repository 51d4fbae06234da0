#!/usr/bin/env python3
"""docs/semantics.md, "Mounting without the server": a mount whose server cannot be reached when it
starts, and while programs use it. On loopback; the server is stopped, or is there but says nothing."""
import os
import pathlib
import signal
import socket
import subprocess
import time

import harness
from harness import rushfs, wait_until


def read_ahead_of(folder):
    device = harness.mount_of(folder).split()[2]
    return int(pathlib.Path(f"/sys/class/bdi/{device}/read_ahead_kb").read_text())


class StartTest(harness.TestCase):
    def test_a_mount_comes_up_without_its_server_and_sends_what_waits_when_it_returns(self):
        mount = self.mount()
        with open(mount.folder / "queued", "wb") as file:
            self.server.process.send_signal(signal.SIGSTOP)
            file.write(b"q" * 3_000_000)
        mount.unmount("--now")
        self.server.kill()
        started = time.monotonic()
        done = subprocess.run(mount.command(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(time.monotonic() - started, 10)
        self.assertIn("cannot be reached", done.stderr)
        self.place.janitor.tell("process", mount.status()["pid"])
        status = mount.status()
        self.assertEqual(status["link"]["state"], "connecting")
        self.assertEqual(status["queue"]["bytes"], 3_000_000)
        self.assertGreater(status["cache"]["budget"], 0)
        self.assertTrue(os.path.isdir(mount.folder))
        self.server.start()
        mount.wait()
        self.assertEqual((self.server.folder / "queued").read_bytes(), b"q" * 3_000_000)
        (mount.folder / "new").write_text("as if nothing had happened")
        rushfs("unmount", str(mount.folder))
        self.assertEqual((self.server.folder / "new").read_text(), "as if nothing had happened")

    def test_what_a_person_must_mend_is_still_said_on_the_terminal(self):
        mount = self.mount()
        mount.unmount()
        self.server.authorized_keys.write_text("")
        wait_until(lambda: "again: 0 keys" in self.server.log(), 20, "the server knows nobody")
        done = subprocess.run(mount.command(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 4)
        self.assertIn("authorized_keys", done.stderr)
        self.assertIsNone(harness.mount_of(mount.folder))

    def test_mounting_makes_one_connection(self):
        before = self.server.log().count(" connected\n")
        mount = self.mount()
        self.assertEqual(mount.status()["link"]["state"], "connected")
        self.assertEqual(self.server.log().count(" connected\n"), before + 1, self.server.log())

    def test_a_mount_without_its_server_is_taken_down_like_any_other(self):
        mount = self.mount()
        mount.unmount()
        self.server.kill()
        mount.start()
        started = time.monotonic()
        mount.unmount()
        self.assertLess(time.monotonic() - started, 10)


class PlaceTest(harness.TestCase):
    def check(self, name):
        mount = self.mount(name)
        (mount.folder / "file").write_text("here")
        self.assertEqual(read_ahead_of(mount.folder), 8192)
        self.assertEqual(mount.status()["queue"]["parked"], [])
        rushfs("wait", str(mount.folder))
        self.assertEqual((self.server.folder / "file").read_text(), "here")
        mount.unmount()
        self.assertIsNone(harness.mount_of(mount.folder))

    def test_a_mount_point_with_a_space(self):
        self.place.path("with space").mkdir()
        self.check("with space/mnt")

    def test_a_mount_point_with_unusual_bytes(self):
        self.check("tab\tquote\"back\\slash#ü%s")

    def test_a_mount_point_that_is_no_text(self):
        self.check(os.fsdecode(b"latin \xe9\xff\x01"))


class TruthTest(harness.TestCase):
    def test_status_knows_the_cache_from_the_first_moment(self):
        (self.server.folder / "clip").write_bytes(os.urandom(1 << 20))
        mount = self.mount(options="cache_size=3G")
        self.assertEqual(mount.status()["cache"]["budget"], 3 << 30)
        (mount.folder / "clip").read_bytes()
        wait_until(lambda: mount.status()["cache"]["bytes"] >= 1 << 20, 10, "kept")
        mount.unmount()
        mount.start()
        self.assertGreaterEqual(mount.status()["cache"]["bytes"], 1 << 20)

    def test_the_socket_of_a_killed_mount_is_nobodys_and_goes_with_the_next(self):
        mount = self.mount()
        device = harness.mount_of(mount.folder).split()[2].replace(":", "-")
        own = pathlib.Path(f"/run/rushfs/{device}.sock")
        self.assertTrue(own.exists())
        mount.kill()
        self.assertEqual(rushfs("status", str(mount.folder), check=False).returncode, 6)
        mount.start()
        if own.exists():  # the number went to a mount that lives
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(own))


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""docs/semantics.md, "Locks": what becomes of a lock whose mount is killed, or cut off for shorter
or longer than its lease. One mount is over the link, which goes away; the other is beside the
server."""
import errno
import fcntl
import os
import subprocess
import sys
import time
import unittest

import harness
from harness import wait_until

LEASE = 60  # seconds since the server last heard of a mount
KEEP_ALIVE = 10  # seconds in which it surely hears of one
LATE = 10  # seconds more, of a busy machine

KINDS = {
    "flock": "fcntl.flock(file, fcntl.LOCK_EX)",
    "record": "fcntl.lockf(file, fcntl.LOCK_EX)",
    "open file": "fcntl.fcntl(file, 38, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))",
}
CHILD = """
import fcntl, os, struct, sys
file = os.open(sys.argv[1], os.O_RDWR)
print("waits", flush=True)
{lock}
print("locked", flush=True)
sys.stdin.readline()
"""

long_form = unittest.skipUnless(os.environ.get("RUSHFS_TEST_LONG"), "takes the lease: long form")


class LockLossTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.anna = self.mount("anna")
        self.ben = self.mount("ben", at=self.place.at_server)
        for kind in KINDS:
            self.server.put(kind, b"as it was")

    def child(self, mount, kind):
        """A process that holds, or waits for, a lock until it is told to end."""
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(lock=KINDS[kind]), str(mount.folder / kind)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.place.processes.append(process)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        self.assertEqual(process.stdout.readline().strip(), "waits")
        os.set_blocking(process.stdout.fileno(), False)
        return process

    def has_lock(self, process):
        return process.stdout.readline().strip() == "locked"

    def connected(self, mount):
        return mount.status()["link"]["state"] == "connected"

    def test_who_was_cut_off_for_less_keeps_it(self):
        with open(self.anna.folder / "flock", "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            waits = self.child(self.ben, "flock")
            with self.link_cut(20):
                file.write(b"ours")
            wait_until(lambda: self.connected(self.anna), 60, "connected")
            os.pwrite(file.fileno(), b"more", 4)
            os.fsync(file.fileno())
            self.assertEqual((self.server.folder / "flock").read_bytes(), b"oursmores")
            self.assertFalse(self.has_lock(waits))
            fcntl.flock(file, fcntl.LOCK_UN)
            wait_until(lambda: self.has_lock(waits), 10, "the other has it")

    @long_form
    def test_a_killed_mount_has_no_locks(self):
        for kind in KINDS:
            holder = self.child(self.anna, kind)
            wait_until(lambda: self.has_lock(holder), 10, kind + " held")
        waiting = {kind: self.child(self.ben, kind) for kind in KINDS}
        self.anna.process.kill()
        killed = time.monotonic()
        for kind, waits in waiting.items():
            wait_until(lambda: self.has_lock(waits), LEASE + LATE, kind + " is free")
            print(f"{kind}: had {time.monotonic() - killed:.0f} s after the other mount was killed")

    @long_form
    def test_who_was_cut_off_for_longer_has_lost_it_and_is_told(self):
        path = self.anna.folder / "flock"
        with open(path, "r+b", buffering=0) as file, open(path, "rb", buffering=0) as reader:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertEqual(file.read(), b"as it was")
            waits = self.child(self.ben, "flock")
            start = time.monotonic()
            with self.link_cut(0):
                time.sleep(25)
                os.pwrite(file.fileno(), b"ours", 0)
                wait_until(lambda: self.has_lock(waits), LEASE + LATE, "the other has it")
                had = time.monotonic() - start
                self.assertGreater(had, LEASE - KEEP_ALIVE)
                self.assertLess(had, LEASE + LATE)
                with open(self.ben.folder / "flock", "r+b", buffering=0) as theirs:
                    self.assertEqual(theirs.read(), b"as it was")
                    os.pwrite(theirs.fileno(), b"theirs", 0)
                    os.fsync(theirs.fileno())
            print(f"had {had:.0f} s after the other mount was cut off")
            wait_until(lambda: self.connected(self.anna), 60, "connected")
            wait_until(lambda: self.anna.status()["queue"]["conflicts"], 10, "told")
            for use in (lambda: os.pwrite(file.fileno(), b"on", 0), lambda: reader.read(1),
                        lambda: os.fsync(file.fileno()), lambda: fcntl.flock(file, fcntl.LOCK_EX)):
                with self.assertRaises(OSError) as caught:
                    use()
                self.assertEqual(caught.exception.errno, errno.EIO)
        self.assertEqual((self.server.folder / "flock").read_bytes(), b"theirswas")
        self.anna.wait()
        conflict, = self.anna.status()["queue"]["conflicts"]
        self.assertEqual((self.server.folder / conflict["copy"]).read_bytes(), b"ourst was")


if __name__ == "__main__":
    harness.main(harness.LINK)

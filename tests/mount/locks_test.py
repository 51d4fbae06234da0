#!/usr/bin/env python3
"""docs/semantics.md, "Locks": programs on two mounts of one export lock each other out as two
programs on one machine do."""
import errno
import fcntl
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time

import harness

F_OFD_SETLK, F_OFD_SETLKW = 37, 38

CHILD = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
{lock}
print("locked", flush=True)
sys.stdin.readline()
"""


def ofd(kind, start, length):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


class LocksTest(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.anna, self.ben = self.mount("anna"), self.mount("ben")
        self.server.put("clip", b"frames")
        self.files = []
        for mount in (self.anna, self.ben):
            file = os.open(mount.folder / "clip", os.O_RDWR)
            self.addCleanup(os.close, file)
            self.files.append(file)

    def child(self, mount, lock):
        """A process that holds, or waits for, a lock until it is told to end."""
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(lock=lock), str(mount.folder / "clip")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.place.processes.append(process)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        return process

    def assert_locked(self, attempt):
        with self.assertRaises(OSError) as caught:
            attempt()
        self.assertIn(caught.exception.errno, (errno.EAGAIN, errno.EACCES))

    def test_flock(self):
        a, b = self.files
        fcntl.flock(a, fcntl.LOCK_SH)
        fcntl.flock(b, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self.assert_locked(lambda: fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB))
        fcntl.flock(a, fcntl.LOCK_UN)
        fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.assert_locked(lambda: fcntl.flock(a, fcntl.LOCK_SH | fcntl.LOCK_NB))

    def test_ranges_of_bytes(self):
        a, b = self.files
        fcntl.lockf(a, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
        # One process: its own lock never stands in its way on one mount, but the other is another.
        self.assert_locked(lambda: fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5))
        fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
        found = struct.unpack("hhqqi4x", fcntl.fcntl(b, fcntl.F_GETLK, ofd(fcntl.F_WRLCK, 0, 5)))
        self.assertEqual(found[:4], (fcntl.F_WRLCK, os.SEEK_SET, 0, 10))
        fcntl.lockf(a, fcntl.LOCK_UN, 10, 0)
        fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 0)

    def test_locks_of_open_files(self):
        a, b = self.files
        again = os.open(self.anna.folder / "clip", os.O_RDWR)
        fcntl.fcntl(again, F_OFD_SETLK, ofd(fcntl.F_WRLCK, 0, 0))
        for other in (a, b):
            self.assert_locked(lambda: fcntl.fcntl(other, F_OFD_SETLK, ofd(fcntl.F_RDLCK, 0, 1)))
        os.close(again)
        harness.wait_until(lambda: self.gets(b), 5, "the lock ends with its descriptor")

    def gets(self, file):
        try:
            fcntl.fcntl(file, F_OFD_SETLK, ofd(fcntl.F_WRLCK, 0, 0))
            return True
        except OSError:
            return False

    def test_waiting_and_what_was_written_under_the_lock(self):
        a, _ = self.files
        fcntl.lockf(a, fcntl.LOCK_EX)
        waiting = self.child(self.ben, "fcntl.lockf(file, fcntl.LOCK_EX)\n"
                             "print(os.pread(file, 100, 0), flush=True)")
        time.sleep(0.5)
        os.pwrite(a, b"changed under the lock", 0)
        fcntl.lockf(a, fcntl.LOCK_UN)
        self.assertEqual(waiting.stdout.readline().strip(), "b'changed under the lock'")

    def test_a_signal_ends_the_wait(self):
        a, _ = self.files
        fcntl.lockf(a, fcntl.LOCK_EX)
        waiting = self.child(
            self.ben, "import signal\n"
            "def heard(*_):\n raise InterruptedError\n"
            "signal.signal(signal.SIGUSR1, heard)\n"
            "print('waits', flush=True)\n"
            "try:\n fcntl.lockf(file, fcntl.LOCK_EX)\n"
            "except InterruptedError:\n print('interrupted', flush=True)")
        waiting.stdout.readline()
        time.sleep(0.5)
        waiting.send_signal(signal.SIGUSR1)
        self.assertEqual(waiting.stdout.readline().strip(), "interrupted")
        killed = self.child(self.ben, "print('waits', flush=True)\nfcntl.lockf(file, fcntl.LOCK_EX)")
        killed.stdout.readline()
        time.sleep(0.5)
        killed.kill()
        killed.wait(timeout=5)
        fcntl.lockf(a, fcntl.LOCK_UN)
        fcntl.lockf(self.files[1], fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_waits_in_a_circle_are_refused(self):
        a, _ = self.files
        fcntl.lockf(a, fcntl.LOCK_EX, 1, 0)
        other = self.child(self.ben, "fcntl.lockf(file, fcntl.LOCK_EX, 1, 1)\n"
                           "print('has the second', flush=True)\n"
                           "fcntl.lockf(file, fcntl.LOCK_EX, 1, 0)")
        other.stdout.readline()
        time.sleep(0.5)
        with self.assertRaises(OSError) as caught:
            fcntl.lockf(a, fcntl.LOCK_EX, 1, 1)
        self.assertEqual(caught.exception.errno, errno.EDEADLK)
        fcntl.lockf(a, fcntl.LOCK_UN, 1, 0)
        self.assertEqual(other.stdout.readline().strip(), "locked")

    def test_a_process_that_dies_lets_go(self):
        holder = self.child(self.anna, "fcntl.lockf(file, fcntl.LOCK_EX)")
        holder.stdout.readline()
        _, b = self.files
        self.assert_locked(lambda: fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB))
        holder.kill()
        holder.wait()
        harness.wait_until(lambda: self.can_lock(b), 5, "the dead process's lock is free")

    def can_lock(self, file):
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            return False

    def test_locks_outlive_a_kill_of_the_server(self):
        a, b = self.files
        fcntl.lockf(a, fcntl.LOCK_EX)
        self.server.kill()
        self.server.start()
        waiting = self.child(self.ben, "fcntl.lockf(file, fcntl.LOCK_EX)")
        time.sleep(18)
        self.assertIsNone(waiting.poll())
        os.pwrite(a, b"still mine", 0)
        self.assert_locked(lambda: fcntl.lockf(b, fcntl.LOCK_EX | fcntl.LOCK_NB))
        fcntl.lockf(a, fcntl.LOCK_UN)
        self.assertEqual(waiting.stdout.readline().strip(), "locked")

    def count_together(self, mode):
        """Two programs on two mounts add to one number: no addition may be lost."""
        script = ("import sqlite3, sys\n"
                  "base = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
                  "for _ in range(int(sys.argv[2])):\n"
                  "  base.execute('begin immediate')\n"
                  "  base.execute('update counter set n = n + 1')\n"
                  "  base.execute('commit')\n")
        with sqlite3.connect(self.anna.folder / "base", timeout=60) as base:
            base.execute(f"pragma journal_mode={mode}")
            base.execute("create table counter (n)")
            base.execute("insert into counter values (0)")
        base.close()
        rounds = 40
        programs = [subprocess.Popen([sys.executable, "-c", script, str(mount.folder / "base"),
                                      str(rounds)]) for mount in (self.anna, self.ben)]
        self.place.processes += programs
        for program in programs:
            self.assertEqual(program.wait(timeout=120), 0)
        base = sqlite3.connect(self.ben.folder / "base", timeout=60)
        self.assertEqual(base.execute("select n from counter").fetchone()[0], 2 * rounds)
        self.assertEqual(base.execute("pragma integrity_check").fetchone()[0], "ok")
        base.close()

    def test_sqlite_with_a_rollback_journal(self):
        self.count_together("delete")

    def test_sqlite_with_a_write_ahead_log(self):
        self.count_together("wal")


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""kill -9 of the client or the server, at random moments while files are written, again and again.
Each time: what fsync acknowledged is on the server's disk, what close acknowledged arrives, whole
and in its last version."""
import os
import threading
import time

import harness

KILLS = int(os.environ.get("RUSHFS_TEST_KILLS") or
            (1000 if harness.LONG else 60 if os.environ.get("RUSHFS_SANITIZE") else 200))
NAMES = 10
NOBODY = 65534  # of an ordinary user
LARGEST = 1 << 20


class Writer(threading.Thread):
    """Writes files until told to stop or until the mount is gone. Keeps the promises it was given:
    `closed` and `synced` map a name to the content that must be, or become, the server's."""

    def __init__(self, mount, random, closed):
        super().__init__(daemon=True)
        self.mount, self.random = mount, random
        self.closed = closed
        self.synced = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.write_file(f"file{self.random.randrange(NAMES)}")
        except OSError as error:
            self.error = error

    def write_file(self, name):
        """Rewrites part of a file, or all of it. Until close() nobody has promised anything."""
        with self.lock:
            content = bytearray(self.closed.pop(name, b""))
            self.synced.pop(name, None)
        flags = os.O_RDWR | os.O_CREAT
        if self.random.random() < 0.3 or not content:
            flags |= os.O_TRUNC
            content.clear()
        file = os.open(self.mount.folder / name, flags, 0o644)
        try:
            for _ in range(self.random.randrange(1, 12)):
                if self.stopping.is_set():
                    break
                self.write_piece(file, content)
            if self.random.random() < 0.3:
                os.fsync(file)
                with self.lock:
                    self.synced[name] = bytes(content)
        finally:
            os.close(file)
        with self.lock:
            self.closed[name] = bytes(content)

    def write_piece(self, file, content):
        offset = self.random.randrange(min(len(content) + 1, LARGEST))
        data = self.random.randbytes(self.random.choice([1, 5000, 65536, 200_000]))
        if os.pwrite(file, data, offset) != len(data):
            raise OSError("short write")
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset:offset + len(data)] = data
        time.sleep(self.random.random() * 0.005)

    def stop(self):
        self.stopping.set()
        self.join(timeout=90)
        if self.is_alive():
            raise AssertionError("a write hangs")

    def promises(self):
        with self.lock:
            return dict(self.synced), dict(self.closed)


class KillTest(harness.TestCase):
    def check(self, promised, kill, what):
        for name, content in promised.items():
            there = (self.server.folder / name).read_bytes()
            if there == content:
                continue
            first = next((i for i, (a, b) in enumerate(zip(there, content)) if a != b),
                         min(len(there), len(content)))
            self.fail(f"kill {kill}: {what} file {name} has {len(there)} bytes on the server, "
                      f"promised were {len(content)}; first difference at {first}")

    def kill_client(self, writer, kill):
        synced, _ = writer.promises()
        self.mount_.process.kill()
        self.mount_.process.wait()
        writer.stop()
        self.check({name: content for name, content in writer.promises()[0].items()
                    if synced.get(name) == content}, kill, "synced")
        harness.force_unmount(self.mount_.folder)
        self.mount_.start()

    def kill_server(self, writer, kill):
        synced, _ = writer.promises()
        self.server.kill()
        after, _ = writer.promises()
        self.check({name: content for name, content in after.items()
                    if synced.get(name) == content}, kill, "synced")
        time.sleep(self.random.random() * 0.3)
        self.server.start()
        time.sleep(self.random.random() * 0.5)
        writer.stop()
        self.assertIsNone(writer.error, "the server's death must not be seen by programs")

    def test_promises_survive_kill_9(self):
        self.mount_ = self.mount()
        closed = {}
        started = time.monotonic()
        for kill in range(KILLS):
            writer = Writer(self.mount_, self.random, closed)
            writer.start()
            time.sleep(self.random.random() * 0.6)
            action = self.random.choice([self.kill_client, self.kill_server])
            action(writer, kill)
            self.mount_.wait()
            self.check(closed, kill, "closed")
        self.assertGreater(len(closed), 0)
        print(f"{KILLS} kills in {time.monotonic() - started:.0f} s", flush=True)

    def test_an_ordinary_users_server_knows_the_files_again(self):
        """It cannot open files by their handles, and after a kill it has not met any of them."""
        self.server.kill()
        self.server.become(NOBODY)
        self.server.start()
        self.mount_ = self.mount()
        closed = {}
        for kill in range(KILLS // 10):
            writer = Writer(self.mount_, self.random, closed)
            writer.start()
            time.sleep(self.random.random() * 0.6)
            self.kill_server(writer, kill)
            self.mount_.wait(seconds=60)
            self.check(closed, kill, "closed")
        self.assertGreater(len(closed), 0)


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""What nobody should do to a server, a cache disk or an export, and what must not come of it."""
import errno
import os
import select
import shutil
import socket
import subprocess
import threading
import time

import harness
from harness import rushfs, wait_until

MiB = 1 << 20
DATAGRAMS = 1_000_000
# Sanitizers keep what was freed for a while.
MEMORY_MAY_GROW = (400 if os.environ.get("RUSHFS_SANITIZE") else 48) * MiB


class RecordingProxy(threading.Thread):
    """Forwards datagrams between a client and a server and keeps copies of the client's."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.back.connect(server)
        self.port = self.front.getsockname()[1]
        self.recorded = []
        self.ended = False

    def run(self):
        client = None
        while not self.ended:
            for ready in select.select([self.front, self.back], [], [], 0.2)[0]:
                if ready is self.front:
                    data, client = self.front.recvfrom(65536)
                    self.recorded.append(data)
                    self.back.send(data)
                elif client:
                    self.front.sendto(self.back.recv(65536), client)


class DatagramTest(harness.TestCase):
    def recorded(self):
        """Real datagrams: a whole handshake and then some."""
        proxy = RecordingProxy(("127.0.0.1", self.server.port))
        proxy.start()
        hosts = self.place.path("proxy_hosts")
        options = f"identity={self.place.path('client-key')},known_hosts={hosts}"
        print_file = self.server.key.with_suffix(".print").read_text().strip()
        rushfs("trust", f"127.0.0.1:{proxy.port}", "--fingerprint", print_file, "-o", options)
        rushfs("bench", f"127.0.0.1:{proxy.port}:/files", "--up", "--seconds", "1", "-o",
               options + ",rate=20M")
        proxy.ended = True
        proxy.join()
        proxy.front.close()
        proxy.back.close()
        self.assertGreater(len(proxy.recorded), 20)
        return proxy.recorded[:2000]

    def mutated(self, data):
        changed = bytearray(data)
        if not changed:
            return bytes(changed)
        for _ in range(self.random.choice([1, 1, 1, 2, 8, 64])):
            changed[self.random.randrange(len(changed))] ^= 1 << self.random.randrange(8)
        if self.random.random() < 0.2:
            del changed[self.random.randrange(len(changed)):]
        return bytes(changed)

    def test_a_million_bad_datagrams_change_nothing(self):
        mount = self.mount()
        (mount.folder / "before").write_bytes(b"here")
        mount.wait()
        real = self.recorded()
        pool = [self.mutated(self.random.choice(real)) for _ in range(20_000)]
        pool += [self.random.randbytes(self.random.randrange(1500)) for _ in range(10_000)]
        before = self.server.memory()
        target = ("127.0.0.1", self.server.port)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sender.close)
        sent = 0
        while sent < DATAGRAMS:
            for data in pool:
                sender.sendto(data, target)
            sent += len(pool)
            self.random.shuffle(pool)
            if sent % 300_000 == 0:  # fresh harm, and work at the same time
                pool[:1000] = [self.mutated(self.random.choice(real)) for _ in range(1000)]
                (mount.folder / f"during {sent}").write_bytes(os.urandom(100_000))
        (mount.folder / "after").write_bytes(b"still here")
        mount.wait()
        self.assertEqual((self.server.folder / "after").read_bytes(), b"still here")
        self.assertEqual((mount.folder / "before").read_bytes(), b"here")
        self.assertLess(self.server.memory() - before, MEMORY_MAY_GROW)
        self.assertEqual(mount.status()["link"]["reconnections"], 0)


class FullDiskTest(harness.TestCase):
    def mount_on_a_small_disk(self, options):
        disk = self.place.path("small-disk")
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48M", "tmpfs", str(disk)], check=True)
        self.place.expect_mount(disk)
        mount = harness.Mount(self.place, self.server)
        mount.cache = disk / "cache"
        mount.options = options
        mount.start()
        return mount

    def test_what_is_larger_than_the_cache_disk_is_copied_as_fast_as_it_is_sent(self):
        mount = self.mount_on_a_small_disk("cache_size=32M,rate=200M")
        harness.make_file(self.server.folder / "read before", 30 * MiB, 3)
        self.assertEqual(len((mount.folder / "read before").read_bytes()), 30 * MiB)
        piece = os.urandom(MiB)
        with open(mount.folder / "footage", "wb", buffering=0) as file:
            for _ in range(150):
                self.assertEqual(file.write(piece), MiB)
        mount.wait()
        self.assertEqual((self.server.folder / "footage").read_bytes(), piece * 150)
        mount.unmount()

    def test_a_full_cache_disk_without_a_server_is_told_to_the_writer_and_loses_nothing(self):
        mount = self.mount_on_a_small_disk("cache_size=8M")
        files = {name: open(mount.folder / name, "wb", buffering=0)
                 for name in (f"file{number}" for number in range(40))}
        self.server.stop()
        wait_until(lambda: mount.status()["link"]["state"] != "attached", 40, "the link is lost")
        accepted = {}
        with self.assertRaises(OSError) as caught:
            for name, file in files.items():
                content = os.urandom(4 * MiB)
                view = memoryview(content)
                while view:
                    view = view[file.write(view):]
                accepted[name] = content
        self.assertEqual(caught.exception.errno, errno.ENOSPC)
        self.assertGreater(len(accepted), 2)
        for file in files.values():
            file.close()
        self.server.start()
        mount.wait()
        for name, content in accepted.items():
            self.assertEqual((self.server.folder / name).read_bytes(), content, name)
        (mount.folder / "room again").write_bytes(b"z" * MiB)
        mount.wait()
        self.assertEqual((self.server.folder / "room again").stat().st_size, MiB)
        mount.unmount()

    def test_a_full_server_disk_holds_the_queue_until_there_is_room(self):
        disk = self.place.path("server-disk")
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", str(disk)], check=True)
        self.place.expect_mount(disk)
        harness.make_file(disk / "ballast", 10 * MiB, 4)
        self.server.stop()
        self.server.exports = [f"files={disk}"]
        self.server.start()
        mount = self.mount()
        content = os.urandom(8 * MiB)
        (mount.folder / "clip").write_bytes(content)
        wait_until(lambda: mount.status()["queue"]["retry_errno"] or
                   mount.status()["queue"]["parked"], 30, "the status tells of the full disk")
        early = rushfs("wait", str(mount.folder), "--timeout", "2s", check=False)
        self.assertEqual(early.returncode, 5)
        (disk / "ballast").unlink()
        rushfs("set", str(mount.folder), "--retry")
        mount.wait(seconds=60)
        self.assertEqual((disk / "clip").read_bytes(), content)


class VanishTest(harness.TestCase):
    def test_an_export_that_vanishes_gives_errors_and_comes_back(self):
        (self.server.folder / "here").write_text("content")
        mount = self.mount(options="timeout=5s")
        self.assertEqual((mount.folder / "here").read_text(), "content")
        shutil.rmtree(self.server.folder)
        started = time.monotonic()
        with self.assertRaises(OSError):
            (mount.folder / "new").write_text("x")
        self.assertLess(time.monotonic() - started, 30)
        self.assertIsNone(self.server.process.poll())
        self.server.folder.mkdir()

        def works():
            try:
                (mount.folder / "again").write_text("back")
                return True
            except OSError:
                return False
        wait_until(works, 30, "the export is back")
        mount.wait()
        self.assertEqual((self.server.folder / "again").read_text(), "back")


if __name__ == "__main__":
    harness.main()

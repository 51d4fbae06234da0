#!/usr/bin/env python3
"""The ways a file can be opened and mapped, on the mount and beside it on a local disk: O_DIRECT,
O_SYNC, O_DSYNC, O_APPEND, mmap shared and private, msync."""
import ctypes
import mmap
import os
import signal

import harness

KiB, MiB = 1 << 10, 1 << 20


def aligned(content):
    """A buffer as O_DIRECT wants it: page aligned."""
    memory = mmap.mmap(-1, (len(content) + 4095) // 4096 * 4096)
    memory.write(content)
    return memory


class OpenModesTest(harness.TestCase):
    def on_server(self, name):
        return (self.server.folder / name).read_bytes()

    def test_o_sync_and_o_dsync_return_when_the_server_has_it(self):
        mount = self.mount()
        for flag, name in ((os.O_SYNC, "sync"), (os.O_DSYNC, "dsync")):
            handle = os.open(mount.folder / name, os.O_CREAT | os.O_RDWR | flag)
            for number in range(3):
                os.pwrite(handle, bytes([65 + number]) * 1000, number * 1000)
                self.assertEqual(self.on_server(name)[number * 1000:], bytes([65 + number]) * 1000)
            os.close(handle)

    def test_o_direct_reads_what_was_written_and_writes_what_is_read(self):
        mount = self.mount()
        content = os.urandom(MiB)
        handle = os.open(mount.folder / "direct", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
        self.assertEqual(os.pwritev(handle, [aligned(content)], 0), MiB)
        back = mmap.mmap(-1, MiB)
        self.assertEqual(os.preadv(handle, [back], 0), MiB)
        self.assertEqual(back[:], content)
        # Beside it, through the page cache.
        with open(mount.folder / "direct", "r+b", buffering=0) as cached:
            self.assertEqual(cached.read(), content)
            os.pwrite(cached.fileno(), b"cached" * 1000, 8192)
            os.preadv(handle, [back], 0)
            self.assertEqual(back[8192:14192], b"cached" * 1000)
            os.pwritev(handle, [aligned(b"d" * 4096)], 4096)
            self.assertEqual(os.pread(cached.fileno(), 4096, 4096), b"d" * 4096)
        os.fsync(handle)
        os.preadv(handle, [back], 0)
        os.close(handle)
        self.assertEqual(self.on_server("direct"), back[:])

    def test_thousands_of_small_writes_that_wait_are_read_at_once(self):
        mount = self.mount()
        content = bytearray(MiB)
        with open(mount.folder / "small", "w+b", buffering=0) as file:
            handle = os.open(mount.folder / "small", os.O_RDONLY | os.O_DIRECT)
            with self.server.silent():
                for number in range(3000):
                    content[number * 300:number * 300 + 10] = number.to_bytes(10, "little")
                    os.pwrite(file.fileno(), number.to_bytes(10, "little"), number * 300)
                os.truncate(file.fileno(), MiB)
                back = mmap.mmap(-1, MiB)
                self.assertEqual(os.preadv(handle, [back], 0), MiB)
            os.close(handle)
        self.assertEqual(back[:], bytes(content))
        mount.wait()
        self.assertEqual(self.on_server("small"), bytes(content))

    def test_o_append_writes_to_the_end_wherever_the_position_is(self):
        mount = self.mount()
        self.server.put("log", b"old ")
        one = os.open(mount.folder / "log", os.O_WRONLY | os.O_APPEND)
        two = os.open(mount.folder / "log", os.O_WRONLY | os.O_APPEND)
        for number in range(50):
            os.lseek(one, 0, os.SEEK_SET)
            os.write(one, f"one {number};".encode())
            os.write(two, f"two {number};".encode())
        os.close(one)
        os.close(two)
        mount.wait()
        expected = "old " + "".join(f"one {n};two {n};" for n in range(50))
        self.assertEqual(self.on_server("log").decode(), expected)

    def test_another_user_who_writes_takes_set_user_id_away_also_at_the_end(self):
        self.place.folder.chmod(0o755)
        mount = self.mount(options="allow_other,allow_suid")
        for name, flags in (("written", os.O_WRONLY), ("appended", os.O_WRONLY | os.O_APPEND)):
            path = mount.folder / name
            path.write_bytes(b"#!/bin/sh\n")
            path.chmod(0o4777)
            child = os.fork()
            if child == 0:
                os.setgid(1000)
                os.setuid(1000)
                os.write(os.open(path, flags), b"mine\n")
                os._exit(0)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            mount.wait()
            for seen in (path, self.server.folder / name):
                self.assertEqual(seen.stat().st_mode & 0o7777, 0o777, seen)

    def test_many_processes_append_without_losing_a_record(self):
        mount = self.mount()
        (mount.folder / "log").touch()
        children = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                handle = os.open(mount.folder / "log", os.O_WRONLY | os.O_APPEND)
                for number in range(100):
                    os.write(handle, f"{child}:{number:04}\n".encode())
                os._exit(0)
            children.append(pid)
        for pid in children:
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
        mount.wait()
        lines = self.on_server("log").decode().splitlines()
        self.assertEqual(sorted(lines), sorted(f"{c}:{n:04}" for c in range(4)
                                               for n in range(100)))

    def test_a_shared_mapping_is_written_by_msync_and_seen_by_readers(self):
        mount = self.mount()
        self.server.put("mapped", b"." * (100 * KiB))
        with open(mount.folder / "mapped", "r+b") as file:
            memory = mmap.mmap(file.fileno(), 0)
            self.assertEqual(memory[:10], b"." * 10)
            memory[5000:5005] = b"hello"
            memory[99 * KiB:99 * KiB + 3] = b"end"
            self.assertEqual(os.pread(file.fileno(), 5, 5000), b"hello")
            memory.flush()  # msync(MS_SYNC)
            self.assertEqual(self.on_server("mapped")[5000:5005], b"hello")
            os.pwrite(file.fileno(), b"written", 200)
            self.assertEqual(memory[200:207], b"written")
            memory[300:306] = b"unsync"
            memory.close()
        mount.wait()
        content = self.on_server("mapped")
        self.assertEqual((content[200:207], content[300:306], content[99 * KiB:99 * KiB + 3]),
                         (b"written", b"unsync", b"end"))
        self.assertEqual(len(content), 100 * KiB)

    def test_a_mapping_outlives_its_descriptor(self):
        mount = self.mount()
        handle = os.open(mount.folder / "outlives", os.O_CREAT | os.O_RDWR)
        os.ftruncate(handle, 64 * KiB)
        memory = mmap.mmap(handle, 64 * KiB)
        os.close(handle)
        memory[1000:1004] = b"late"
        memory.flush()
        memory.close()
        mount.wait()
        self.assertEqual(self.on_server("outlives")[1000:1004], b"late")

    def test_a_private_mapping_changes_nothing(self):
        mount = self.mount()
        self.server.put("private", b"." * 8192)
        with open(mount.folder / "private", "r+b") as file:
            memory = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE,
                               prot=mmap.PROT_READ | mmap.PROT_WRITE)
            memory[100:104] = b"mine"
            self.assertEqual(os.pread(file.fileno(), 4, 100), b"....")
            memory.close()
        self.assertEqual(self.on_server("private"), b"." * 8192)

    def test_reading_past_the_end_of_a_mapped_file_is_sigbus_as_on_a_disk(self):
        mount = self.mount()
        self.server.put("short", b"x" * 100)
        for folder in (mount.folder, self.place.folder):
            name = folder / "short"
            if not name.exists():
                name.write_bytes(b"x" * 100)
            pid = os.fork()
            if pid == 0:
                with open(name, "rb") as file:
                    memory = mmap.mmap(file.fileno(), 100, prot=mmap.PROT_READ)
                    libc = ctypes.CDLL(None)
                    libc.truncate(os.fsencode(name), 0)
                    memory[50]
                os._exit(0)
            status = os.waitpid(pid, 0)[1]
            self.assertEqual(os.WTERMSIG(status), signal.SIGBUS)


if __name__ == "__main__":
    harness.main()

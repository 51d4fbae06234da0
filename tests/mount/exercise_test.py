#!/usr/bin/env python3
"""A random exerciser in the manner of fsx: every read of a file on the mount, by whatever way,
must show what a model in memory says, and so must the server's disk in the end."""
import mmap
import os
import time

import harness

LARGEST = 3 << 20
SECONDS = 30 if not harness.LONG else 300


class Exerciser:
    """One file and its model."""

    def __init__(self, test, mount, name, log):
        self.test, self.random, self.mount = test, test.random, mount
        self.path = mount.folder / name
        self.model = bytearray()
        self.log = log
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT)

    def place(self, largest=LARGEST):
        offset = self.random.randrange(largest)
        length = min(self.random.choice([1, 17, 4096, 5000, 65536, 300_000]), largest - offset)
        return offset, length

    def grow(self, size):
        if len(self.model) < size:
            self.model.extend(bytes(size - len(self.model)))

    def write(self):
        offset, length = self.place()
        data = self.random.randbytes(length)
        self.log.append(f"write {offset} {length}")
        assert os.pwrite(self.file, data, offset) == length
        self.grow(offset + length)
        self.model[offset:offset + length] = data

    def append(self):
        data = self.random.randbytes(self.random.randrange(1, 100_000))
        if len(self.model) + len(data) > LARGEST:
            return
        self.log.append(f"append {len(data)}")
        other = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        assert os.write(other, data) == len(data)
        os.close(other)
        self.model.extend(data)

    def read(self):
        offset, length = self.place()
        self.log.append(f"read {offset} {length}")
        self.compare(os.pread(self.file, length, offset), offset, length)

    def map_read(self):
        if not self.model:
            return
        offset, length = self.place(len(self.model))
        self.log.append(f"map_read {offset} {length}")
        with mmap.mmap(self.file, len(self.model), mmap.MAP_SHARED, mmap.PROT_READ) as view:
            self.compare(view[offset:offset + length], offset, length)

    def map_write(self):
        if not self.model:
            return
        offset, length = self.place(len(self.model))
        data = self.random.randbytes(length)
        self.log.append(f"map_write {offset} {length}")
        with mmap.mmap(self.file, len(self.model), mmap.MAP_SHARED) as view:
            view[offset:offset + length] = data
            view.flush()
        self.model[offset:offset + length] = data

    def truncate(self):
        size = self.random.randrange(LARGEST)
        self.log.append(f"truncate {size}")
        os.ftruncate(self.file, size)
        del self.model[size:]
        self.grow(size)

    def reopen(self):
        self.log.append("reopen")
        os.close(self.file)
        self.file = os.open(self.path, os.O_RDWR)

    def sync(self):
        self.log.append("sync")
        os.fsync(self.file)
        server_file = self.test.server.folder / self.path.name
        self.compare(server_file.read_bytes(), 0, LARGEST)

    def rename(self):
        name = self.path.name
        other = self.path.with_name(name[:-6] if name.endswith("-moved") else name + "-moved")
        self.log.append(f"rename to {other.name}")
        os.rename(self.path, other)
        self.path = other

    def stat(self):
        self.log.append("stat")
        self.test.assertEqual(os.fstat(self.file).st_size, len(self.model), self.history())

    def compare(self, got, offset, length):
        expected = self.model[offset:offset + length]
        if got == expected:
            return
        first = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
                     min(len(got), len(expected)))
        self.test.fail(f"{self.path.name} at {offset}+{length}: {len(got)} bytes, expected "
                       f"{len(expected)}, first difference at {offset + first}\n{self.history()}")

    def history(self):
        return "last steps: " + "; ".join(self.log[-25:])

    def step(self):
        kinds = [(self.write, 30), (self.read, 30), (self.append, 8), (self.truncate, 6),
                 (self.map_read, 10), (self.map_write, 8), (self.stat, 8), (self.reopen, 4),
                 (self.rename, 2), (self.sync, 2)]
        action = self.random.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
        action()


class ExerciseTest(harness.TestCase):
    def exercise(self, mount, seconds):
        files = [Exerciser(self, mount, f"file{number}", []) for number in range(3)]
        end = time.monotonic() + seconds
        steps = 0
        while time.monotonic() < end:
            self.random.choice(files).step()
            steps += 1
        print(f"{steps} steps", flush=True)
        mount.wait()
        for file in files:
            file.compare((self.server.folder / file.path.name).read_bytes(), 0, LARGEST)
            os.close(file.file)
        return files

    def test_the_mount_is_a_disk(self):
        mount = self.mount()
        files = self.exercise(mount, SECONDS)
        mount.drop_cache()
        for file in files:
            file.compare(file.path.read_bytes(), 0, LARGEST)

    def test_a_cache_smaller_than_the_files_changes_nothing(self):
        mount = self.mount(options="cache_size=2M")
        self.exercise(mount, SECONDS)


if __name__ == "__main__":
    harness.main(harness.LINK)

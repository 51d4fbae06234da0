"""Programs that write files where things die (chaos_test.py)."""
import contextlib
import os
import pathlib
import random
import time
import zlib

from chaos_program import Program, notes_in, run


class Records(Program):
    """Writes records to places of a file. Each place must show the record that was promised last, or
    one that was written after it."""
    PLACES, LENGTH = 24, 6000
    TORN = -1

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.count = 0

    @classmethod
    def record(cls, name, place, number):
        head = b"%s %d %d." % (name.encode(), place, number)
        return random.Random(head).randbytes(cls.LENGTH - 64) + head.ljust(64, b".")

    def step(self):
        path = self.folder / self.name
        with open(os.open(path, os.O_RDWR | os.O_CREAT), "r+b", buffering=0) as file:
            for _ in range(self.random.randrange(1, 12)):
                place = self.random.randrange(self.PLACES)
                self.count += 1
                self.note("writing", place, self.count)
                os.pwrite(file.fileno(), self.record(self.name, place, self.count),
                          place * self.LENGTH)
                time.sleep(self.random.random() * 0.01)
            if self.random.random() < 0.3:
                os.fsync(file.fileno())
                self.note("kept", self.count)
        self.note("kept", self.count)

    def failed(self):
        there = self.numbers_in(self.folder / self.name)
        for sentence in self.compare(there, notes_in(self.journal.name)):
            self.note("wrong", sentence)
        self.note("failed", there)

    @classmethod
    def numbers_in(cls, path):
        """Place -> number of the record in it."""
        content = path.read_bytes() if path.exists() else b""
        numbers = {}
        for place in range(cls.PLACES):
            record = content[place * cls.LENGTH:(place + 1) * cls.LENGTH]
            if not record.strip(b"\0"):
                continue
            numbers[place] = cls.TORN
            with contextlib.suppress(ValueError, IndexError):
                number = int(record[-64:].rstrip(b".").split()[2])
                if record == cls.record(path.name, place, number):
                    numbers[place] = number
        return numbers

    @classmethod
    def compare(cls, there, notes):
        """Of what was written before a failure and not promised, any may be there, and torn."""
        kept, since, unsure = {}, {}, {}

        def doubt():
            for place, numbers in since.items():
                unsure.setdefault(place, {cls.TORN}).update(numbers)
            since.clear()
        for what, *facts in notes:
            if what == "writing":
                since.setdefault(facts[0], []).append(facts[1])
            elif what == "kept":
                for place, numbers in since.items():
                    kept[place] = numbers[-1]
                    unsure.pop(place, None)
                since.clear()
            elif what == "failed":
                doubt()
        doubt()
        for place in range(cls.PLACES):
            right = {kept.get(place), *unsure.get(place, ())}
            if there.get(place) not in right:
                yield f"place {place} has {there.get(place)}, right were {right}"

    @classmethod
    def wrong(cls, folder, name, notes):
        for sentence in cls.compare(cls.numbers_in(folder / name), notes):
            yield f"{name}, at the server: {sentence}"


class Log(Program):
    """Appends lines, as others do to the same file."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.count = 0

    @staticmethod
    def line(name, number):
        text = f"{name} {number} " + "x" * (number * 37 % 300)
        return f"{text} {zlib.crc32(text.encode())}\n".encode()

    def step(self):
        mine = []
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            for _ in range(self.random.randrange(1, 15)):
                self.count += 1
                self.note("writing", self.count)
                os.write(log, self.line(self.name, self.count))
                mine.append(self.count)
                time.sleep(self.random.random() * 0.01)
            os.fsync(log)
            self.note("kept", mine)
        finally:
            os.close(log)

    @classmethod
    def wrong(cls, folder, name, notes):
        written = {note[1] for note in notes if note[0] == "writing"}
        kept = {number for note in notes if note[0] == "kept" for number in note[1]}
        there = []
        log = folder / "log"
        for line in log.read_bytes().splitlines(keepends=True) if log.exists() else []:
            words = line.split()
            if len(words) > 1 and words[0] == name.encode() and words[1].isdigit():
                there.append(int(words[1]))
                if line != cls.line(name, there[-1]):
                    yield f"log: {line!r} is torn"
            elif len(words) not in (3, 4):
                yield f"log: {line!r} is torn"
        if kept - set(there):
            yield f"log: of {name} {sorted(kept - set(there))} are missing"
        if set(there) - written:
            yield f"log: {name} never wrote {sorted(set(there) - written)}"
        first = list(dict.fromkeys(there))
        if first != sorted(first):
            yield f"log: lines of {name} are out of order: {first}"


class Trees(Program):
    """Copies a tree onto the mount, and there again, and removes it."""
    FILES = {"clip": 700_000, "day/notes": 3000, "day/empty": 0, "day/night/take": 150_000}

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.count = 0
        self.source = pathlib.Path(self.journal.name).with_suffix(".source")
        make_tree(self.source, self.seed)

    def step(self):
        self.count += 1
        tree, again = f"{self.name}-{self.count}", f"{self.name}-{self.count}-again"
        for source, to in ((self.source, tree), (self.folder / tree, again)):
            self.note("copying", to)
            run("cp", "-r", source, self.folder / to)
            self.note("copied", to)
        if self.random.random() < 0.5:
            self.note("removing", tree)
            run("rm", "-r", self.folder / tree)
            self.note("removed", tree)

    @classmethod
    def wrong(cls, folder, name, notes):
        last = {note[1]: note[0] for note in notes if note[0] in
                ("copying", "copied", "removing", "removed")}
        for tree, what in last.items():
            there = {path: (folder / tree / path).read_bytes() for path in cls.FILES
                     if (folder / tree / path).exists()}
            if what == "removed" and (folder / tree).exists():
                yield f"{tree} was removed and is there"
            for path, content in there.items():
                whole = content_of(notes[0][1], path)
                if content != whole and (what == "copied" or not whole.startswith(content)):
                    yield f"{what} {tree}/{path}: {difference(content, whole)}"
            if what == "copied" and there.keys() != cls.FILES.keys():
                yield f"{tree} was copied, and {cls.FILES.keys() - there.keys()} are missing"


def content_of(seed, path):
    return random.Random(f"{seed} {path}").randbytes(Trees.FILES[path])


def make_tree(folder, seed):
    for path in Trees.FILES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content_of(seed, path))


def difference(there, whole):
    first = next((i for i, (a, b) in enumerate(zip(there, whole)) if a != b), None)
    return f"{len(there)} bytes of {len(whole)}, first difference at {first}"

"""Databases and repositories where things die (chaos_test.py)."""
import contextlib
import shutil
import sqlite3
import subprocess
import tempfile

from chaos_program import Program, run


class Database(Program):
    """Adds one to its row of a database."""
    MODE = "delete"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.count = 0

    @classmethod
    def file_of(cls, name):
        return f"{name}.db"

    def step(self):
        base = sqlite3.connect(self.folder / self.file_of(self.name), timeout=60,
                               isolation_level=None)
        with contextlib.closing(base):
            base.execute(f"pragma journal_mode={self.MODE}")
            base.execute("pragma synchronous=full")
            base.execute("create table if not exists counts (who text primary key, n, filling)")
            for _ in range(self.random.randrange(1, 6)):
                base.execute("begin immediate")
                row = base.execute("select n from counts where who=?", (self.name,)).fetchone()
                self.count = max(self.count, row[0] if row else 0) + 1
                self.note("adding", self.count)
                base.execute("insert or replace into counts values (?, ?, ?)",
                             (self.name, self.count, "x" * self.random.randrange(9000)))
                base.execute("commit")
                self.note("added", self.count)

    @classmethod
    def wrong(cls, folder, name, notes):
        added = max([0, *(note[1] for note in notes if note[0] == "added")])
        adding = max([0, *(note[1] for note in notes if note[0] == "adding")])
        file = cls.file_of(name)
        with tempfile.TemporaryDirectory() as place:  # to be opened as it is, and left so
            for path in folder.glob(file + "*"):
                shutil.copy(path, place)
            with contextlib.closing(sqlite3.connect(f"{place}/{file}")) as base:
                try:
                    check = base.execute("pragma integrity_check").fetchone()[0]
                    row = base.execute("select n from counts where who=?", (name,)).fetchone()
                except sqlite3.Error as error:
                    if added:
                        yield f"{file}: {error}"
                    return
        if check != "ok":
            yield f"{file}: {check}"
        if not added <= (row[0] if row else 0) <= adding:
            yield f"{file}: {name} has {row}, promised {added}, tried {adding}"


class WalDatabase(Database):
    MODE = "wal"


class SharedDatabase(Database):
    @classmethod
    def file_of(cls, name):
        return "shared.db"


class Commits(Program):
    """Commits to a repository."""

    def step(self):
        place = self.folder / self.name
        if not (place / ".git/HEAD").exists():
            place.mkdir(exist_ok=True)
            git(place, "init", "-q", "-b", "main")
        (place / ".git/index.lock").unlink(missing_ok=True)
        for lock in (place / ".git/refs/heads").glob("*.lock"):
            lock.unlink()
        (place / ".git/HEAD.lock").unlink(missing_ok=True)
        for number in range(self.random.randrange(1, 4)):
            (place / f"file {number}").write_bytes(
                self.random.randbytes(self.random.randrange(1, 50_000)))
        git(place, "add", ".")
        git(place, "commit", "-q", "--allow-empty", "-m", "change")
        self.note("committed", git(place, "rev-parse", "HEAD").strip())

    @classmethod
    def wrong(cls, folder, name, notes):
        committed = [note[1] for note in notes if note[0] == "committed"]
        if not committed:
            return
        try:
            git(folder / name, "fsck", "--full", "--no-dangling")
            there = set(git(folder / name, "rev-list", "HEAD").split())
        except subprocess.CalledProcessError as error:
            yield f"{name}: {error} {error.stderr[-300:]}"
            return
        if set(committed) - there:
            yield f"{name}: commits are missing: {set(committed) - there}"


def git(place, *words):
    return run("git", "-C", place, "-c", "user.name=Test", "-c", "user.email=t@example.org",
               "-c", "safe.directory=*", "-c", "gc.auto=0", *words)

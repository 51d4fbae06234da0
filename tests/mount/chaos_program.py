"""What the programs have in common that run where things die (chaos_test.py)."""
import contextlib
import json
import os
import pathlib
import random
import select
import sqlite3
import subprocess
import sys
import time


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL).stdout


def notes_in(journal):
    return [json.loads(line) for line in pathlib.Path(journal).read_text().splitlines()]


class Program:
    def __init__(self, folder, seed, journal):
        self.folder, self.seed = pathlib.Path(folder), seed
        self.name = pathlib.Path(journal).stem
        self.random = random.Random(seed)
        self.journal = open(journal, "a")

    def note(self, *words):
        self.journal.write(json.dumps(words) + "\n")
        self.journal.flush()

    def asked_to_end(self, seconds=0.0):
        return bool(select.select([sys.stdin], [], [], seconds)[0])

    def run(self):
        while not self.asked_to_end(self.random.random() * 0.1):
            try:
                self.step()
            except (OSError, sqlite3.Error, subprocess.CalledProcessError) as error:
                told = getattr(error, "stderr", None) or ""
                self.note("error", time.time(), f"{type(error).__name__}: {error} {told}"[-600:])
                self.look_again()

    def look_again(self):
        """Until there is a mount that answers."""
        while True:
            with contextlib.suppress(OSError):
                os.stat(self.folder / "here")
                return self.failed()
            time.sleep(0.2)

    def failed(self):
        """What was not promised before may be lost."""

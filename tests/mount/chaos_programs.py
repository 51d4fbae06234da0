#!/usr/bin/env python3
"""Programs with results that can be verified, whatever dies under them (chaos_test.py):

    chaos_programs.py KIND FOLDER SEED JOURNAL

works in a folder until its input is closed, and notes in its journal what it is about to do and what
it was promised. `wrong(KIND, FOLDER, JOURNAL)` compares a folder with that afterwards."""
import contextlib
import ctypes
import os
import signal
import sys
import time

from chaos_files import Log, Records, Trees
from chaos_program import notes_in
from chaos_stores import Commits, Database, SharedDatabase, WalDatabase

KINDS = {"records": Records, "log": Log, "trees": Trees, "rollback": Database,
         "wal": WalDatabase, "shared": SharedDatabase, "commits": Commits}
PR_SET_PDEATHSIG = 1


def wrong(kind, folder, journal):
    """Sentences about what is in a folder and must not be, or is not there."""
    notes = notes_in(journal)
    found = [f"{journal.stem}: {note[1]}" for note in notes if note[0] == "wrong"]
    return found + list(KINDS[kind].wrong(folder, journal.stem, notes))


def work(kind, folder, seed, journal):
    """A mapping of a mount that is killed ends its program: it is begun again."""
    program = KINDS[kind](folder, seed, journal)
    program.note("seed", seed)
    while True:
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            program.run()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGBUS:
            return status
        sizes = {}
        with contextlib.suppress(OSError):  # the mount may be gone, and a file meanwhile
            for file in program.folder.glob(f"{program.name}*"):
                sizes[file.name] = file.stat().st_size
        program.note("error", time.time(), "SIGBUS", sizes)
        program.look_again()


if __name__ == "__main__":
    sys.exit(work(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))

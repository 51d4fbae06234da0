"""What the mount tests share: a server and mounts of the real binary, on loopback or over an
emulated wide-area link, and the promise to leave nothing behind.

    class CopyTest(harness.TestCase):
        def test_copies(self):
            mount = self.mount()
            ...self.server.folder is the exported folder, mount.folder the mounted one
    harness.main(harness.LINK)                 # without an argument: on loopback

Environment: RUSHFS names the binary, RUSHFS_TEST_LONG asks for the long versions,
RUSHFS_TEST_SEED replays a run's randomness, RUSHFS_TEST_KEEP keeps the logs of a green run.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SKIPPED = 77  # SKIP_RETURN_CODE of ctest
HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
RUSHFS = os.environ.get("RUSHFS") or str(TOP / "build/release/tools/rushfs")
LONG = bool(os.environ.get("RUSHFS_TEST_LONG"))
SEED = int(os.environ.get("RUSHFS_TEST_SEED") or time.time_ns() % 10**9)

# 100 Mbit/s, 50 ms round trip, 1 % loss: a home line to a studio.
LINK = ["--rate", "100", "--delay", "50", "--loss", "1", "--buffer", "50"]


def wait_until(condition, seconds, what):
    """Polls; returns the condition's first true value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.05)


def digest(path):
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digests(folder):
    """Relative path -> digest, link target or 'directory', of all below a folder."""
    folder = pathlib.Path(folder)
    result = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            result[name] = "-> " + os.readlink(path)
        elif path.is_dir():
            result[name] = "directory"
        else:
            result[name] = digest(path)
    return result


def make_file(path, size, seed):
    """Bytes that no compression makes shorter, the same for the same seed."""
    generator = random.Random(seed)
    with open(path, "wb") as file:
        left = size
        while left > 0:
            piece = generator.randbytes(min(left, 1 << 20))
            file.write(piece)
            left -= len(piece)
    return path


def mount_of(folder):
    """The line of mountinfo for a mount point, or None. Does not touch the mount."""
    wanted = os.fsencode(folder)
    for line in pathlib.Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line.split()[4])
        if point == wanted:
            return line.decode(errors="surrogateescape")
    return None


def force_unmount(folder):
    while mount_of(folder):
        subprocess.run(["umount", "-l", str(folder)], capture_output=True)


class Janitor:
    """A process that cleans up when this one is gone, however it went: it waits for the closing of
    a pipe over which it is told what there is."""

    def __init__(self):
        theirs, self.ours = os.pipe()
        child = os.fork()
        if child != 0:
            os.close(theirs)
            os.waitpid(child, 0)
            return
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        os.close(self.ours)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # or a caller that reads our output to its end would wait
            os.dup2(null, standard)
        told = b""
        while piece := os.read(theirs, 4096):
            told += piece
        self.clean_up(os.fsdecode(told).split("\n")[:-1])
        os._exit(0)

    def tell(self, kind, value):
        os.write(self.ours, os.fsencode(f"{kind} {value}\n"))

    @staticmethod
    def clean_up(told):
        facts = [line.split(" ", 1) for line in told]
        if facts and facts[-1][0] == "done":
            return
        for kind, value in facts:
            if kind == "process":
                with contextlib.suppress(OSError):
                    os.kill(int(value), signal.SIGKILL)
        for kind, value in facts:
            if kind == "mount":
                force_unmount(value)
        for kind, value in facts:
            if kind == "folder":
                shutil.rmtree(value, ignore_errors=True)


class Place:
    """A temporary folder with an end, and what runs in it."""

    def __init__(self, name):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"rushfs-{name}-", dir="/var/tmp"))
        self.over_link = "RUSHFS_WAN_PID" in os.environ
        self.server_address = os.environ.get("RUSHFS_ADDRESS_B", "127.0.0.1")
        self.at_client = os.environ.get("RUSHFS_IN_A", "").split() if self.over_link else []
        self.at_server = os.environ.get("RUSHFS_IN_B", "").split() if self.over_link else []
        self.processes = []
        self.mounts = []
        self.janitor = Janitor()
        self.janitor.tell("folder", self.folder)

    def path(self, *names):
        return self.folder.joinpath(*names)

    def keygen(self, name):
        """Makes an identity; returns its file. The public line is beside it as NAME.pub."""
        key = self.path(name)
        made = subprocess.run([RUSHFS, "keygen", "--out", str(key)], check=True,
                              capture_output=True, text=True)
        key.with_suffix(".pub").write_text(made.stdout.splitlines()[0] + "\n")
        key.with_suffix(".print").write_text(made.stdout.splitlines()[1] + "\n")
        return key

    def start(self, command, log, **more):
        """Starts a process that ends with this place; its output goes to a log here."""
        with open(self.path(log), "ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output, start_new_session=True, **more)
        self.processes.append(process)
        self.janitor.tell("process", process.pid)
        return process

    def expect_mount(self, folder):
        self.mounts.append(folder)
        self.janitor.tell("mount", folder)

    def clean_up(self, keep):
        for folder in self.mounts:
            force_unmount(folder)
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for folder in self.mounts:
            force_unmount(folder)
        if keep:
            for log in sorted(self.folder.glob("*.log")):
                print(f"---- end of {log}", file=sys.stderr)
                lines = log.read_text(errors="replace").splitlines()
                print("\n".join(lines[-30:]), file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.janitor.tell("done", "")
        os.close(self.janitor.ours)


def free_port():
    """A UDP port nobody has now, so that tests can run side by side."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, place, name="server", exports=None, port=None):
        self.place, self.name = place, name
        self.user = None
        self.prefix = []  # a command that starts it
        self.program = RUSHFS
        self.port = port or free_port()
        self.folder = place.path(name + "-files")
        self.folder.mkdir()
        self.exports = exports or [f"files={self.folder}"]
        self.key = place.keygen(name + "-key")
        self.authorized_keys = place.path(name + "-authorized_keys")
        self.authorized_keys.touch(mode=0o600)
        self.process = None

    def become(self, user):
        """From the next start on it is an ordinary user's."""
        self.user = user
        self.program = shutil.copy(RUSHFS, self.place.path("rushfs"))  # where the user can reach it
        self.place.folder.chmod(0o755)
        state = self.place.path(self.name + "-state")
        state.mkdir(exist_ok=True)
        for path in (self.folder, self.key, self.authorized_keys, state, *state.rglob("*")):
            os.chown(path, user, user)

    def allow(self, key, options=""):
        line = key.with_suffix(".pub").read_text()
        with open(self.authorized_keys, "a") as file:
            file.write((options + " " if options else "") + line)

    def put(self, name, content):
        """A file that comes whole: a mount may see another when it is made, and a moment later
        that there is something in it."""
        aside = self.place.path(self.name + "-aside")
        aside.write_bytes(content)
        aside.rename(self.folder / name)

    def start(self):
        log = self.place.path(self.name + ".log")
        self.log_start = log.stat().st_size if log.exists() else 0
        self.process = self.place.start(
            [*self.place.at_server, *self.prefix, self.program, "serve", "--listen",
             f"{self.place.server_address}:{self.port}", "--identity", str(self.key),
             "--authorized-keys", str(self.authorized_keys),
             "--state", str(self.place.path(self.name + "-state")),
             *[word for export in self.exports for word in ("--export", export)]],
            self.name + ".log", user=self.user, group=self.user,
            extra_groups=[] if self.user else None)
        wait_until(lambda: self.process.poll() is not None or self.log().count("Listening on"), 20,
                   "the server listens")
        if self.process.poll() is not None:
            raise AssertionError("the server ended: " + self.log()[-2000:])

    def log(self):
        """What it has said since its start."""
        with open(self.place.path(self.name + ".log"), errors="replace") as file:
            file.seek(self.log_start)
            return file.read()

    @contextlib.contextmanager
    def silent(self):
        """It takes packets and says nothing, like one behind a link that was cut."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks it to end and returns its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=20)

    def memory(self):
        """Resident bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


class Mount:
    def __init__(self, place, server, name="mount", export="files", options="", at=None):
        self.place, self.server, self.name = place, server, name
        self.at = place.at_client if at is None else at  # a command that starts it, and where
        self.export = export
        self.options = options
        self.folder = place.path(name)
        self.folder.mkdir(exist_ok=True)
        self.cache = place.path(name + "-cache")
        self.key = place.path("client-key")
        self.known_hosts = place.path("known_hosts")
        self.process = None
        place.expect_mount(self.folder)

    def source(self):
        return f"{self.place.server_address}:{self.server.port}:/{self.export}"

    def option_list(self):
        own = (f"identity={self.key},known_hosts={self.known_hosts},cache_dir={self.cache}")
        return own + ("," + self.options if self.options else "")

    def command(self, *more):
        return [*self.at, RUSHFS, "mount", self.source(), str(self.folder), "-o",
                self.option_list(), *more]

    def start(self):
        self.process = self.place.start(self.command("--foreground"), self.name + ".log")
        wait_until(lambda: self.process.poll() is not None or self.answers(), 40, "mounted")
        if self.process.poll() is not None:
            log = self.place.path(self.name + ".log").read_text(errors="replace")
            raise AssertionError("the mount ended: " + log[-2000:])

    def answers(self):
        """True once a status can be had, so the file system is served."""
        if not mount_of(self.folder):
            return False
        return rushfs("status", str(self.folder), check=False).returncode == 0

    def status(self):
        return json.loads(rushfs("status", str(self.folder), "--json").stdout)

    def wait(self, *names, seconds=300):
        """Until all (or the named files) is on the server."""
        paths = [str(self.folder / name) for name in names] or [str(self.folder)]
        rushfs("wait", *paths, timeout=seconds)

    def unmount(self, *more, seconds=120):
        rushfs("unmount", str(self.folder), *more, timeout=seconds)
        self.process.wait(timeout=30)

    def kill(self):
        """As kill -9 of the client: programs get ENOTCONN until it is mounted again."""
        self.process.kill()
        self.process.wait()
        force_unmount(self.folder)

    def drop_cache(self):
        """Unmounts and mounts again with nothing cached, neither by the kernel nor on disk."""
        self.unmount()
        shutil.rmtree(self.cache)
        self.start()


def rushfs(*arguments, check=True, timeout=60, prefix=(), **more):
    """Runs a subcommand to its end; output is captured."""
    done = subprocess.run([*prefix, RUSHFS, *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"rushfs {' '.join(arguments)}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


class TestCase(unittest.TestCase):
    server_exports = None

    def setUp(self):
        self.place = Place(type(self).__name__)
        self.addCleanup(self.finish)
        self.random = random.Random(SEED)
        self.place.keygen("client-key")
        self.server = Server(self.place, exports=self.server_exports)
        self.server.allow(self.place.path("client-key"))
        self.server.start()
        self.trust(self.server)

    def finish(self):
        result = self._outcome.result
        failed = any(test is self or getattr(test, "test_case", None) is self
                     for test, _ in result.failures + result.errors)
        self.place.clean_up(failed or bool(os.environ.get("RUSHFS_TEST_KEEP")))

    def trust(self, server):
        fingerprint = server.key.with_suffix(".print").read_text().strip()
        rushfs("trust", f"{self.place.server_address}:{server.port}", "--fingerprint", fingerprint,
               "-o", f"identity={self.place.path('client-key')},"
               f"known_hosts={self.place.path('known_hosts')}", prefix=self.place.at_client)

    def mount(self, name="mount", **more):
        mount = Mount(self.place, self.server, name, **more)
        mount.start()
        return mount

    @staticmethod
    def as_user(uid, function, *arguments):
        """0, or the errno the function ends with when somebody else calls it."""
        child = os.fork()
        if child == 0:
            code = 255
            try:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                function(*arguments)
                code = 0
            except OSError as error:
                code = error.errno
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def run_in(self, folder, *command, timeout=300):
        """Runs a program; its output is shown when it fails."""
        done = subprocess.run([str(word) for word in command], cwd=folder, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout)
        if done.returncode != 0:
            self.fail(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-4000:]}")
        return done.stdout

    def assert_same_tree(self, one, other):
        first, second = tree_digests(one), tree_digests(other)
        self.assertEqual(first.keys(), second.keys())
        different = [name for name in first if first[name] != second[name]]
        self.assertEqual(different, [])

    @contextlib.contextmanager
    def link_cut(self, seconds):
        """Cuts the emulated link for so long."""
        emulator = int(os.environ["RUSHFS_WAN_PID"])
        os.kill(emulator, signal.SIGUSR1)
        try:
            yield
            time.sleep(seconds)
        finally:
            os.kill(emulator, signal.SIGUSR2)


def main(link=None):
    """Runs the tests of the calling script, on the link it asks for."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: mounting needs root and /dev/fuse")
        sys.exit(SKIPPED)
    if link and "RUSHFS_WAN_PID" not in os.environ:
        wan = str(HERE.parent / "wan/run")
        script = [sys.executable, os.path.realpath(sys.argv[0]), *sys.argv[1:]]
        os.environ["RUSHFS_TEST_SEED"] = str(SEED)
        os.execv(wan, [wan, "--report", os.devnull, *link, "--", *script])
    print(f"seed {SEED}: RUSHFS_TEST_SEED={SEED} replays it", flush=True)
    # A kill from ctest's timeout still cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unittest.main(verbosity=2)

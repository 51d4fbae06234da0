"""The programs that tests/bench/grid compares: what each needs and how it moves bytes. Run as

  grid_programs.py PROGRAM SPEC.json RESULT.json

by tests/wan/run, so on an emulated link. Data goes from end A to end B, but for the programs that
read through a mount. Time counts from the first request until the last byte has been verified
where it belongs, by its hash; programs that move memory run for a fixed time instead, of which
start-up is part. What does not end within the limit reports what had arrived, and says so.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

from rushfs_session import RushfsSession

MIB = 1 << 20
SSH_PORT = "2222"
# Quick on any machine with AES instructions, in all of the programs on ssh.
SSH_OPTIONS = {"Ciphers": "aes128-gcm@openssh.com", "StrictHostKeyChecking": "no",
               "UserKnownHostsFile": "/dev/null", "IdentitiesOnly": "yes", "LogLevel": "ERROR"}


class TimedOut(Exception):
    """The limit is reached; the argument is how many bytes had arrived."""


class Failed(Exception):
    """The program did not do what it was asked to; the argument says what went wrong."""


class Run:
    """One program, once, on this link."""

    def __init__(self, spec):
        self.spec, self.work = spec, spec["work"]
        self.a, self.b = os.environ["RUSHFS_IN_A"].split(), os.environ["RUSHFS_IN_B"].split()
        self.address = os.environ["RUSHFS_ADDRESS_B"]
        self.source, self.there = self.path("source"), self.path("there")
        self.mount_point = self.path("mount")
        for directory in (self.source, self.there, self.mount_point):
            os.makedirs(directory, exist_ok=True)
        self.began = None

    def path(self, name):
        return os.path.join(self.work, name)

    def begin(self):
        """Starts the clock, at the moment that was asked for if there is one."""
        if self.spec.get("start_at"):
            time.sleep(max(0, self.spec["start_at"] - time.monotonic()))
        self.began = time.monotonic()

    def left(self):
        return max(0.01, self.began + self.spec["limit"] - time.monotonic())

    def start(self, end, *command, **options):
        options.setdefault("stderr", open(self.path("log"), "a"))
        prefix = {"A": self.a, "B": self.b}[end]
        return subprocess.Popen([*prefix, *command], text=True, **options)

    def last_words(self):
        with open(self.path("log")) as log:
            return (log.read().strip().splitlines() or [""])[-1]

    def finish(self, process, arrived=lambda: 0):
        """Waits until the limit for a process to end well; `arrived` counts bytes otherwise."""
        try:
            output = process.communicate(timeout=self.left())[0]
        except subprocess.TimeoutExpired:
            had = arrived()
            process.kill()
            raise TimedOut(had) from None
        if process.returncode != 0:
            said = self.last_words() or f"exit status {process.returncode}"
            raise Failed(f"{os.path.basename(process.args[len(self.a)])}: {said}")
        return output

    # files

    def make_file(self, directory):
        """Random bytes, which nothing compresses; the name of the file and its hash."""
        digest, name = hashlib.sha256(), os.path.join(directory, "clip")
        with open(name, "wb") as file:
            for _ in range(self.spec["mib"]):
                block = os.urandom(MIB)
                digest.update(block)
                file.write(block)
        return name, digest.hexdigest()

    def verify(self, name, expected):
        if self.finish(self.start("A", "sha256sum", name, stdout=subprocess.PIPE)).split()[0] != \
                expected:
            raise Failed("the copy differs")

    def timed_copy(self, command, destination, expected, settled=None):
        """`command` makes `destination` at end B; `settled` is run when it has ended."""
        def arrived():  # all of them write from start to end, give or take a window
            return sum(entry.stat().st_size
                       for entry in os.scandir(os.path.dirname(destination)))
        self.begin()
        self.finish(self.start("A", *command, stdout=subprocess.DEVNULL), arrived)
        if settled:
            self.finish(self.start("A", *settled, stdout=subprocess.DEVNULL), arrived)
        self.verify(destination, expected)
        return {"bytes": self.spec["mib"] * MIB, "seconds": time.monotonic() - self.began}

    def timed_read(self, name, expected):
        self.begin()
        reader = self.start("A", "sha256sum", name, stdout=subprocess.PIPE)

        def arrived():
            with open(f"/proc/{reader.pid}/io") as counters:
                return int(counters.readline().split()[1])
        if self.finish(reader, arrived).split()[0] != expected:
            raise Failed("what was read differs")
        return {"bytes": self.spec["mib"] * MIB, "seconds": time.monotonic() - self.began}

    def wait_for_mount(self, process):
        deadline = time.monotonic() + 30
        while not os.path.ismount(self.mount_point):
            if process.poll() not in (None, 0) or time.monotonic() > deadline:
                raise Failed("no mount: " + self.last_words())
            time.sleep(0.02)


# rushfs

def rushfs_memory(run, omitted=0):
    session = RushfsSession(run.spec["rushfs"], run.work)
    session.start_server()
    try:
        run.begin()
        bench = run.start("A", run.spec["rushfs"], "bench", session.location, "--up", "--json",
                          "--omit", str(omitted), "--seconds",
                          str(run.spec["seconds"] - omitted), "-o", session.options,
                          stdout=subprocess.PIPE)
        found = json.loads(run.finish(bench))
        return {"bytes": found["bytes"], "seconds": found["seconds"]}
    finally:
        session.stop()


def with_rushfs_mount(run, action):
    session = RushfsSession(run.spec["rushfs"], run.work)
    session.start_server()
    try:
        expected = run.make_file(session.export)[1] if action == "read" else None
        session.mount()
        clip = os.path.join(session.mount_point, "clip")
        if action == "read":
            return run.timed_read(clip, expected)
        source, expected = run.make_file(run.source)
        return run.timed_copy(["cp", source, clip], os.path.join(session.export, "clip"), expected,
                              settled=[run.spec["rushfs"], "wait", session.mount_point])
    finally:
        session.unmount()
        session.stop()


# TCP

def tcp(run, congestion_control):
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as available:
        if congestion_control not in available.read().split():
            raise Failed(f"this kernel has no TCP {congestion_control}")
    server = run.start("B", "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        run.begin()
        client = run.start("A", "iperf3", "-c", run.address, "-C", congestion_control, "-t",
                           str(round(run.spec["seconds"])), "-J", stdout=subprocess.PIPE)
        total = json.loads(run.finish(client))["end"]["sum_received"]
        return {"bytes": total["bytes"], "seconds": total["seconds"]}
    finally:
        server.kill()


# ssh and what is built on it

def start_sshd(run):
    """An sshd of our own at end B with throw-away keys. The connections use BBR where there is
    BBR: with CUBIC, next to nothing gets through a path that loses packets."""
    for end in (run.a, run.b):
        subprocess.run([*end, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=bbr"],
                       stderr=subprocess.DEVNULL)
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", run.path(name)],
                       check=True)
    shutil.copy(run.path("user_key.pub"), run.path("authorized_keys"))
    with open(run.path("sshd_config"), "w") as file:
        file.write(f"ListenAddress {run.address}:{SSH_PORT}\nHostKey {run.path('host_key')}\n"
                   f"AuthorizedKeysFile {run.path('authorized_keys')}\nPidFile none\n"
                   "StrictModes no\nUsePAM no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n")
    os.makedirs("/run/sshd", exist_ok=True)
    sshd = run.start("B", shutil.which("sshd", path="/usr/sbin:/sbin:" + os.environ["PATH"]), "-D",
                     "-f", run.path("sshd_config"))
    time.sleep(0.5)
    return sshd


def ssh_options():
    return [part for item in SSH_OPTIONS.items() for part in ("-o", "=".join(item))]


def scp(run):
    sshd = start_sshd(run)
    try:
        source, expected = run.make_file(run.source)
        return run.timed_copy(["scp", "-q", "-F", "none", "-P", SSH_PORT, "-i",
                               run.path("user_key"), *ssh_options(), source,
                               f"root@{run.address}:{run.there}/clip"],
                              run.there + "/clip", expected)
    finally:
        sshd.kill()


def through_mount(run, action, command, settle=None):
    """Reads or writes through a mount that `command`, which stays in the foreground, makes."""
    sshd = start_sshd(run)
    mount = None
    try:
        source, expected = run.make_file(run.there if action == "read" else run.source)
        mount = run.start("A", *command, stdout=subprocess.DEVNULL)
        run.wait_for_mount(mount)
        clip = os.path.join(run.mount_point, "clip")
        if action == "read":
            return run.timed_read(clip, expected)
        return run.timed_copy(["cp", source, clip], run.there + "/clip", expected, settle)
    finally:
        if mount:
            mount.kill()
        subprocess.run(["umount", "-l", run.mount_point], stderr=subprocess.DEVNULL)
        sshd.kill()


def sshfs(run, action):
    return through_mount(run, action, [
        "sshfs", "-f", "-F", "none", "-p", SSH_PORT, "-o", f"IdentityFile={run.path('user_key')}",
        *ssh_options(), f"root@{run.address}:{run.there}", run.mount_point])


def rclone(run, action):
    return through_mount(run, action, [
        "rclone", "mount", "--config", "", "--sftp-host", run.address, "--sftp-port", SSH_PORT,
        "--sftp-user", "root", "--sftp-key-file", run.path("user_key"),
        "--sftp-disable-hashcheck", f":sftp:{run.there}", run.mount_point])


# over UDP

def udt(run):
    receiver = run.start("B", run.spec["udt_peer"], stdout=subprocess.PIPE)
    try:
        time.sleep(0.5)
        run.begin()
        run.finish(run.start("A", run.spec["udt_peer"], "--send", run.address, "--seconds",
                             str(run.spec["seconds"])))
        found = json.loads(run.finish(receiver))
        if not found["intact"]:
            raise Failed("what was received differs")
        return {"bytes": found["bytes"], "seconds": max(found["seconds"], run.spec["seconds"])}
    finally:
        receiver.kill()


def uftp(run):
    """It has to be told a rate, the link's less its own headers, and that a reply takes longer than
    its half second; named, the receiver is not waited for after it has answered."""
    receiver = run.start("B", "uftpd", "-d", "-D", run.there, "-I", "wan0", "-B", str(8 * MIB))
    try:
        time.sleep(0.5)
        source, expected = run.make_file(run.source)
        kilobits = str(int(run.spec["rate"] * 1000 * 0.95))
        patience = str(max(0.5, run.spec["delay"] * 2 / 1000))
        return run.timed_copy(["uftp", "-M", run.address, "-H", run.address, "-r", patience, "-I",
                               "wan0", "-R", kilobits, "-B", str(8 * MIB), "-b", "1400", source],
                              run.there + "/clip", expected)
    finally:
        receiver.kill()


def srt(run):
    """In its file mode. A receiver that has the file may leave before the sender has heard so; the
    file itself is verified."""
    buffers = "sndbuf={0}&rcvbuf={0}&fc=60000".format(64 * MIB)
    receiver = run.start("B", "srt-file-transmit", "-q",
                         f"srt://{run.address}:9555?mode=listener&{buffers}",
                         f"file://{run.there}/", stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        source, expected = run.make_file(run.source)
        return run.timed_copy(["srt-file-transmit", "-q", f"file://{source}",
                               f"srt://{run.address}:9555?{buffers}"],
                              run.there + "/clip", expected)
    finally:
        receiver.kill()


# Name, what it runs, whether it is measured for a time (from memory) or for a file, the direction
# in which the bytes go, and the commands it needs.
PROGRAMS = {
    "rushfs": (rushfs_memory, "time", "ab", []),
    "rushfs-steady": (lambda run: rushfs_memory(run, run.spec["seconds"] / 2), "time", "ab", []),
    "rushfs-read": (lambda run: with_rushfs_mount(run, "read"), "file", "ba", []),
    "rushfs-write": (lambda run: with_rushfs_mount(run, "write"), "file", "ab", []),
    "tcp-bbr": (lambda run: tcp(run, "bbr"), "time", "ab", ["iperf3"]),
    "tcp-cubic": (lambda run: tcp(run, "cubic"), "time", "ab", ["iperf3"]),
    "scp": (scp, "file", "ab", ["scp", "sshd"]),
    "sshfs-read": (lambda run: sshfs(run, "read"), "file", "ba", ["sshfs", "sshd"]),
    "sshfs-write": (lambda run: sshfs(run, "write"), "file", "ab", ["sshfs", "sshd"]),
    "rclone-read": (lambda run: rclone(run, "read"), "file", "ba", ["rclone", "sshd"]),
    "rclone-write": (lambda run: rclone(run, "write"), "file", "ab", ["rclone", "sshd"]),
    "udt": (udt, "time", "ab", []),
    "uftp": (uftp, "file", "ab", ["uftp", "uftpd"]),
    "srt": (srt, "file", "ab", ["srt-file-transmit"]),
}


def main():
    program, spec_path, result_path = sys.argv[1:]
    with open(spec_path) as file:
        run = Run(json.load(file))
    try:
        result = PROGRAMS[program][0](run)
    except TimedOut as had:
        result = {"arrived": had.args[0], "seconds": run.spec["limit"],
                  "reason": f"not done within {run.spec['limit']:g} s"}
    except (Failed, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        result = {"reason": str(error) or type(error).__name__}
    result["began"] = run.began
    with open(result_path, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()

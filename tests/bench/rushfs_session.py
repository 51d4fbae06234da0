"""A rushfs server in namespace B of an emulated link and what uses it in A, with keys of its own."""
import os
import subprocess
import time


class RushfsSession:
    def __init__(self, rushfs, work):
        self.rushfs, self.work = rushfs, work
        self.a, self.b = os.environ["RUSHFS_IN_A"].split(), os.environ["RUSHFS_IN_B"].split()
        self.address = os.environ["RUSHFS_ADDRESS_B"]
        self.location = self.address + ":/bench"
        self.export, self.mount_point = os.path.join(work, "export"), os.path.join(work, "mount")
        for directory in (self.export, self.mount_point):
            os.makedirs(directory, exist_ok=True)
        self.options = f"identity={self.path('client_key')},known_hosts={self.path('known_hosts')}"
        self.server = None

    def path(self, name):
        return os.path.join(self.work, name)

    def run(self, *command, **options):
        """A rushfs command at end A."""
        return subprocess.run([*self.a, self.rushfs, *command], check=True, text=True, **options)

    def start_server(self):
        made = {}
        for name in ("server", "client"):
            made[name] = subprocess.run(
                [self.rushfs, "keygen", "--out", self.path(name + "_key")], check=True, text=True,
                stdout=subprocess.PIPE).stdout.splitlines()
        with open(self.path("authorized_keys"), "w") as file:
            file.write(made["client"][0] + "\n")
        os.chmod(self.path("authorized_keys"), 0o600)
        self.server = subprocess.Popen(
            [*self.b, self.rushfs, "serve", "--listen", self.address + ":7874", "--state",
             self.path("state"), "--export", "bench=" + self.export, "--identity",
             self.path("server_key"), "--authorized-keys", self.path("authorized_keys")],
            stderr=open(self.path("server.log"), "w"))
        fingerprint = next(line for line in made["server"] if line.startswith("SHA256:"))
        time.sleep(0.5)
        self.run("trust", self.address, "--fingerprint", fingerprint, "-o", self.options,
                 stdout=subprocess.DEVNULL)

    def mount(self):
        self.run("mount", self.location, self.mount_point, "-o",
                 self.options + ",cache_dir=" + self.path("cache"), stdout=subprocess.DEVNULL)

    def start(self):
        self.start_server()
        self.mount()

    def unmount(self):
        subprocess.run([*self.a, self.rushfs, "unmount", self.mount_point, "--now"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        if os.path.ismount(self.mount_point):
            self.unmount()
        self.server.terminate()
        self.server.wait()

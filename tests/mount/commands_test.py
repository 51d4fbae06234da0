#!/usr/bin/env python3
"""What a person types, and what comes back: each subcommand of the real binary, on loopback."""
import errno
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import harness
from harness import RUSHFS, rushfs, wait_until

FAILURE, USAGE, UNREACHABLE, REFUSED, NOT_ARRIVED, NOT_MOUNTED = 1, 2, 3, 4, 5, 6


class KeyTest(harness.TestCase):
    def test_keygen_prints_line_and_fingerprint_and_never_overwrites(self):
        key = self.place.path("fresh")
        made = rushfs("keygen", "--out", str(key))
        line, fingerprint = made.stdout.splitlines()
        self.assertRegex(line, r"^ssh-ed25519 [A-Za-z0-9+/=]+ \S+@\S+$")
        self.assertRegex(fingerprint, r"^SHA256:[A-Za-z0-9+/]{43}$")
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        before = key.read_bytes()
        again = rushfs("keygen", "--out", str(key), check=False)
        self.assertEqual(again.returncode, FAILURE)
        self.assertIn("exists", again.stderr)
        self.assertEqual(key.read_bytes(), before)

    def test_trust_adds_the_right_key_only(self):
        hosts = self.place.path("other_hosts")
        server = f"127.0.0.1:{self.server.port}"
        options = f"identity={self.place.path('client-key')},known_hosts={hosts}"
        wrong = rushfs("trust", server, "--fingerprint", "SHA256:" + "A" * 43, "-o", options,
                       check=False)
        self.assertEqual(wrong.returncode, REFUSED)
        self.assertFalse(hosts.exists())
        asked = rushfs("trust", server, "-o", options, check=False)  # there is no terminal to ask on
        self.assertEqual(asked.returncode, REFUSED)
        right = self.server.key.with_suffix(".print").read_text().strip()
        self.assertIn(right, asked.stdout)
        rushfs("trust", server, "--fingerprint", right, "-o", options)
        self.assertIn("ssh-ed25519", hosts.read_text())


class RefusalTest(harness.TestCase):
    """Each mistake: a clear sentence, its own exit code, within seconds, and no mount."""

    def refused(self, mount, code, *words):
        started = time.monotonic()
        done = subprocess.run(mount.command(), capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertLess(time.monotonic() - started, 15)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertIsNone(harness.mount_of(mount.folder))

    def prepared(self, **more):
        return harness.Mount(self.place, self.server, **more)

    def test_a_client_the_server_does_not_know_is_told_what_to_add_where(self):
        mount = self.prepared()
        mount.key = self.place.keygen("stranger")
        line = mount.key.with_suffix(".pub").read_text().strip()
        self.refused(mount, REFUSED, "authorized_keys", line)

    def test_a_server_we_do_not_know_is_shown(self):
        mount = self.prepared()
        mount.known_hosts = self.place.path("empty_hosts")
        fingerprint = self.server.key.with_suffix(".print").read_text().strip()
        self.refused(mount, REFUSED, "rushfs trust", fingerprint)

    def test_an_impostor_is_a_hard_stop(self):
        self.server.stop()
        impostor = harness.Server(self.place, "impostor", port=self.server.port)
        impostor.allow(self.place.path("client-key"))
        impostor.start()
        self.refused(self.prepared(), REFUSED, "STOP")

    def test_an_export_that_is_not_there(self):
        self.refused(self.prepared(export="nothing"), FAILURE, "nothing")

    def test_a_subdirectory_that_is_not_there(self):
        self.refused(self.prepared(export="files/nowhere"), FAILURE, "nowhere")

    def test_nobody_listens(self):
        self.server.stop()
        self.refused(self.prepared(), UNREACHABLE, "Nothing answers")

    def test_a_firewall_that_swallows_everything(self):
        self.server.stop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", self.server.port))
            mount = self.prepared()
            self.refused(mount, UNREACHABLE, "silence for", "UDP port")
            keys = f"timeout=2s,identity={mount.key},known_hosts={mount.known_hosts}"
            for command in (["bench", mount.source()], ["trust", mount.source().split(":/")[0]]):
                done = rushfs(*command, "-o", keys, check=False)
                self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
                self.assertRegex(done.stderr, r"silence for 2\.\d s.*UDP port")

    def test_a_name_nobody_knows(self):
        mount = self.prepared()
        mount.source = lambda: "no-such-host.invalid:/files"
        self.refused(mount, UNREACHABLE, "no-such-host.invalid")

    def test_wrong_options(self):
        self.refused(self.prepared(options="cachesize=1G"), USAGE, "cachesize")
        self.refused(self.prepared(options="rate=fast"), USAGE, "fast")

    def test_keys_that_others_could_read_or_that_are_none(self):
        mount = self.prepared()
        mount.key = self.place.keygen("open-key")
        os.chmod(mount.key, 0o644)
        self.refused(mount, FAILURE, str(mount.key))
        mount.key = self.place.path("garbage")
        mount.key.write_text("not a key\n")
        os.chmod(mount.key, 0o600)
        self.refused(mount, FAILURE, str(mount.key))
        mount.key = self.place.path("missing")
        self.refused(mount, FAILURE, "rushfs keygen")

    def test_a_folder_that_is_not_there(self):
        mount = self.prepared()
        mount.folder.rmdir()
        self.refused(mount, FAILURE, str(mount.folder))


class LifeTest(harness.TestCase):
    def mount_in_background(self, mount):
        done = subprocess.run(mount.command(), capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        pid = mount.status()["pid"]
        self.place.janitor.tell("process", pid)
        return pid

    def test_mount_returns_when_the_folder_can_be_used_and_unmount_when_all_is_there(self):
        mount = harness.Mount(self.place, self.server)
        pid = self.mount_in_background(mount)
        (mount.folder / "a").write_bytes(b"x" * 3_000_000)
        self.assertEqual(mount.status()["mount_point"], str(mount.folder))
        rushfs("unmount", str(mount.folder))
        self.assertIsNone(harness.mount_of(mount.folder))
        self.assertEqual((self.server.folder / "a").read_bytes(), b"x" * 3_000_000)
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), 10, "the process ended")

    def test_options_may_stand_before_the_words(self):
        mount = harness.Mount(self.place, self.server)
        own = mount.option_list().split(",", 1)
        done = subprocess.run([RUSHFS, "mount", "-o", own[0], "-o", own[1], mount.source(),
                               str(mount.folder)], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.place.janitor.tell("process", mount.status()["pid"])
        rushfs("unmount", str(mount.folder))

    def test_mount_says_that_it_is_mounted_already(self):
        mount = self.mount()
        again = subprocess.run(mount.command(), capture_output=True, text=True, timeout=30)
        self.assertEqual(again.returncode, FAILURE)
        self.assertIn("already", again.stderr)

    def test_the_mount_helper_takes_what_fstab_has(self):
        helper = self.place.path("mount.rushfs")
        helper.symlink_to(RUSHFS)
        mount = harness.Mount(self.place, self.server)
        options = mount.option_list() + ",rw,_netdev,nofail,x-systemd.automount,noatime"
        done = subprocess.run([str(helper), mount.source(), str(mount.folder), "-n", "-o", options],
                              capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.place.janitor.tell("process", mount.status()["pid"])
        (mount.folder / "b").write_text("through the helper")
        rushfs("unmount", str(mount.folder))
        wrong = subprocess.run([str(helper), "nonsense", str(mount.folder)], capture_output=True)
        self.assertEqual(wrong.returncode, 1)
        gone = subprocess.run([str(helper), mount.source() + "x", str(mount.folder), "-o", options],
                              capture_output=True, timeout=30)
        self.assertEqual(gone.returncode, 32)

    def test_unmount_now_keeps_the_queue_for_the_next_mount(self):
        mount = self.mount()
        with open(mount.folder / "later", "wb") as file:
            self.server.process.send_signal(signal.SIGSTOP)  # the server is there but says nothing
            file.write(b"y" * 5_000_000)
        rushfs("unmount", str(mount.folder), "--now")
        mount.process.wait(timeout=40)
        self.server.process.send_signal(signal.SIGCONT)
        mount.start()
        mount.wait()
        self.assertEqual((self.server.folder / "later").read_bytes(), b"y" * 5_000_000)

    def test_the_server_keeps_nothing_for_a_mount_that_is_gone(self):
        mount, other = self.mount(), self.mount("other")
        program = ("import os, sys\n"
                   "os.chdir(sys.argv[1])\n"
                   "for name in map(str, range(50)):\n"
                   "  os.write(os.open(name, os.O_RDWR | os.O_CREAT), b'x' * 100_000)\n"
                   "  os.unlink(name)\n")
        hidden = self.server.folder / ".rushfs-orphans"
        subprocess.run([sys.executable, "-c", program, str(mount.folder)], check=True)
        subprocess.run(["umount", str(mount.folder)], check=True)
        mount.process.wait(timeout=20)
        harness.wait_until(lambda: not list(hidden.glob("*")), 10, "nothing is kept")
        self.assertEqual(other.status()["link"]["state"], "connected")

    def test_a_folder_is_mounted_again_right_after_umount(self):
        mount = harness.Mount(self.place, self.server)
        for turn in range(5):
            self.mount_in_background(mount)
            with open(mount.folder / f"file {turn}", "wb") as file:
                file.write(b"z" * 2_000_000)
            subprocess.run(["umount", str(mount.folder)], check=True)
        self.mount_in_background(mount)
        self.assertEqual((mount.folder / "file 4").read_bytes(), b"z" * 2_000_000)
        rushfs("unmount", str(mount.folder))

    def test_a_mount_is_made_read_only_and_writable_again(self):
        mount = self.mount()
        source, folder = mount.source(), str(mount.folder)
        (mount.folder / "a").write_text("1")
        rushfs("mount", source, folder, "-o", "remount,ro")
        with self.assertRaises(OSError) as refused:
            (mount.folder / "a").write_text("2")
        self.assertEqual(refused.exception.errno, errno.EROFS)
        rushfs("mount", source, folder, "-o", "remount,rw,dev")
        (mount.folder / "a").write_text("3")
        self.assertNotIn("nodev", harness.mount_of(mount.folder).split(" - ")[0])

    def test_fsync_of_what_nobody_may_write_is_done_at_once(self):
        (self.server.folder / "a").write_text("1")
        mount = self.mount(options="ro")
        for path in (mount.folder, mount.folder / "a"):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def test_set_id_and_devices_of_the_server_mean_nothing_unless_asked_for(self):
        self.assertIn("nosuid,nodev", harness.mount_of(self.mount("plain").folder))
        for words in ("suid,dev", "allow_suid,allow_dev"):
            trusting = self.mount(words.replace(",", "-"), options=words)
            self.assertNotIn("nosuid", harness.mount_of(trusting.folder))
            self.assertNotIn("nodev", harness.mount_of(trusting.folder))

    def test_a_dead_process_is_recognised_and_cleared_away(self):
        mount = self.mount()
        mount.process.kill()
        mount.process.wait()
        shown = rushfs("status", str(mount.folder), check=False)
        self.assertEqual(shown.returncode, NOT_MOUNTED)
        self.assertIn("gone", shown.stdout + shown.stderr)
        waited = rushfs("wait", str(mount.folder), check=False)
        self.assertEqual(waited.returncode, NOT_MOUNTED)
        rushfs("unmount", str(mount.folder))
        self.assertIsNone(harness.mount_of(mount.folder))

    def test_a_folder_that_is_no_mount_is_called_so(self):
        for command in ("status", "wait", "unmount"):
            done = rushfs(command, str(self.place.folder), check=False)
            self.assertEqual(done.returncode, NOT_MOUNTED)

    def test_unmount_of_a_busy_mount_says_why(self):
        mount = self.mount()
        with open(mount.folder / "open", "w"):
            done = rushfs("unmount", str(mount.folder), check=False)
            self.assertEqual(done.returncode, FAILURE)
            self.assertIn("open in it", done.stderr)
        mount.unmount()

    def test_a_program_that_only_looks_does_not_keep_a_mount_from_being_unmounted(self):
        mount = self.mount()
        looking = subprocess.Popen(["sleep", "0.5"], cwd=mount.folder)
        mount.unmount()
        self.assertEqual(looking.wait(), 0)


class TruthTest(harness.TestCase):
    def test_status_and_wait_tell_the_truth_about_the_queue(self):
        mount = self.mount(options="rate=20M")
        payload = os.urandom(8_000_000)
        (mount.folder / "clip").write_bytes(payload)
        self.assertGreater(mount.status()["queue"]["bytes"], 0)
        early = rushfs("wait", str(mount.folder), "--timeout", "500ms", check=False)
        self.assertEqual(early.returncode, NOT_ARRIVED)
        mount.wait("clip")
        self.assertEqual((self.server.folder / "clip").read_bytes(), payload)
        self.assertEqual(mount.status()["queue"]["bytes"], 0)
        self.assertIn("empty", rushfs("status", str(mount.folder)).stdout)

    def test_status_counts_what_was_read_a_moment_ago(self):
        payload = os.urandom(3_000_000)
        (self.server.folder / "clip").write_bytes(payload)
        mount = self.mount()
        self.assertEqual((mount.folder / "clip").read_bytes(), payload)
        self.assertGreaterEqual(mount.status()["cache"]["bytes"], len(payload))

    def test_what_was_learned_of_paths_is_kept_and_may_be_broken(self):
        mount = self.mount()
        mount.unmount()
        kept, = mount.cache.rglob("paths")
        self.assertEqual(kept.read_bytes()[:8], b"rushpath")
        kept.write_bytes(b"neither this nor that")
        mount.start()
        self.assertEqual(mount.status()["link"]["state"], "connected")
        mount.unmount()
        self.assertEqual(kept.read_bytes()[:8], b"rushpath")

    def test_status_lists_all_mounts(self):
        one, two = self.mount("one"), self.mount("two")
        listed = json.loads(rushfs("status", "--json", check=False).stdout)  # others may be dead
        points = {entry["mount_point"] for entry in listed}
        self.assertLessEqual({str(one.folder), str(two.folder)}, points)

    def test_a_key_taken_out_of_authorized_keys_is_cut_off(self):
        mount = self.mount(options="timeout=3s")
        (mount.folder / "before").write_text("here")
        mount.wait()
        keys = self.server.authorized_keys.read_text()
        self.server.authorized_keys.write_text("")
        wait_until(lambda: mount.status()["link"]["state"] == "refused", 20, "refused")
        done = rushfs("status", str(mount.folder))
        self.assertIn("REFUSED", done.stdout)
        self.server.authorized_keys.write_text(keys)
        wait_until(lambda: mount.status()["link"]["state"] == "connected", 90, "connected again")
        self.assertEqual((mount.folder / "before").read_text(), "here")

    def test_read_only_is_read_only(self):
        (self.server.folder / "there").write_text("as it was")
        mount = self.mount(options="ro")
        self.assertEqual((mount.folder / "there").read_text(), "as it was")
        with self.assertRaises(OSError):
            (mount.folder / "there").write_text("changed")

    def test_a_subdirectory_is_mounted_alone(self):
        (self.server.folder / "day 12" / "card").mkdir(parents=True)
        (self.server.folder / "day 12" / "card" / "clip").write_text("rush")
        mount = self.mount(export="files/day 12/card")
        self.assertEqual(os.listdir(mount.folder), ["clip"])

    def test_bench_measures_both_ways(self):
        for way in ("--up", "--down"):
            done = rushfs("bench", f"127.0.0.1:{self.server.port}:/files", way, "--seconds", "1",
                          "--json", "-o", f"identity={self.place.path('client-key')},"
                          f"known_hosts={self.place.path('known_hosts')}")
            measured = json.loads(done.stdout)
            self.assertEqual(measured["direction"], way[2:])
            self.assertGreater(measured["bits_per_second"], 5e6)


class ServeTest(harness.TestCase):
    def serve(self, *arguments):
        return subprocess.run([RUSHFS, "serve", *arguments], capture_output=True, text=True,
                              timeout=10)

    def test_wrong_servers_do_not_start(self):
        nothing = self.serve("--identity", str(self.server.key), "--listen", "127.0.0.1:9999",
                             "--export", f"a={self.place.path('nowhere')}", "--authorized-keys",
                             str(self.server.authorized_keys),
                             "--state", str(self.place.path("s")))
        self.assertEqual(nothing.returncode, FAILURE)
        self.assertIn("nowhere", nothing.stderr)
        taken = self.serve("--identity", str(self.server.key), "--listen",
                           f"127.0.0.1:{self.server.port}", "--export",
                           f"a={self.server.folder}", "--authorized-keys",
                           str(self.server.authorized_keys), "--state", str(self.place.path("s")))
        self.assertEqual(taken.returncode, FAILURE)
        self.assertIn(str(self.server.port), taken.stderr)
        wrong = self.serve("--export", "nonsense")
        self.assertEqual(wrong.returncode, USAGE)

    def test_a_bad_line_among_the_keys_is_told_once(self):
        self.server.stop()
        with open(self.server.authorized_keys, "a") as keys:
            keys.write("nonsense\n")
        self.server.start()
        self.assertEqual(self.server.log().count("is ignored"), 1)

    def test_a_server_ends_when_asked_and_its_mounts_come_back(self):
        mount = self.mount()
        (mount.folder / "a").write_text("one")
        mount.wait()
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        wait_until(lambda: mount.status()["link"]["state"] == "connected", 60, "connected again")
        self.assertEqual((mount.folder / "a").read_text(), "one")

    def test_a_configuration_file_does_the_same(self):
        self.server.stop()
        config = self.place.path("server.toml")
        config.write_text(f'''
            listen = "127.0.0.1:{self.server.port}"
            identity = "{self.server.key}"
            authorized_keys = "{self.server.authorized_keys}"
            state = "toml-state"
            [exports]
            files = {{ directory = "{self.server.folder}", read_only = true }}
        ''')
        server = self.place.start([RUSHFS, "serve", "--config", str(config)], "toml.log")
        wait_until(lambda: "Listening" in self.place.path("toml.log").read_text(), 10, "listening")
        mount = self.mount()
        with self.assertRaises(OSError):
            (mount.folder / "new").write_text("x")
        mount.unmount()
        server.terminate()
        self.assertEqual(server.wait(timeout=10), 0)


if __name__ == "__main__":
    harness.main()

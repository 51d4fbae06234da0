#!/usr/bin/env python3
"""Rates a person or a server's owner sets, what limits a transfer, and IPv6: the real binary."""
import json
import time

import harness
from harness import rushfs

MEGABYTE = 1 << 20


class RatesTest(harness.TestCase):
    def options(self):
        return (f"identity={self.place.path('client-key')},"
                f"known_hosts={self.place.path('known_hosts')}")

    def bench(self, direction, more=""):
        done = rushfs("bench", f"{self.place.server_address}:{self.server.port}:/files", direction,
                      "--seconds", "3", "--json", "-o", self.options() + more)
        return json.loads(done.stdout)

    def read_rate(self, mount, name):
        """Mbit/s of a file that was never read before."""
        size = 8 * MEGABYTE
        harness.make_file(self.server.folder / name, size, seed=len(name))
        started = time.monotonic()
        self.assertEqual(len((mount.folder / name).read_bytes()), size)
        return size * 8e-6 / (time.monotonic() - started)

    def test_the_rate_of_a_mount_changes_while_it_is_used(self):
        mount = self.mount()
        self.read_rate(mount, "first")
        rushfs("set", str(mount.folder), "rate=20M", "policy=low")
        self.assertLess(self.read_rate(mount, "second"), 25)
        rushfs("set", str(mount.folder), "rate=unlimited")
        self.assertGreater(self.read_rate(mount, "third"), 30)
        wrong = rushfs("set", str(mount.folder), "cache_size=1G", check=False)
        self.assertNotEqual(wrong.returncode, 0)
        self.assertIn("cannot be changed while mounted", wrong.stderr)

    def test_the_cap_of_a_key_holds_both_ways_and_is_named(self):
        self.server.authorized_keys.write_text("")
        self.server.allow(self.place.path("client-key"), options="max-rate=40M")
        harness.wait_until(lambda: "again" in self.server.log(), 10, "the keys are read again")
        for direction in ("--up", "--down"):
            result = self.bench(direction)
            self.assertLess(result["bits_per_second"], 41e6, result)
            self.assertGreater(result["bits_per_second"], 20e6, result)
            self.assertEqual(result["limited_by"], "remote cap", result)

    def test_ones_own_rate_is_named_as_the_limit(self):
        result = self.bench("--up", ",rate=30M")
        self.assertLess(result["bits_per_second"], 31e6, result)
        self.assertEqual(result["limited_by"], "target rate", result)

    def test_status_shows_what_limits_each_way(self):
        mount = self.mount()
        self.read_rate(mount, "file")
        harness.wait_until(lambda: mount.status()["path"], 5, "the path is reported")
        status = mount.status()
        self.assertIn("limited_by", status["path"])
        self.assertIn("receiving", status["path"])
        self.assertIn("network_load", status)
        shown = rushfs("status", str(mount.folder)).stdout
        self.assertRegex(shown, r"limits +sending by \w+")


class IPv6Test(RatesTest):
    """The same over the other family."""

    def setUp(self):
        with open("/proc/net/if_inet6") as addresses:
            if "00000000000000000000000000000001" not in addresses.read():
                self.skipTest("no IPv6 on loopback")
        super().setUp()

    def trust(self, server):
        server.stop()
        self.place.server_address = "[::1]"
        server.start()
        super().trust(server)


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""Measures an emulated link from outside: is it what its options say?

  emulator_test.py PATH_OF_WAN_EMULATOR [--slow]      (--slow: a sanitized build, no speed asked)

Exit status 77: the system has no TUN devices or network namespaces.
"""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
SKIPPED = 77
failures = []


def expect(what, value, low, high):
    good = low <= value <= high
    print(f"  {'ok  ' if good else 'FAIL'} {what}: {value:.4g} (expected {low:.4g} to {high:.4g})",
          flush=True)
    if not good:
        failures.append(what)


def on_link(link, role, *arguments):
    """Runs one of the functions below on a link; returns its findings and the emulator's report."""
    print(f"{role}: {' '.join(link)}", flush=True)
    with tempfile.NamedTemporaryFile() as report, tempfile.NamedTemporaryFile() as found:
        command = [os.path.join(HERE, "run"), "--report", report.name, *link, "--",
                   sys.executable, os.path.realpath(__file__), role, found.name, *arguments]
        status = subprocess.run(command).returncode
        if status == SKIPPED:
            sys.exit(SKIPPED)
        if status:
            sys.exit(f"{role} failed with status {status}")
        return json.load(found), json.load(report)


# --- what runs on the link ---

def inside(side, *command, **options):
    prefix = os.environ["RUSHFS_IN_" + side].split()
    return subprocess.Popen([*prefix, *command], text=True, **options)


def itself(side, *arguments, **options):
    return inside(side, sys.executable, os.path.realpath(__file__), *arguments, **options)


def ping(address, count=5):
    """The shortest round trip in ms; None without any reply."""
    out = inside("A", "ping", "-c", str(count), "-i", "0.05", "-W", "1", address,
                 stdout=subprocess.PIPE).communicate()[0]
    found = re.search(r"= ([\d.]+)/", out)
    return float(found.group(1)) if found else None


def datagrams(_, megabits, seconds, size):
    """Sends numbered datagrams from A to B, counts what arrives."""
    receiver = itself("B", "receive", stdout=subprocess.PIPE)
    receiver.stdout.readline()
    itself("A", "send", os.environ["RUSHFS_ADDRESS_B"], megabits, seconds, size).wait()
    return json.loads(receiver.communicate()[0])


def send(address, megabits, seconds, size):
    size, seconds = int(size), float(seconds)
    interval = size * 8 / float(megabits) / 1e6
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    start, number = time.monotonic(), 0
    while (now := time.monotonic() - start) < seconds:
        while number * interval <= now:
            udp.sendto(struct.pack("!I", number) + bytes(size - 32), (address, 9000))
            number += 1
        time.sleep(0.0005)


def receive():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind(("", 9000))
    udp.settimeout(1)
    print("ready", flush=True)
    seen, highest, late, repeated, size, first, last = set(), -1, 0, 0, 0, None, 0
    while True:
        try:
            data = udp.recv(65536)
        except TimeoutError:
            break
        last = time.monotonic()
        first, size = first or last, size + len(data) + 28
        number, = struct.unpack("!I", data[:4])
        repeated += number in seen
        late += number < highest and number not in seen
        highest = max(highest, number)
        seen.add(number)
    print(json.dumps({"unique": len(seen), "repeated": repeated, "late": late,
                      "mbps": size * 8e-6 / (last - first)}))


def tcp(control, seconds):
    server = inside("B", "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    out = inside("A", "iperf3", "-c", os.environ["RUSHFS_ADDRESS_B"], "-C", control, "-t", seconds,
                 "-J", stdout=subprocess.PIPE).communicate()[0]
    server.kill()
    return {"mbps": json.loads(out)["end"]["sum_received"]["bits_per_second"] / 1e6}


def pings():
    return {"v4": ping(os.environ["RUSHFS_ADDRESS_B"]), "v6": ping(os.environ["RUSHFS_ADDRESS6_B"])}


def cut():
    emulator, address = int(os.environ["RUSHFS_WAN_PID"]), os.environ["RUSHFS_ADDRESS_B"]
    before = ping(address)
    os.kill(emulator, signal.SIGUSR1)
    during = ping(address, 2)
    os.kill(emulator, signal.SIGUSR2)
    return {"before": before, "during": during, "after": ping(address)}


# --- what is asserted ---

def test_delay():
    found, _ = on_link(["--delay", "80"], "pings")
    expect("ping IPv4, ms", found["v4"], 80, 84)
    expect("ping IPv6, ms", found["v6"], 80, 84)


def test_rate_queue_and_loss():
    link = ["--rate", "50", "--buffer", "30", "--delay", "20", "--loss", "2"]
    found, report = on_link(link, "datagrams", "", "80", "3", "1400")
    expect("delivered, Mbit/s", found["mbps"], 49 * 0.95, 49 * 1.05)
    expect("utilisation while loaded", report["ab"]["transmitted_bytes"] * 8e-6 / 3.03, 47.5, 52.5)
    expect("longest queue, ms", report["ab"]["queue_ms_max"], 29, 30.001)
    share = report["ab"]["dropped_by_loss"] * 1400 / report["ab"]["transmitted_bytes"]
    expect("lost, share", share, 0.016, 0.024)


def test_damage():
    link = ["--delay", "20", "--duplicate", "3", "--reorder", "5", "--corrupt", "2", "--loss", "5"]
    found, report = on_link(link, "datagrams", "", "60", "3", "500")
    sent = 60e6 * 3 / 8 / 500
    expect("unique arrivals, share", found["unique"] / sent, 0.915, 0.95)
    expect("duplicates, share", found["repeated"] / sent, 0.02, 0.04)
    expect("late, share", found["late"] / sent, 0.035, 0.06)
    expect("corrupted, share", report["ab"]["corrupted"] / sent, 0.013, 0.026)


def test_tcp():
    available = open("/proc/sys/net/ipv4/tcp_available_congestion_control").read().split()
    for control in ("bbr", "cubic"):
        if control not in available:
            print(f"  TCP {control} is not available here")
            continue
        link = ["--rate", "200", "--delay", "20", "--buffer", "40"]
        found, _ = on_link(link, "tcp", control, "4")
        expect(f"TCP {control}, Mbit/s", found["mbps"], 150, 200)


def test_speed():
    found, report = on_link(["--rate", "2000", "--delay", "10", "--buffer", "20"], "tcp", "cubic", "4")
    expect("TCP at 2000 Mbit/s", found["mbps"], 1500, 2000)
    expect("packets handed on together", report["ab"]["packets"] / report["ab"]["writes"], 3, 64)
    expect("emulator's share of a core", report["cpu_seconds"] / report["seconds"], 0, 0.9)


def test_cut():
    found, _ = on_link(["--delay", "20"], "cut")
    expect("ping before, ms", found["before"], 20, 24)
    expect("replies while cut", 0 if found["during"] is None else 1, 0, 0)
    expect("ping after, ms", found["after"], 20, 24)


def test_clean_up():
    print("clean_up: the wrapper is killed", flush=True)
    wrapper = subprocess.Popen([os.path.join(HERE, "run"), "--", "sleep", "1000"])
    names = [f"rushfs-{wrapper.pid}-{letter}" for letter in "ab"]
    deadline = time.monotonic() + 10

    def existing():
        return sum(os.path.exists("/run/netns/" + name) for name in names)
    while existing() < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    wrapper.kill()
    while existing() > 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    expect("namespaces left behind", existing(), 0, 0)


def main():
    roles = {"datagrams": datagrams, "tcp": tcp, "pings": pings, "cut": cut}
    role, *arguments = sys.argv[1:]
    if role in ("send", "receive"):
        {"send": send, "receive": receive}[role](*arguments)
    elif role in roles:
        with open(arguments[0], "w") as file:
            json.dump(roles[role](*arguments[1:]), file)
    else:
        os.environ["RUSHFS_WAN_EMULATOR"] = os.path.realpath(role)
        tests = [test_delay, test_rate_queue_and_loss, test_damage, test_tcp, test_cut,
                 test_clean_up]
        for test in tests + ([] if "--slow" in arguments else [test_speed]):
            test()
        if failures:
            sys.exit("failed: " + ", ".join(failures))


if __name__ == "__main__":
    main()

"""What a worker does beside its connections: descriptors, calls that block, names, and a goodbye."""

import os
import subprocess
import time

from hosts import Hosts

ADDRESS = "10.77.0.10"
PEER = f"""
import socket, sys
s = socket.create_connection(("{ADDRESS}", 7))
print("open", flush=True)
print(s.makefile().read())
"""


def start(hosts):
    process, line = hosts.start(
        "server", [Hosts.built("tests/tools/around"), "--interface", "eth0", "--address", f"{ADDRESS}/24",
                   "--connections", "1000", "--drain-ms", "10000"], stdin=subprocess.PIPE)
    heard = {line.strip()} | {process.stdout.readline().strip() for _ in range(3)}
    assert heard == {f"around: listening on {ADDRESS}:7", "timer", "offloaded", "resolved"}
    return process


def processor_seconds(pid):
    """Of all threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_worker_reads_from_the_kernel_and_says_goodbye(hosts):
    process = start(hosts)
    used = processor_seconds(process.pid)
    time.sleep(1)
    assert processor_seconds(process.pid) - used < 0.2, "nothing is to be done"
    for word in "one", "two":
        process.stdin.write(word + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"read {word}\n"
    peer, line = hosts.start("client", ["/usr/bin/python3", "-c", PEER])
    assert line == "open\n"
    begin = time.monotonic()
    process.terminate()
    assert process.stdout.readline() == "stop\n"
    out, _ = peer.communicate(timeout=10)
    assert out == "goodbye\n\n"
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert time.monotonic() - begin < 8, "it waited though nobody was left"


def test_a_descriptor_that_ends_is_let_go(hosts):
    process = start(hosts)
    process.stdin.close()
    assert process.stdout.readline() == "input ended\n"
    process.stdin = None
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "stop\n"), err

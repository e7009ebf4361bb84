"""Threads of a program own connections that a worker serves: those they open, and those that peers open."""

import os
import re

import pytest

from hosts import Hosts, wait_until

ADDRESS = "10.77.0.10"
SERVER = """
import socket
listener = socket.create_server(("", 7000))
print("ready", flush=True)
for _ in range(2):
    conn, _ = listener.accept()
    try:
        while data := conn.recv(65536):
            conn.sendall(data)
        print("end", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)
"""


def test_threads_call_and_what_one_leaves_is_reset(hosts):
    server, line = hosts.start("client", ["/usr/bin/python3", "-c", SERVER])
    assert line == "ready\n"
    done = hosts.run("server", [Hosts.built("tests/tools/caller"), hosts.address("client"), "7000", "--interface", "eth0",
                                "--address", f"{ADDRESS}/24", "--connections", "1000"])
    assert done.stdout == "good\ngood\n", done.stderr
    out, _ = server.communicate(timeout=10)
    assert out == "end\nreset\n"


PEERS = """
import socket, sys, threading
payload = bytes(range(256)) * 400

def talk():
    with socket.create_connection((sys.argv[1], 7), timeout=10) as link:
        for part in (b"x", payload[:5000], payload):
            sender = threading.Thread(target=link.sendall, args=(part,))
            sender.start()
            got = b""
            while len(got) < len(part):
                more = link.recv(65536)
                assert more, len(got)
                got += more
            sender.join()
            assert got == part
        link.shutdown(socket.SHUT_WR)
        assert link.recv(1) == b""

for _ in range(3):
    threads = [threading.Thread(target=talk) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("good")
"""


def connects(hosts):
    done = hosts.run("client", ["/usr/bin/python3", "-c", PEERS.replace("range(3)", "range(1)").replace("(40)", "(1)"),
                                ADDRESS], check=False)
    return done.stdout == "good\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_thread_serves_what_peers_open(hosts, workers):
    """Several workers have a thread each: nobody is reset for want of one."""
    cpus = ["--cpu", "0,0"] if workers > os.cpu_count() else []
    server, line = hosts.start("server", [Hosts.built("examples/pipeline"), "--interface", "eth0", "--address",
                                          f"{ADDRESS}/24", "--connections", "1000", "--verbose", "--workers", workers,
                                          *cpus])
    assert line == f"pipeline: listening on {ADDRESS}:7\n"
    wait_until(lambda: all(connects(hosts) for _ in range(5)), what="the threads' clients")
    done = hosts.run("client", ["/usr/bin/python3", "-c", PEERS, ADDRESS])
    assert done.stdout == "good\n", done.stderr
    code, _, err = hosts.stop(server)
    assert code == 0, err
    assert int(re.search(r"(\d+)  connections opened by peers", err).group(1)) >= 121

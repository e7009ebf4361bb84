"""TCP Fast Open against the Linux kernel, in both roles (RFC 7413)."""

import json
import re
import textwrap
import time

import pytest

from hosts import Hosts, wait_until

ADDRESS = "10.77.0.10"
OPENED = "connections opened by data in a SYN (RFC 7413)"
BAD = "SYNs with data whose cookie was not good: opened as usual"
OVERFLOWS = "SYNs with data opened as usual: too many handshakes go on"


@pytest.fixture(name="hosts")
def make_hosts():
    with Hosts() as hosts:
        for host in hosts.names:
            hosts.run(host, ["sysctl", "-qw", "net.ipv4.tcp_fastopen=3"])
        yield hosts


def serve(hosts, server, *more):
    args = [Hosts.built("c10m"), "serve", server, "--interface", "eth0", "--address", f"{ADDRESS}/24",
            "--connections", "1000", "--verbose", *more]
    return hosts.start("server", args)[0]


def stop(hosts, process):
    """Orderly; the counters of --verbose, by their text."""
    code, _, err = hosts.stop(process)
    assert code == 0, err
    return {text: int(count) for count, text in re.findall(r"^ *(\d+)  (.+)$", err, re.MULTILINE)}


# For each length an echo of so many bytes, the first sent with the SYN; says whether that was acknowledged there.
KERNEL_CLIENT = """
import os, socket, sys
TCPI_OPT_SYN_DATA = 32
for length in map(int, sys.argv[2:]):
    s = socket.socket()
    data = os.urandom(length)
    sent = s.sendto(data, socket.MSG_FASTOPEN, (sys.argv[1], 7))
    s.settimeout(10)
    if sent < length:
        s.sendall(data[sent:])
    got = b""
    while len(got) < length:
        more = s.recv(65536)
        assert more, "it ended early"
        got += more
    assert got == data, "not what was sent"
    options = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[5]
    print("syn" if options & TCPI_OPT_SYN_DATA else "later")
    s.close()
"""


def ask(hosts, *lengths):
    done = hosts.run("client", ["/usr/bin/python3", "-c", KERNEL_CLIENT, ADDRESS, *map(str, lengths)], timeout=60)
    return done.stdout.split()


def test_the_kernel_opens_with_data(hosts):
    """The first connection gets the cookie; the next ones carry data in their SYN, short and long."""
    server = serve(hosts, "echo", "--fastopen", "16")
    assert ask(hosts, 100, 1, 100, 1400, 5000, 60000) == ["later"] + ["syn"] * 5
    counters = stop(hosts, server)
    assert counters[OPENED] == 5
    assert BAD not in counters and OVERFLOWS not in counters


def test_a_restarted_server_does_not_know_its_cookies(hosts):
    server = serve(hosts, "echo", "--fastopen", "16")
    assert ask(hosts, 100, 100) == ["later", "syn"]
    stop(hosts, server)
    server = serve(hosts, "echo", "--fastopen", "16")
    assert ask(hosts, 100, 100) == ["later", "syn"]  # and the right one comes with the refusal
    counters = stop(hosts, server)
    assert (counters[BAD], counters[OPENED]) == (1, 1)


def test_the_kernel_meets_a_server_without_it(hosts):
    server = serve(hosts, "echo")
    assert ask(hosts, 100, 100) == ["later", "later"]
    assert OPENED not in stop(hosts, server)


def test_the_handshake_s_answer_is_lost(hosts):
    """What comes from the server is lost at first: each side sends again, and the data comes once."""
    server = serve(hosts, "echo", "--fastopen", "16")
    assert ask(hosts, 100, 100) == ["later", "syn"]
    hosts.lose("client", 100)
    asking = hosts.popen("client", ["/usr/bin/python3", "-c", KERNEL_CLIENT, ADDRESS, "3000"])
    time.sleep(1.5)
    assert asking.poll() is None
    hosts.lose("client", 0)
    out, err = asking.communicate(timeout=20)
    assert (asking.returncode, err) == (0, ""), err
    counters = stop(hosts, server)
    assert counters["SYN or SYN-ACK segments sent again"] >= 1
    assert counters["payload bytes taken in order"] == 100 + 100 + 3000


# An HTTP server of the kernel that says how many of its connections had data in the SYN.
KERNEL_SERVER = """
import socket
TCPI_OPT_SYN_DATA = 32
TCP_FASTOPEN = 23
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", 80))
if %d:
    listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 64)
listener.listen(256)
print("listens", flush=True)
total = early = 0
while True:
    s, _ = listener.accept()
    early += bool(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[5] & TCPI_OPT_SYN_DATA)
    total += 1
    request = b""
    while not request.endswith(b"\\r\\n\\r\\n"):
        more = s.recv(4096)
        assert more
        request += more
    assert request.count(b"GET ") == 1
    s.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nhi")
    s.close()
    print(total, early, flush=True)
"""


def load(hosts, seconds):
    args = [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{ADDRESS}/24", "--target",
            f"{hosts.address('client')}:80", "--protocol", "http", "--http-close", "--connections", "8", "--duration", seconds,
            "--rate", "100", "--json", "--verbose", "--fastopen"]
    done = hosts.run("server", args, timeout=60)
    counters = {text: int(count) for count, text in re.findall(r"^ *(\d+)  (.+)$", done.stderr, re.MULTILINE)}
    return json.loads(done.stdout), counters


@pytest.mark.parametrize("willing", [True, False])
def test_requests_go_with_the_syn_to_the_kernel(hosts, willing):
    server, line = hosts.start("client", ["/usr/bin/python3", "-c", textwrap.dedent(KERNEL_SERVER) % willing])
    assert line == "listens\n"
    result, counters = load(hosts, 2)
    assert result["answers"] == result["requests"] > 100
    server.kill()
    total, early = map(int, server.communicate()[0].split()[-2:])
    assert total >= result["answers"]
    if not willing:
        assert early == 0
        return
    assert counters["cookies for fast open that servers granted us"] >= 1
    assert early >= total - 10  # but those that asked for the cookie
    assert "destinations to which a SYN with fast open was lost: without it for a while" not in counters


def test_a_path_that_drops_syns_with_data(hosts):
    """After the first loss the destination gets bare SYNs: one connection waits for a second, the others do not."""
    server, _ = hosts.start("client", ["/usr/bin/python3", "-c", textwrap.dedent(KERNEL_SERVER) % True])
    hosts.run("client", ["nft", "add table ip c10m; add chain ip c10m input { type filter hook input priority 0; }; "
                         "add rule ip c10m input tcp flags syn / syn,ack ip length > 100 drop"])
    result, counters = load(hosts, 4)
    assert result["answers"] == result["requests"] > 50
    assert counters["destinations to which a SYN with fast open was lost: without it for a while"] == 1
    server.kill()
    wait_until(lambda: server.poll() is not None)

"""examples/proxy.c between ordinary Linux programs: clients and servers are on "client", the proxy on "server"."""

import re
import subprocess
import textwrap
import time

import pytest

from hosts import Bridge, Hosts, wait_until

ADDRESS = "10.77.0.10"
KERNEL = "10.77.0.1"
PORT = 8080
MB = 1 << 20

# What the programs below share: a stream whose hash both sides know.
COMMON = f"""
import asyncio, hashlib, random, resource, socket, struct, sys, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (10000, 10000))
ADDRESS, PORT, MB = "{ADDRESS}", {PORT}, 1 << 20
BLOCK = random.Random(7).randbytes(MB)

def connect():
    return socket.create_connection((ADDRESS, PORT), timeout=30)

def digest(read):
    sha, total = hashlib.sha256(), 0
    while data := read(1 << 16):
        sha.update(data)
        total += len(data)
    return sha.hexdigest(), total

def whole(blocks):
    sha = hashlib.sha256()
    for _ in range(blocks):
        sha.update(BLOCK)
    return sha.hexdigest(), blocks * MB

def pump(link, blocks):
    for _ in range(blocks):
        link.sendall(BLOCK)
    link.shutdown(socket.SHUT_WR)
"""

# Sends 64 MB, and prints what it got.
DUPLEX = """
listener = socket.create_server(("", 9000))
print("ready", flush=True)
link, _ = listener.accept()
thread = threading.Thread(target=pump, args=(link, 64))
thread.start()
print(digest(link.recv) == whole(64), flush=True)
thread.join()
"""

ECHO = """
async def serve(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "", 9000, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def python(hosts, code, *args):
    """A program that runs on the client's host."""
    process, line = hosts.start("client", ["/usr/bin/python3", "-c", COMMON + textwrap.dedent(code), *args],
                                stdin=subprocess.PIPE)
    assert line == "ready\n"
    return process


def ask(hosts, code, timeout=60):
    return hosts.run("client", ["/usr/bin/python3", "-c", COMMON + textwrap.dedent(code)], timeout=timeout).stdout


def proxy(hosts, *more, upstream=f"{KERNEL}:9000"):
    args = [Hosts.built("examples/proxy"), "--interface", "eth0", "--address", f"{ADDRESS}/24", "--connections",
            "10000", "--no-probe", "--verbose", *more, "--", upstream]
    process, line = hosts.start("server", args)
    assert line == f"proxy: listening on {ADDRESS}:{PORT}\n"
    return process


def stop(hosts, process):
    """Orderly; the counters by their text."""
    code, out, err = hosts.stop(process)
    assert (code, out) == (0, ""), err
    return {text: int(count) for count, text in re.findall(r"^ *(\d+)  (.+)$", err, re.MULTILINE)}


def both_ways(hosts):
    """64 MB each way at the same time through the proxy, compared by hash on both sides."""
    server = python(hosts, DUPLEX)
    assert ask(hosts, """
        link = connect()
        thread = threading.Thread(target=pump, args=(link, 64))
        thread.start()
        print(digest(link.recv) == whole(64))
        thread.join()
        """) == "True\n"
    assert server.communicate(timeout=10)[0] == "True\n"


def test_64_megabytes_both_ways(hosts):
    process = proxy(hosts)
    both_ways(hosts)
    counts = stop(hosts, process)
    assert counts["payload bytes that went from one connection to another"] == 128 * MB
    assert counts["splices begun, each direction for itself"] == 2
    assert "connections reset since the one they were spliced with had ended" not in counts


def test_a_bad_wire(bridged):
    """Loss, disorder and damage on the way to the proxy and from it."""
    process = proxy(bridged)
    with Bridge(bridged, "--fault", "loss=0.5%,reorder=1%,duplicate=1%,corrupt=0.2%,delay=1ms,seed=4"):
        server = python(bridged, DUPLEX.replace("64", "4"))
        assert ask(bridged, """
            link = connect()
            thread = threading.Thread(target=pump, args=(link, 4))
            thread.start()
            print(digest(link.recv) == whole(4))
            thread.join()
            """) == "True\n"
        assert server.communicate(timeout=10)[0] == "True\n"
    stop(bridged, process)


def test_curl_through_it(hosts, tmp_path):
    """A web server of the kernel's behind it; files up and down."""
    (tmp_path / "file").write_bytes(bytes(range(256)) * 4000)
    server = hosts.popen("client", ["/usr/bin/python3", "-m", "http.server", "-d", tmp_path, "9000"])
    wait_until(lambda: ":9000" in hosts.run("client", ["ss", "-Hltn"]).stdout, what="a web server")
    process = proxy(hosts)
    for _ in range(3):
        hosts.run("client", ["curl", "-sS", "--max-time", "20", "-o", tmp_path / "got",
                             f"http://{ADDRESS}:{PORT}/file"])
        assert (tmp_path / "got").read_bytes() == (tmp_path / "file").read_bytes()
    stop(hosts, process)
    server.kill()


def test_nc_closes_one_direction_and_hears_the_other(hosts):
    python(hosts, ECHO)
    process = proxy(hosts)
    out = hosts.run("client", ["sh", "-c", f"(echo one; sleep 0.3; echo two) | nc -N {ADDRESS} {PORT}"]).stdout
    assert out == "one\ntwo\n"
    counts = stop(hosts, process)
    assert counts["connections ended"] == 2


def test_thousands_of_connections(hosts):
    """3,000 at the same time, each with words of its own, several times, then all end in order."""
    server = python(hosts, ECHO)
    process = proxy(hosts)
    assert ask(hosts, """
        async def guest(number):
            reader, writer = await asyncio.open_connection(ADDRESS, PORT)
            for round in range(3):
                word = b"%d of %d " % (round, number) * 20
                writer.write(word)
                assert await reader.readexactly(len(word)) == word
            await meet()
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

        waiting, everybody = 0, None
        async def meet():
            global waiting
            waiting += 1
            if waiting == 3000:
                everybody.set()
            await everybody.wait()

        async def main():
            global everybody
            everybody = asyncio.Event()
            gate = asyncio.Semaphore(500)
            await asyncio.gather(*(guest(i) for i in range(3000)))
            print("all")
        asyncio.run(main())
        """, timeout=120) == "all\n"
    server.kill()
    counts = stop(hosts, process)
    assert counts["handshakes completed"] == 6000 == counts["connections ended"]
    assert counts["splices begun, each direction for itself"] == 6000


def test_who_reads_slowly_slows_down_who_sends(hosts):
    """Nothing piles up in between: the sender is held up while nobody reads, and goes on afterwards."""
    server = python(hosts, """
        listener = socket.create_server(("", 9000))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        print("ready", flush=True)
        link, _ = listener.accept()
        sys.stdin.readline()
        print(digest(link.recv) == whole(32))
        """)
    process = proxy(hosts, "--receive-max", "65536")
    sender = python(hosts, """
        link = connect()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        print("ready", flush=True)
        sent, last = 0, time.monotonic()
        link.settimeout(1)
        data = BLOCK * 32
        try:
            while sent < 32 * MB:
                sent += link.send(data[sent:sent + 8192])
        except TimeoutError:
            print("held up", sent, flush=True)
        link.settimeout(30)
        link.sendall(data[sent:])
        link.close()
        """)
    word, up, sent = sender.stdout.readline().split()
    assert (word, up) == ("held", "up") and int(sent) < MB, sent
    server.stdin.write("go\n")
    server.stdin.flush()
    assert server.communicate(timeout=30)[0] == "True\n"
    counts = stop(hosts, process)
    assert counts["times that a splice had to wait for room"] > 0
    assert counts["times we closed our window"] > 0


# --- ends that are not in order --------------------------------------------------------


def test_nobody_behind_it(hosts):
    process = proxy(hosts)
    assert ask(hosts, """
        try:
            print(connect().recv(1))
        except ConnectionResetError:
            print("reset")
        """) == "reset\n"
    assert stop(hosts, process)["handshakes completed"] == 1


@pytest.mark.parametrize("gone", ["server", "client"])
def test_one_side_is_killed(hosts, gone):
    """The other hears of it by a reset."""
    server = python(hosts, """
        listener = socket.create_server(("", 9000))
        print("ready", flush=True)
        link, _ = listener.accept()
        try:
            while True:
                link.recv(65536)
                link.send(b"more")
        except (ConnectionResetError, BrokenPipeError):  # the latter behind a FIN
            print("reset", flush=True)
        """)
    process = proxy(hosts)
    client = python(hosts, """
        link = connect()
        print("ready", flush=True)
        try:
            while True:
                link.send(BLOCK[:10000])
                link.recv(65536)
        except (ConnectionResetError, BrokenPipeError):  # the latter behind a FIN
            print("reset", flush=True)
        """)
    time.sleep(0.3)
    victim, other = (server, client) if gone == "server" else (client, server)
    victim.kill()
    assert other.communicate(timeout=10)[0] == "reset\n"
    counts = stop(hosts, process)
    assert counts["connections reset since the one they were spliced with had ended"] == 1
    assert counts["connections ended"] == 2

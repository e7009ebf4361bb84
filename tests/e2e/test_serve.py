"""c10m serve: its four servers, asked by ordinary Linux programs on the other side of a veth pair."""

import hashlib
import re
import signal
import subprocess
import textwrap
import time

import pytest

from hosts import Bridge, Hosts

ADDRESS = "10.77.0.10"


def serve(hosts, server, *more, port=None):
    args = [Hosts.built("c10m"), "serve", server, "--interface", "eth0", "--address", f"{ADDRESS}/24",
            "--connections", "5000", "--verbose", *(["--port", port] if port else []), *more]
    process, line = hosts.start("server", args)
    assert re.fullmatch(rf"{server}: listening on {re.escape(ADDRESS)}:\d+\n", line)
    return process


def stop(hosts, process):
    """Orderly; returns the counters of --verbose: number of times, by their text."""
    code, out, err = hosts.stop(process)
    assert (code, out) == (0, ""), err
    assert hosts.xdp("server") is None
    return {text: int(count) for count, text in re.findall(r"^ *(\d+)  (.+)$", err, re.MULTILINE)}


def client(hosts, code, *args, timeout=60):
    """Runs Python on the client; its standard output."""
    program = "import hashlib, os, select, socket, sys, time\n" + textwrap.dedent(code)
    return hosts.run("client", ["/usr/bin/python3", "-c", program, *args], timeout=timeout).stdout


def curl(hosts, *args, check=True):
    return hosts.run("client", ["curl", "-sS", "--max-time", "20", *args], check=check)


# --- the end ---------------------------------------------------------------------


HOLD = f"""
    s = socket.create_connection(("{ADDRESS}", 7))
    print("open", flush=True)
    try:
        for line in sys.stdin.buffer:
            s.sendall(line)
            print(s.recv(100).decode().strip(), flush=True)
    except ConnectionResetError:
        print("reset", flush=True)
    s.close()
    """


def hold(hosts):
    program = "import socket, sys\n" + textwrap.dedent(HOLD)
    process, line = hosts.start("client", ["/usr/bin/python3", "-c", program], stdin=subprocess.PIPE)
    assert line == "open\n"
    return process


def ask(process, word):
    process.stdin.write(word + "\n")
    process.stdin.flush()
    return process.stdout.readline()


HOLD_MANY = """
import socket, sys
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
links = [socket.create_connection((address, port), timeout=20) for _ in range(count)]
def talk():
    for link in links:
        link.sendall(b"still there")
        assert link.recv(100) == b"still there"
    print("good", flush=True)
talk()
sys.stdin.readline()
talk()
try:
    socket.create_connection((address, port), timeout=5)
    print("not refused")
except ConnectionRefusedError:
    print("refused", flush=True)
for link in links:
    link.shutdown(socket.SHUT_WR)
    assert link.recv(1) == b""
print("closed")
"""


def drains(hosts, process, address, port, count):
    """After SIGTERM open connections go on until their end, nobody comes in, and the run ends with the last."""
    held, line = hosts.start("client", ["/usr/bin/python3", "-c", HOLD_MANY, address, port, count], stdin=subprocess.PIPE)
    assert line == "good\n"
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    out, err = held.communicate("go on\n", timeout=30)
    assert out == "good\nrefused\nclosed\n", err
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and time.monotonic() - start < 15, err
    return err


def refused(hosts):
    return client(hosts, f"""
        try:
            socket.create_connection(("{ADDRESS}", 7), timeout=5)
        except ConnectionRefusedError:
            print("refused")
        """) == "refused\n"


def test_connections_may_go_on_after_a_stop(hosts):
    process = serve(hosts, "echo", "--drain-ms", "20000")
    held = hold(hosts)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert refused(hosts)
    assert ask(held, "still") == "still\n"
    assert process.poll() is None
    assert held.communicate(timeout=10) == ("", "")
    start = time.monotonic()
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - start < 8 and (process.returncode, out) == (0, ""), err


def test_http_closes_who_is_idle_when_it_stops(hosts):
    """--drain-ms is not waited out for connections that are merely kept."""
    process = serve(hosts, "http", "--drain-ms", "60000")
    held, line = hosts.start("client", ["/usr/bin/python3", "-c", textwrap.dedent(f"""
        import socket, time
        links = [socket.create_connection(("{ADDRESS}", 80), timeout=20) for _ in range(50)]
        for link in links[:40]:
            link.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
            assert b"Hello" in link.recv(1000)
        links[49].sendall(b"GET /bytes/1000 HTTP/1.1\\r\\n")
        time.sleep(0.5)  # it is in the middle of a request, and c10m has seen that
        print("ready", flush=True)
        for link in links[:49]:
            assert link.recv(1) == b""  # in order: no reset
            link.close()
        links[49].sendall(b"Host: a\\r\\n\\r\\n")
        answer = b""
        while more := links[49].recv(10000):
            answer += more
        assert b"Connection: close" in answer and len(answer) > 1000, answer
        print("good")
        """)])
    assert line == "ready\n"
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert held.communicate(timeout=20) == ("good\n", "")
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - start < 10 and process.returncode == 0, err


@pytest.mark.parametrize("twice", [False, True])
def test_but_neither_for_ever_nor_after_a_second_stop(hosts, twice):
    """On a busy machine an answer may take a second: until then the drain must not be over."""
    drain_ms = 60000 if twice else 4000
    process = serve(hosts, "echo", "--drain-ms", drain_ms)
    held = hold(hosts)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert ask(held, "still") == "still\n"
    if twice:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, ""), err
    assert time.monotonic() - start > (0.3 if twice else drain_ms / 1000)
    assert ask(held, "gone") == "reset\n"
    held.communicate(timeout=10)


# --- http ------------------------------------------------------------------------


@pytest.fixture(name="http")
def http_server(hosts):
    process = serve(hosts, "http", port="8080")
    yield hosts
    stop(hosts, process)


URL = f"http://{ADDRESS}:8080"


def test_curl_gets_what_it_asks_for(http):
    assert curl(http, f"{URL}/").stdout == "Hello from c10m\n"
    assert curl(http, f"{URL}/bytes/0").stdout == ""
    head = curl(http, "-I", f"{URL}/bytes/123456789").stdout
    assert head.startswith("HTTP/1.1 200 OK")
    assert "Content-Length: 123456789" in head
    status = ["-o", "/dev/null", "-w", "%{http_code}"]
    assert curl(http, *status, f"{URL}/nothing").stdout == "404"
    assert curl(http, *status, "-X", "DELETE", f"{URL}/").stdout == "405"


def test_large_bodies_arrive_whole(http):
    """64 bytes over and over: their sum is known. Several at a time, on one connection and on many."""
    line = bytes(ord("!") + i for i in range(63)) + b"\n"
    for size in 1, 1459, 1460, 1461, 65536, 1000003, 50_000_000:
        wanted = hashlib.sha256((line * (size // 64 + 1))[:size]).hexdigest()
        got = http.run("client", ["sh", "-c", f"curl -sS --max-time 30 {URL}/bytes/{size} | sha256sum"]).stdout
        assert got.split()[0] == wanted, size


def test_a_connection_is_kept_and_used_again(http):
    args = [f"{URL}/bytes/{size}" for size in range(1, 30)]
    out = curl(http, "-w", "%{num_connects}\n", *[word for url in args for word in ("-o", "/dev/null", url)]).stdout
    assert [int(line) for line in out.split()] == [1] + [0] * 28


def test_request_bodies_are_read(http):
    upload = "head -c 3000000 /dev/zero | curl -sS --max-time 20 -o /dev/null -w '%{http_code}' "
    for how in "--data-binary @-", "-T - -X POST":  # with a length after Expect: 100-continue; chunked
        assert http.run("client", ["sh", "-c", f"{upload} {how} {URL}/"]).stdout == "200"


def test_pipelined_requests_are_answered_in_order(http):
    out = client(http, f"""
        s = socket.create_connection(("{ADDRESS}", 8080))
        sizes = [i * 37 % 5000 for i in range(300)]
        s.sendall(b"".join(b"GET /bytes/%d HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" % size for size in sizes))
        f = s.makefile("rb")
        for size in sizes:
            length = None
            while (line := f.readline()) != b"\\r\\n":
                if line.startswith(b"Content-Length: "):
                    length = int(line[16:])
            assert length == size and len(f.read(length)) == size
        print("in order")
        """)
    assert out == "in order\n"


def test_a_slow_reader_gets_everything(http):
    out = client(http, f"""
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("{ADDRESS}", 8080))
        s.sendall(b"GET /bytes/2000000 HTTP/1.0\\r\\n\\r\\n")
        time.sleep(1)
        got = 0
        while data := s.recv(100000):
            got += len(data)
            time.sleep(0.002)
        print(got > 2000000 and got < 2000500)
        """)
    assert out == "True\n"


def test_nonsense_is_answered_and_closed(http):
    out = client(http, f"""
        s = socket.create_connection(("{ADDRESS}", 8080))
        s.sendall(os.urandom(20000).replace(b"\\n", b"x") + b"\\n\\n" + os.urandom(20000))
        got = b""
        while data := s.recv(65536):
            got += data
        print(got[:12].decode())
        """)
    assert re.fullmatch(r"HTTP/1.1 4(00|31)\n", out)


def test_wrk_sees_no_error(http):
    out = http.run("client", ["wrk", "-t1", "-c64", "-d2", f"{URL}/"]).stdout
    assert "Socket errors" not in out and "Non-2xx" not in out
    assert float(re.search(r"Requests/sec: *([\d.]+)", out).group(1)) > 1000


# --- echo, discard, chargen --------------------------------------------------------------


ECHO = """
    data = os.urandom(int(sys.argv[2]))
    s = socket.create_connection((sys.argv[1], 7))
    s.setblocking(False)
    sent = got = 0
    digest = hashlib.sha256()
    while got < len(data):
        readable, writable, _ = select.select([s], [s] if sent < len(data) else [], [], 20)
        assert readable or writable, f"stuck after {sent} sent, {got} received"
        if writable:
            sent += s.send(data[sent:sent + 65536])
        if readable:
            part = s.recv(65536)
            assert part, f"closed after {got}"
            digest.update(part)
            got += len(part)
    s.setblocking(True)
    s.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b""
    print(digest.digest() == hashlib.sha256(data).digest())
    """


def test_echo_returns_every_byte(hosts):
    process = serve(hosts, "echo")
    assert client(hosts, ECHO, ADDRESS, "20000000", timeout=120) == "True\n"
    assert "segments sent again" not in stop(hosts, process)


def test_echo_with_loss_in_both_directions(bridged):
    process = serve(bridged, "echo")
    with Bridge(bridged, "--fault", "loss=3%") as bridge:
        assert client(bridged, ECHO, ADDRESS, "1000000", timeout=120) == "True\n"
    assert bridge.report["a_to_b"]["lost"] > 5 and bridge.report["b_to_a"]["lost"] > 5
    assert stop(bridged, process)["segments sent again"] > 0


def test_echo_through_a_fault_port(hosts):
    """Everything that a network does to frames, at once."""
    spec = "loss=2%,delay=2ms,jitter=1ms,reorder=2%,duplicate=2%,corrupt=1%,seed=5"
    process = serve(hosts, "echo", "--fault", spec)
    assert client(hosts, ECHO, ADDRESS, "500000", timeout=120) == "True\n"
    counts = stop(hosts, process)
    assert counts["segments received out of order"] > 0
    assert counts["TCP checksum is wrong"] + counts.get("IPv4 header checksum is wrong", 0) > 0


def test_nc_and_a_half_close(hosts):
    process = serve(hosts, "echo")
    out = hosts.run("client", ["sh", "-c", f"(echo one; sleep 0.3; echo two) | nc -N {ADDRESS} 7"]).stdout
    assert out == "one\ntwo\n"
    stop(hosts, process)


def test_discard_takes_everything_and_says_nothing(hosts):
    process = serve(hosts, "discard")
    out = client(hosts, f"""
        s = socket.create_connection(("{ADDRESS}", 9))
        for _ in range(200):
            s.sendall(bytes(100000))
        s.shutdown(socket.SHUT_WR)
        print(s.recv(1))
        """)
    assert out == "b''\n"
    assert stop(hosts, process)["payload bytes taken in order"] == 20_000_000


def test_chargen_fills_a_reader_that_comes_and_goes(hosts):
    process = serve(hosts, "chargen")
    out = client(hosts, f"""
        s = socket.create_connection(("{ADDRESS}", 19))
        f = s.makefile("rb")
        glyphs = bytes(range(32, 127)) * 2
        for i in range(100000):
            if i == 1000:
                time.sleep(1)  # the window closes, and opens again
            assert f.readline() == glyphs[i % 95:i % 95 + 72] + b"\\r\\n"
        print("right")
        """)
    assert out == "right\n"
    stop(hosts, process)


# --- many, and the end -----------------------------------------------------------------------


def test_thousands_of_connections_at_once(hosts):
    process = serve(hosts, "echo")
    out = client(hosts, f"""
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (5000, 5000))
        socks = [socket.create_connection(("{ADDRESS}", 7), 10) for _ in range(4000)]
        for i, s in enumerate(socks):
            s.sendall(b"%08d" % i)
        print(all(s.recv(8) == b"%08d" % i for i, s in enumerate(socks)))
        for s in socks:
            s.close()
        """)
    assert out == "True\n"
    assert stop(hosts, process)["connections opened by peers"] == 4000


def test_a_stop_resets_those_who_are_connected(hosts):
    process = serve(hosts, "echo")
    waiting = hosts.popen("client", ["/usr/bin/python3", "-c", textwrap.dedent(f"""
        import socket
        socks = [socket.create_connection(("{ADDRESS}", 7)) for _ in range(200)]
        print("connected", flush=True)
        resets = 0
        for s in socks:
            s.settimeout(5)
            try:
                s.recv(1)
            except ConnectionResetError:
                resets += 1
        print(resets)
        """)])
    assert waiting.stdout.readline() == "connected\n"
    before = time.monotonic()
    stop(hosts, process)
    assert time.monotonic() - before < 3
    assert waiting.stdout.readline() == "200\n"


def test_a_capture_is_read_by_tcpdump(hosts, tmp_path):
    file = tmp_path / "frames.pcapng"
    process = serve(hosts, "echo", "--capture", file, "--capture-filter", "tcp port 7")
    hosts.run("client", ["sh", "-c", f"echo hello | nc -N {ADDRESS} 7"])
    stop(hosts, process)
    lines = subprocess.run(["tcpdump", "-nr", str(file)], capture_output=True, text=True, check=True).stdout
    assert re.search(r"Flags \[S\]", lines) and re.search(r"Flags \[S\.\]", lines) and "length 6" in lines
    assert "ARP" not in lines


def test_idle_connections_cost_next_to_nothing(hosts):
    """A thousand open connections and no traffic: under 2% of a processor."""
    process = serve(hosts, "echo")
    idle = hosts.popen("client", ["/usr/bin/python3", "-c", textwrap.dedent(f"""
        import socket, time
        socks = [socket.create_connection(("{ADDRESS}", 7)) for _ in range(1000)]
        print("connected", flush=True)
        time.sleep(60)
        """)])
    assert idle.stdout.readline() == "connected\n"
    time.sleep(1)

    def used_ns():
        with open(f"/proc/{process.pid}/schedstat", encoding="ascii") as text:
            return int(text.read().split()[0])

    before = used_ns()
    time.sleep(3)
    assert used_ns() - before < 0.02 * 3e9
    stop(hosts, process)


# --- one message to all ------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_announce(workers):
    """SIGUSR1 sends a line to every connection; echoes go on as they were."""
    with Hosts() as hosts:
        server = serve(hosts, "echo", "--announce", "tea is ready", "--state-bytes", "64", "--workers", workers)
        process, line = hosts.start("client", ["/usr/bin/python3", "-c", "import socket, sys\n" + textwrap.dedent(f"""
            streams = [socket.create_connection(("{ADDRESS}", 7)) for _ in range(300)]
            for number, stream in enumerate(streams):
                stream.sendall(b"%d" % number)
            assert all(stream.recv(100) == b"%d" % number for number, stream in enumerate(streams))
            print("open", flush=True)
            for stream in streams:
                got = b""
                while len(got) < 26:
                    got += stream.recv(100)
                assert got == b"tea is ready\\ntea is ready\\n", got
                stream.sendall(b"thanks")
            assert all(stream.recv(100) == b"thanks" for stream in streams)
            print("good")
            """)])
        assert line == "open\n"
        server.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        server.send_signal(signal.SIGUSR1)
        out, err = process.communicate(timeout=30)
        assert out == "good\n", err
        server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=20)[1]
        assert server.returncode == 0
        told = re.findall(r"announced to (\d+) connections .* (\d+) have acknowledged it, 0 were skipped", said)
        assert len(told) == 2 * int(workers)
        assert sum(int(got) for got, _ in told) == sum(int(got) for _, got in told) == 600

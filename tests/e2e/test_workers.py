"""Several workers on one interface: behind as many queues as there are workers, and behind fewer."""

import os
import re
import signal

import pytest

from hosts import Hosts, wait_until
from test_serve import ADDRESS, ECHO, client, curl, drains, hashlib

WORKERS = 2
CPUS = [] if os.cpu_count() >= WORKERS else ["--cpu", "0,0"]


@pytest.fixture(name="pair", params=[1, 2], ids=["one-queue", "two-queues"])
def two_hosts(request):
    with Hosts(queues=request.param) as hosts:
        yield hosts


def serve(hosts, server, *more):
    args = [Hosts.built("c10m"), "serve", server, "--interface", "eth0", "--address", f"{ADDRESS}/24",
            "--connections", "5000", "--workers", WORKERS, "--verbose", *CPUS, *more]
    return hosts.start("server", args)[0]


def stop(hosts, process):
    """Orderly; returns what was printed, the counters by their text, and each worker's own."""
    code, _, err = hosts.stop(process)
    assert code == 0, err
    assert hosts.xdp("server") is None
    counts = {text: int(count) for count, text in re.findall(r"^ *(\d+)  (.+)$", err, re.MULTILINE)}
    shares = [{text: int(count) for count, text in re.findall(r"(\d+) ([a-z ]+)", line)}
              for line in re.findall(r"^worker \d+: (\d+ connections opened.*)$", err, re.MULTILINE)]
    assert len(shares) == WORKERS
    return err, counts, shares


MANY = """
    import socket
    for turn in range(3):
        ends = [socket.create_connection((sys.argv[1], 7), timeout=20) for _ in range(200)]
        for i, end in enumerate(ends):
            end.sendall(b"%d." % i * 400)
        for i, end in enumerate(ends):
            wanted = b"%d." % i * 400
            got = b""
            while len(got) < len(wanted):
                part = end.recv(65536)
                assert part, f"connection {i} was closed"
                got += part
            assert got == wanted, f"connection {i} got another one's bytes"
        for end in ends:
            end.shutdown(socket.SHUT_WR)
        for end in ends:
            assert end.recv(1) == b""
            end.close()
    print("ok")
    """


def test_connections_are_shared(pair):
    """All bytes come back to whom they belong, and each worker has its part of 600 connections."""
    process = serve(pair, "echo")
    assert client(pair, MANY, ADDRESS) == "ok\n"
    assert pair.pings("client", ADDRESS, count=3) == 3
    _, counts, shares = stop(pair, process)
    opened = [share["connections opened"] for share in shares]
    assert sum(opened) == 600
    assert min(opened) > 200  # 300 each, and six deviations less
    assert counts["handshakes completed"] == 600
    assert counts.get("resets sent", 0) == 0
    given = sum(share["given away"] for share in shares)
    assert given == sum(share["taken over"] for share in shares) == counts[
        "of these at another worker than their flow's, and handed over"]
    assert given > 0
    if pair.queues == 1:
        assert shares[0]["frames landed"] == counts["frames landed"]
        assert shares[0]["of others sent"] > 0


def test_all_flows_belong_to_the_other(pair):
    """Forced: what lands at worker 0 is never its own."""
    process = serve(pair, "echo", "--owner", "1")
    assert client(pair, MANY, ADDRESS) == "ok\n"
    _, _, shares = stop(pair, process)
    assert [share["connections opened"] for share in shares] == [0, 600]
    assert shares[1]["taken over"] > 0


def test_a_stream_through_the_rings(pair):
    """20 MB there and back, every byte handed over both ways of its life."""
    process = serve(pair, "echo", "--owner", "1")
    assert client(pair, ECHO, ADDRESS, "20000000", timeout=120) == "True\n"
    stop(pair, process)


def test_a_stream_with_loss(pair):
    process = serve(pair, "echo")
    pair.lose("client", 3)
    assert client(pair, ECHO, ADDRESS, "1000000", timeout=120) == "True\n"
    pair.lose("client", 0)
    _, counts, _ = stop(pair, process)
    assert counts["segments sent again"] > 0


def test_downloads_at_once(pair):
    process = serve(pair, "http", "--port", "8080")
    line = bytes(ord("!") + i for i in range(63)) + b"\n"
    wanted = hashlib.sha256((line * 78126)[:5_000_000]).hexdigest()
    script = f"for i in 1 2 3 4 5 6 7 8; do curl -sS --max-time 60 http://{ADDRESS}:8080/bytes/5000000 | sha256sum & " \
             "done; wait"
    out = pair.run("client", ["sh", "-c", script], timeout=120).stdout
    assert [text.split()[0] for text in out.splitlines()] == [wanted] * 8
    out = pair.run("client", ["wrk", "-t1", "-c64", "-d2", f"http://{ADDRESS}:8080/"]).stdout
    assert "Socket errors" not in out and "Non-2xx" not in out
    stop(pair, process)


def test_statistics_are_sums(pair):
    process = serve(pair, "echo", "--stats", "1")
    script = """
        ends = [socket.create_connection((sys.argv[1], 7), timeout=20) for _ in range(100)]
        time.sleep(2.5)
        """
    client(pair, script, ADDRESS)
    err, _, shares = stop(pair, process)
    assert min(share["connections opened"] for share in shares) > 0
    assert "c10m: 100 connections, 0 half open" in err
    assert re.search(r"\d+ handed to another worker; busy \d", err)


def test_a_stop_resets_all_connections(pair):
    """Those of a worker without a queue, too: their resets go out through the neighbour."""
    process = serve(pair, "echo")
    holder = pair.popen("client", ["/usr/bin/python3", "-c", f"""
import socket
ends = [socket.create_connection(("{ADDRESS}", 7), timeout=20) for _ in range(100)]
for end in ends:  # the server has seen that it is open
    end.sendall(b"x")
    assert end.recv(1) == b"x"
print("open", flush=True)
reset = 0
for end in ends:
    try:
        end.recv(1)
    except ConnectionResetError:
        reset += 1
print(reset)
"""])
    assert holder.stdout.readline() == "open\n"
    stop(pair, process)
    assert holder.stdout.readline() == "100\n"


def test_connections_of_all_workers_may_go_on_after_a_stop(pair):
    """A worker that has none left goes on sending for the others."""
    process = serve(pair, "echo", "--drain-ms", "30000")
    err = drains(pair, process, ADDRESS, 7, 60)
    opened = [int(count) for count in re.findall(r"^worker \d+: (\d+) connections opened", err, re.MULTILINE)]
    assert len(opened) == WORKERS and min(opened) > 0 and sum(opened) == 60


def test_nothing_stays_after_kill_9(pair):
    for _ in range(2):
        process = serve(pair, "echo")
        assert client(pair, "s = socket.create_connection((sys.argv[1], 7)); s.sendall(b'x'); print(s.recv(1))",
                      ADDRESS) == "b'x'\n"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        wait_until(lambda: pair.xdp("server") is None, what="the end of the XDP program")


def test_workers_sleep_when_idle(pair):
    process = serve(pair, "echo")
    assert client(pair, MANY, ADDRESS) == "ok\n"

    def ticks():
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as stat:
            return sum(int(field) for field in stat.read().rsplit(")", 1)[1].split()[11:13])

    wait_until(lambda: pair.pings("client", ADDRESS) == 1, what="a ping")
    before = ticks()
    pair.run("client", ["sleep", "2"])
    assert ticks() - before <= 8  # of 200 a worker
    assert curl(pair, f"telnet://{ADDRESS}:7", "--max-time", "1", check=False).returncode == 28  # it still listens
    stop(pair, process)


def test_a_fault_port_before_two_workers(hosts):
    """The wrapping ports stand before the queue, and so before the hand-over."""
    process = serve(hosts, "echo", "--owner", "1", "--fault", "loss=2%,reorder=2%,duplicate=2%,corrupt=1%,seed=3")
    assert client(hosts, ECHO, ADDRESS, "300000", timeout=120) == "True\n"
    _, counts, _ = stop(hosts, process)
    assert counts["segments received out of order"] > 0


def test_long_frames_with_two_workers(hosts):
    """Over a TAP device, whose frames have up to 64 KB: whichever queue they choose, they are handed over whole."""
    args = [Hosts.built("c10m"), "serve", "http", "--interface", "tap7", "--address", "10.99.0.1/24", "--workers",
            WORKERS, "--owner", "1", "--port", "8080", "--verbose", *CPUS]
    process = hosts.start("server", args)[0]
    line = bytes(ord("!") + i for i in range(63)) + b"\n"
    wanted = hashlib.sha256((line * 312501)[:20_000_000]).hexdigest()
    url = "http://10.99.0.1:8080"
    out = hosts.run("server", ["sh", "-c", f"curl -sS --max-time 30 {url}/bytes/20000000 | sha256sum"]).stdout
    assert out.split()[0] == wanted
    upload = f"head -c 20000000 /dev/zero | curl -sS --max-time 30 -o /dev/null -w '%{{http_code}}' --data-binary @- {url}/"
    assert hosts.run("server", ["sh", "-c", upload]).stdout == "200"
    code, _, err = hosts.stop(process)
    assert code == 0, err
    assert re.search(r"^worker 1: 2 connections opened", err, re.MULTILINE)


def test_more_workers_than_processors(hosts):
    args = [Hosts.built("c10m"), "serve", "echo", "--interface", "eth0", "--address", f"{ADDRESS}/24", "--workers",
            "64"]
    if os.cpu_count() >= 64:
        pytest.skip("this machine has them")
    done = hosts.run("server", args, check=False)
    assert done.returncode == 1
    assert re.search(r"64 workers asked for, but this process may use \d+ cpus?: ask for 1 to \d+", done.stderr)
    assert hosts.xdp("server") is None

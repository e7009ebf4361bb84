"""c10m load: against our own servers, the kernel's, and servers that do everything wrong."""

import json
import os
import pty
import re
import signal
import textwrap

import pytest

from hosts import Hosts, alone, command
from test_serve import ADDRESS, serve

OWN = "10.77.0.20"
KERNEL = "10.77.0.2"

SERVER = """
import os, selectors, socket, struct, sys, threading, time

def listen(port=7):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", port))
    s.listen(1024)
    print("ready", flush=True)
    return s

def each(serve, listener):
    while True:
        end, _ = listener.accept()
        threading.Thread(target=serve, args=(end,), daemon=True).start()

def reset(end):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
"""

ECHO = """
def serve(end):
    while data := end.recv(65536):
        end.sendall(data)
    end.close()
each(serve, listen())
"""


def load(hosts, *words, target=f"{ADDRESS}:7", host="client", address=OWN, network=24, expected=0, timeout=60,
         duration=1):
    """Runs c10m load to its end; its JSON, and what it said on standard error as "said"."""
    args = [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{address}/{network}", "--target",
            target, "--duration", duration, "--json", *words]
    done = hosts.run(host, args, check=False, timeout=timeout)
    assert done.returncode == expected, done.stderr + done.stdout
    result = json.loads(done.stdout)
    result["said"] = done.stderr
    assert hosts.xdp(host) is None
    check_sums(result)
    return result


def check_sums(result):
    """What is told adds up."""
    assert result["lost"] == sum(result["lost_by_reason"].values())
    assert result["not_opened"] == sum(result["not_opened_by_reason"].values())
    steps = [result["latency_us"][key] for key in ("p50", "p90", "p99", "p99.9", "p99.99", "max")]
    assert steps == sorted(steps)


def wrong(hosts, *words, address=OWN):
    """The sentence with which it refuses these options."""
    args = [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{address}/24", *words]
    done = hosts.run("client", args, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("c10m: ") and done.stderr.count("\n") == 1
    return done.stderr


def kernel_server(hosts, code):
    """Runs Python on the server's kernel; it prints a line when it listens."""
    process, line = hosts.start("server", ["/usr/bin/python3", "-c", SERVER + textwrap.dedent(code)])
    assert line == "ready\n"
    return process


# --- what it does -----------------------------------------------------------------------


def test_every_connection_is_proved(hosts):
    serve(hosts, "echo")
    result = load(hosts, "--connections", 2000, "--prove", "both")
    assert result["opened"] == result["established"] == result["closed"] == 2000
    assert result["proved_before"] == result["proved_after"] == 2000
    assert result["lost"] == result["not_opened"] == 0
    assert result["answers"] == result["requests"] > 100
    assert result["requests_per_second"] == pytest.approx(result["answers"] / result["load_seconds"])
    assert 0 < result["latency_us"]["p50"] < 1000000


def test_the_kernels_server(hosts):
    kernel_server(hosts, ECHO)
    result = load(hosts, "--connections", 100, "--prove", "before", target=f"{KERNEL}:7")
    assert result["proved_before"] == 100
    assert result["lost"] == 0 and result["answers"] > 100


def test_open_loop_keeps_the_rate(hosts):
    serve(hosts, "echo")
    result = load(hosts, "--connections", 500, "--request-rate", 2000, duration=2)
    assert result["answers"] + result["unsent"] == pytest.approx(4000, abs=2)
    assert result["answers"] > 3900
    assert result["lost"] == 0


@alone
def test_paced_behind_the_load(hosts):
    """First as fast as it goes, then at a share of that."""
    serve(hosts, "echo")
    result = load(hosts, "--connections", 500, "--then-paced", 25, "--in-flight", 4, duration=2)
    assert result["paced_per_second"] == pytest.approx(result["requests_per_second"] / 4, rel=0.1)
    steps = [result["paced_latency_us"][key] for key in ("p50", "p90", "p99", "p99.9", "p99.99", "max")]
    assert steps == sorted(steps) and steps[-1] > 0
    assert result["turn_us"]["max"] > 0  # the machine's jitter of that time stands beside it
    assert result["lost"] == 0
    assert "--then-paced" in wrong(hosts, "--target", f"{ADDRESS}:7", "--then-paced", 25, "--request-rate", 100)
    assert "give one" in wrong(hosts, "--target", f"{ADDRESS}:7", "--then-paced", 25, "--then-rate", 100)
    result = load(hosts, "--connections", 500, "--then-rate", 1000, "--in-flight", 4, duration=2)
    assert result["paced_per_second"] == pytest.approx(1000, rel=0.05)
    result = load(hosts, "--connections", 10, "--then-rate", "90M", "--in-flight", 1, duration=1)
    assert result["paced_per_second"] < result["requests_per_second"] * 1.1


@alone
def test_latency_counts_from_the_time_that_was_meant(hosts):
    """A server that stands still for half a second: a closed loop would see one late answer on each of its few
    connections, an open loop sees all that were meant to be sent meanwhile."""
    kernel_server(hosts, """
        listener = listen()
        ends = []
        def accept():
            while True:
                ends.append(listener.accept()[0])
        threading.Thread(target=accept, daemon=True).start()
        s = selectors.DefaultSelector()
        start, known, stood = None, 0, False
        while True:
            for end in ends[known:]:
                s.register(end, selectors.EVENT_READ)
                known += 1
            for key, _ in s.select(0.01):
                start = start or time.monotonic()
                data = key.fileobj.recv(65536)
                if not data:
                    s.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                if not stood and time.monotonic() > start + 0.5:
                    stood = True
                    time.sleep(0.5)
                key.fileobj.sendall(data)
        """)
    result = load(hosts, "--connections", 4, "--request-rate", 1000, target=f"{KERNEL}:7", duration=2)
    assert result["answers"] > 1800
    assert result["latency_us"]["p90"] > 100000  # a quarter of all requests were meant for that time
    assert result["lost"] == 0


def test_open_rate(hosts):
    serve(hosts, "echo")
    result = load(hosts, "--connections", 1000, "--rate", 1000, "--protocol", "idle", duration=0)
    assert result["opened"] == 1000
    assert 0.9 < result["open_seconds"] < 2


@pytest.mark.parametrize("payload", [8, 1459, 100000])
def test_payloads(hosts, payload):
    serve(hosts, "echo")
    result = load(hosts, "--connections", 20, "--payload", payload)
    assert result["lost"] == 0 and result["answers"] > 20


def test_http(hosts):
    serve(hosts, "http", port=80)
    result = load(hosts, "--connections", 50, "--protocol", "http", "--prove", "after", target=f"{ADDRESS}:80")
    assert result["answers"] > 50 and result["lost"] == 0 and result["proved_after"] == 50


def test_http_a_connection_each(hosts):
    serve(hosts, "http", port=80)
    result = load(hosts, "--connections", 50, "--protocol", "http", "--http-close", target=f"{ADDRESS}:80")
    assert result["sessions"] > 50 and result["lost"] == 0
    assert result["opened"] == result["sessions"] == result["closed"]


def test_http_errors_are_wrong_answers(hosts):
    serve(hosts, "http", port=80)
    result = load(hosts, "--connections", 5, "--protocol", "http", "--path", "/nowhere", target=f"{ADDRESS}:80",
                  expected=3)
    assert result["lost_by_reason"]["wrong"] == 5 and result["answers"] == 0


def test_connect(hosts):
    serve(hosts, "echo")
    result = load(hosts, "--connections", 50, "--protocol", "connect")
    assert result["sessions"] > 500 and result["lost"] == 0
    assert result["opened"] == result["sessions"]


def test_connect_request_answer_close(hosts):
    serve(hosts, "echo")
    result = load(hosts, "--connections", 50, "--requests-per-connection", 1)
    assert result["sessions"] == result["opened"] > 500 and result["lost"] == 0


def test_connect_at_a_rate(hosts):
    serve(hosts, "echo")
    result = load(hosts, "--connections", 100, "--protocol", "connect", "--rate", 500, duration=2)
    assert 900 < result["sessions"] <= 1001 and result["lost"] == 0


@pytest.mark.parametrize("server, direction", [("echo", "both"), ("discard", "send"), ("chargen", "receive")])
def test_stream(hosts, server, direction):
    port = {"echo": 7, "discard": 9, "chargen": 19}[server]
    serve(hosts, server)
    result = load(hosts, "--connections", 10, "--protocol", "stream", "--direction", direction,
                  target=f"{ADDRESS}:{port}")
    assert result["lost"] == 0 and result["closed"] == 10
    assert (result["bytes_out_per_second"] > 100000) == (direction != "receive")
    assert (result["bytes_in_per_second"] > 100000) == (direction != "send")


def test_idle_and_message(hosts):
    """A server that says the same to all, and to one something else."""
    kernel_server(hosts, """
        listener = listen()
        ends = [listener.accept()[0] for _ in range(50)]
        time.sleep(0.5)
        for i, end in enumerate(ends):
            end.sendall(b"tick tock " * 10 if i < 49 else b"tack tuck " * 10)
        time.sleep(60)
        """)
    result = load(hosts, "--connections", 50, "--protocol", "idle", "--expect-message", 100, target=f"{KERNEL}:7",
                  duration=0, expected=3)
    assert result["messages"] == 50 and result["messages_wrong"] == 1
    assert result["lost"] == 0


def test_announcement(hosts):
    """Our own server sends a line to all when it is told to."""
    server = serve(hosts, "echo", "--announce", "fire")
    args = [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{OWN}/24", "--target", f"{ADDRESS}:7",
            "--connections", 3000, "--protocol", "idle", "--expect-message", 5, "--duration", 0, "--json"]
    process = hosts.popen("client", args)
    for line in process.stderr:
        if re.search(r" message +3000 held", line):
            break
    server.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=30)
    result = json.loads(out)
    assert process.returncode == 0 and result["messages"] == 3000 and result["messages_wrong"] == 0
    assert 0 < result["message_seconds"] < 10


def test_message_that_does_not_come(hosts):
    serve(hosts, "echo")
    result = load(hosts, "--connections", 10, "--protocol", "idle", "--expect-message", 5, "--message-wait", 1,
                  duration=0, expected=3)
    assert result["messages"] == 0 and result["lost"] == 0


def test_what_the_interface_drops_is_not_the_servers(hosts):
    """Fewer frames than requests are out: some are lost on this end, and sent again."""
    serve(hosts, "echo")
    result = load(hosts, "--connections", 500, "--in-flight", 150, "--payload", 1000, "--frames", 64, duration=2)
    dropped = result["interface"]["rx_dropped"] + result["interface"]["kernel_rx_dropped"]
    assert dropped > 0 and result["lost"] == 0


def test_several_workers(hosts):
    serve(hosts, "echo")
    cpus = [] if os.cpu_count() > 1 else ["--cpu", "0,0"]
    result = load(hosts, "--connections", 1001, "--workers", 2, "--prove", "both", *cpus)
    assert result["opened"] == result["proved_before"] == result["proved_after"] == result["closed"] == 1001
    assert result["lost"] == 0


def test_source_net(hosts):
    """More addresses than our own: the kernel's server has a route to them, and sees them."""
    hosts.run("server", ["ip", "route", "add", "10.64.0.0/24", "via", OWN])
    kernel_server(hosts, """
        def serve(end):
            peer = end.getpeername()[0]
            assert peer.startswith("10.64.0."), peer
            while data := end.recv(65536):
                end.sendall(data)
            end.close()
        each(serve, listen())
        """)
    result = load(hosts, "--connections", 600, "--source-net", "10.64.0.0/24", "--prove", "both",
                  target=f"{KERNEL}:7")
    assert result["proved_before"] == result["proved_after"] == 600 and result["lost"] == 0


def test_over_a_wire(hosts, tmp_path):
    """No interface, more connections than one address has ports, both ends c10m."""
    wire = tmp_path / "wire"
    hosts.start("server", [Hosts.built("c10m"), "serve", "echo", "--wire", wire, "--address", "10.80.0.1/24",
                           "--gateway", "10.80.0.2", "--connections", "100k"])
    args = [Hosts.built("c10m"), "load", "--wire", wire, "--address", "10.80.0.2/24", "--target", "10.80.0.1:7",
            "--source-net", "10.64.0.0/20", "--connections", "70k", "--prove", "both", "--duration", "1", "--json"]
    done = hosts.run("client", args, timeout=60, check=False)
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["proved_before"] == result["proved_after"] == result["closed"] == 70000
    assert result["lost"] == result["not_opened"] == 0


# --- what servers do wrong --------------------------------------------------------------------


def nasty(hosts, code, *words, **more):
    kernel_server(hosts, code)
    return load(hosts, *words, target=f"{KERNEL}:7", expected=3, **more)


def test_nobody_listens(hosts):
    result = load(hosts, "--connections", 100, target=f"{KERNEL}:7", expected=3)
    assert result["not_opened_by_reason"]["refused"] == 100 and result["opened"] == 0
    assert "is a server listening" in result["verdict"]


def test_nobody_is_there(hosts):
    result = load(hosts, "--connections", 100, "--late-ms", 1000, target="10.77.0.99:7", expected=3)
    assert result["not_opened"] == 100 and result["opened"] == 0
    assert "verdict" in result


def test_nobody_answers(hosts):
    hosts.lose("server", 100)
    result = load(hosts, "--connections", 10, "--late-ms", 1000, target=f"{KERNEL}:7", expected=3)
    assert result["not_opened_by_reason"]["timeout"] + result["not_opened_by_reason"]["unreachable"] == 10


def test_resets(hosts):
    result = nasty(hosts, """
        def serve(end):
            end.recv(65536)
            reset(end)
        each(serve, listen())
        """, "--connections", 20)
    assert result["lost_by_reason"]["reset"] == result["lost"] == 20


def test_closes(hosts):
    result = nasty(hosts, """
        def serve(end):
            end.recv(65536)
            end.close()
        each(serve, listen())
        """, "--connections", 20)
    assert result["lost_by_reason"]["closed"] == result["lost"] == 20


def test_wrong_answers(hosts):
    """Every third answer has one bit turned over."""
    result = nasty(hosts, """
        def serve(end):
            for i in range(3):
                data = bytearray(end.recv(65536))
                data[40] ^= i == 2
                end.sendall(data)
            end.recv(1)
        each(serve, listen())
        """, "--connections", 20)
    assert result["lost_by_reason"]["wrong"] == result["lost"] == 20
    assert result["answers"] == 40


def test_answers_of_another(hosts):
    """Right answers, but to the neighbour's request."""
    result = nasty(hosts, """
        listener = listen()
        ends = [listener.accept()[0] for _ in range(20)]
        asked = [end.recv(65536) for end in ends]
        for end, data in zip(ends, asked[1:] + asked[:1]):
            end.sendall(data)
        time.sleep(60)
        """, "--connections", 20, "--prove", "before")
    assert result["lost_by_reason"]["wrong"] == result["lost"] == 20
    assert result["proved_before"] == 0


@pytest.mark.parametrize("gap", [0, 0.2], ids=["at once", "later"])
def test_answers_twice(hosts, gap):
    result = nasty(hosts, f"""
        def serve(end):
            data = end.recv(65536)
            end.sendall(data * {1 if gap else 2})
            if {gap}:
                time.sleep({gap})
                end.sendall(data)
            end.recv(1)
        each(serve, listen())
        """, "--connections", 20, "--request-rate", 100 if not gap else 10, duration=2)
    assert result["lost_by_reason"]["repeated"] == result["lost"] > 0


def test_data_that_nobody_asked_for(hosts):
    result = nasty(hosts, """
        def serve(end):
            end.sendall(b"hello")
            end.recv(1)
        each(serve, listen())
        """, "--connections", 20, "--protocol", "idle")
    assert result["lost_by_reason"]["unasked"] == result["lost"] == 20


def test_no_answers(hosts):
    result = nasty(hosts, """
        def serve(end):
            while end.recv(65536):
                pass
            end.close()
        each(serve, listen())
        """, "--connections", 20, "--late-ms", 500)
    assert result["lost_by_reason"]["unanswered"] == result["lost"] == 20
    assert result["answers"] == result["late"] == 0
    assert result["closed"] == 20


def test_late_answers(hosts):
    """Lost all the same, and told."""
    result = nasty(hosts, """
        def serve(end):
            first = end.recv(65536)
            time.sleep(1.5)
            end.sendall(first)
            while data := end.recv(65536):
                end.sendall(data)
            end.close()
        each(serve, listen())
        """, "--connections", 5, "--late-ms", 500, duration=3)
    assert result["lost_by_reason"]["unanswered"] == result["lost"] == result["late"] == 5
    assert result["answers"] > 5


@pytest.mark.parametrize("words", [["--stay"], ["--protocol", "idle"], ["--prove", "after"]], ids=lambda words: words[0])
def test_a_server_that_dies(hosts, words):
    """In silence, in the middle of the load: the run ends nevertheless, and says so."""
    server = serve(hosts, "echo")
    args = [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{OWN}/24", "--target", f"{ADDRESS}:7",
            "--connections", 3000, "--late-ms", 500, "--duration", 3, "--json", *words]
    process = hosts.popen("client", args)
    for line in process.stderr:
        if re.search(r" load +3000 held", line):
            break
    server.kill()
    out, err = process.communicate(timeout=30)
    result = json.loads(out)
    check_sums(result)
    assert process.returncode == 3 and result["lost"] + result["unclosed"] > 0
    if words == ["--prove", "after"]:
        assert "does not answer any more" in result["verdict"]
    if words == ["--stay"]:
        assert result["lost_by_reason"]["unanswered"] >= 256
    assert result["opened"] == 3000


def test_tiny_windows(hosts):
    """A server that takes little at a time, late: all the same nothing is lost."""
    kernel_server(hosts, """
        def serve(end):
            while data := end.recv(500):
                time.sleep(0.002)
                end.sendall(data)
            end.close()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        listener.bind(("", 7))
        listener.listen(100)
        print("ready", flush=True)
        each(serve, listener)
        """)
    result = load(hosts, "--connections", 5, "--payload", 20000, target=f"{KERNEL}:7", duration=2)
    assert result["lost"] == 0 and result["answers"] >= 5


def test_frames_that_get_lost(hosts):
    """What is lost on the way is sent again: neither lost nor wrong."""
    kernel_server(hosts, ECHO)
    hosts.lose("server", 5)
    result = load(hosts, "--connections", 20, "--prove", "both", target=f"{KERNEL}:7", duration=2)
    assert result["proved_after"] == 20 and result["lost"] == 0
    assert result["retransmits"] > 0


# --- what is asked for ----------------------------------------------------------------------------


def test_more_connections_than_ports(hosts):
    sentence = wrong(hosts, "--target", f"{ADDRESS}:7", "--connections", "64513")
    assert "64513 connections do not fit" in sentence and "64512" in sentence
    sentence = wrong(hosts, "--target", f"{ADDRESS}:7-8", "--connections", "10M")
    assert "129024" in sentence


def test_source_net_and_target_overlap(hosts):
    words = "--connections", "100", "--gateway", "10.77.0.1"
    assert "holds --target" in wrong(hosts, *words, "--target", "10.64.3.4:7", "--source-net", "10.64.0.0/16")
    sentence = wrong(hosts, "--target", f"{ADDRESS}:7", "--source-net", "10.64.0.0/28", "--connections", "1M")
    assert "14 addresses" in sentence


def test_wrong_targets(hosts):
    assert "--target" in wrong(hosts)
    for target in "10.77.0.10", "10.77.0.10:", "10.77.0.10:0", "10.77.0.10:9-7", "x:7", "10.77.0.10:70000", "224.0.0.1:7":
        assert "--target takes" in wrong(hosts, "--target", target)
    assert "own address" in wrong(hosts, "--target", f"{OWN}:7")
    assert "--gateway" in wrong(hosts, "--target", "10.78.0.1:7")


def test_contradictions(hosts):
    target = "--target", f"{ADDRESS}:7"
    assert "--http-close" in wrong(hosts, *target, "--http-close")
    assert "--fastopen" in wrong(hosts, *target, "--protocol", "http", "--fastopen")
    assert "--prove" in wrong(hosts, *target, "--protocol", "connect", "--prove", "both")
    assert "--request-rate" in wrong(hosts, *target, "--protocol", "idle", "--request-rate", "10")
    assert "--protocol takes" in wrong(hosts, *target, "--protocol", "telnet")
    assert "--path" in wrong(hosts, *target, "--protocol", "http", "--path", "x y")


# --- how it is told ---------------------------------------------------------------------------------


def test_interrupted(hosts):
    serve(hosts, "echo")
    process = hosts.popen("client", [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{OWN}/24",
                                     "--target", f"{ADDRESS}:7", "--connections", 100, "--json", "--stay"])
    for line in process.stderr:
        if re.search(r" load .* [1-9]\d* answers/s", line):
            break
    code, out, _ = hosts.stop(process, signal.SIGINT)
    result = json.loads(out)
    check_sums(result)
    assert code == 0 and result["interrupted"] and result["established"] == 100 and result["answers"] > 0
    assert result["load_seconds"] > 0.5
    assert hosts.xdp("client") is None


def test_interrupted_while_opening(hosts):
    serve(hosts, "echo")
    process = hosts.popen("client", [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{OWN}/24",
                                     "--target", f"{ADDRESS}:7", "--connections", 1000, "--rate", 100, "--json"])
    for line in process.stderr:
        if " opening " in line:
            break
    code, out, _ = hosts.stop(process, signal.SIGINT)
    result = json.loads(out)
    assert code == 0 and result["interrupted"] and 0 < result["opened"] < 1000


def test_terminal(hosts):
    """On a terminal there is one line, drawn again and again, and it is gone at the end."""
    serve(hosts, "echo")
    master, slave = pty.openpty()
    args = [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{OWN}/24", "--target", f"{ADDRESS}:7",
            "--connections", 100, "--duration", 2]
    process = hosts.popen("client", args, stderr=slave)
    os.close(slave)
    out, _ = process.communicate(timeout=30)
    os.set_blocking(master, False)
    shown = os.read(master, 1 << 20).decode()
    os.close(master)
    assert process.returncode == 0 and "connections opened" in out
    assert len(re.findall(r"\r\x1b\[K +\d+\.\d s  load +100 held", shown)) > 3
    assert shown.endswith("\r\x1b[K")


def test_table(hosts):
    serve(hosts, "echo")
    args = [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{OWN}/24", "--target", f"{ADDRESS}:7",
            "--connections", 100, "--duration", 1, "--prove", "after", "--quiet"]
    done = hosts.run("client", args)
    for text in ("connections opened", "latency, us", "machine's jitter", "100  of 100 connections answered"):
        assert text in done.stdout
    assert re.search(r"^lost +0$", done.stdout, re.MULTILINE)


def test_csv_and_plot(hosts, tmp_path):
    serve(hosts, "echo")
    csv, svg, png = tmp_path / "run.csv", tmp_path / "run.svg", tmp_path / "run.png"
    load(hosts, "--connections", 100, "--csv", csv, "--plot", svg, duration=4)
    lines = csv.read_text().splitlines()
    keys = lines[0].split(",")
    rows = [dict(zip(keys, line.split(","))) for line in lines[1:]]
    assert len(rows) >= 3
    assert max(int(row["held"]) for row in rows) == 100
    assert max(int(row["answers_per_second"]) for row in rows) > 0
    assert "latency, microseconds" in svg.read_text()
    load(hosts, "--connections", 100, "--plot", png, duration=4)
    assert png.read_bytes().startswith(b"\x89PNG")


def test_no_gnuplot(hosts, tmp_path):
    args = [Hosts.built("c10m"), "load", "--interface", "eth0", "--address", f"{OWN}/24", "--target", f"{ADDRESS}:7",
            "--plot", str(tmp_path / "x.svg")]
    done = command(["env", "PATH=/nowhere", *args], check=False)
    assert done.returncode == 2 and "apt-get install gnuplot-nox" in done.stderr
    assert "--plot takes" in wrong(hosts, "--target", f"{ADDRESS}:7", "--plot", "x.gif")
    assert "cannot be written" in wrong(hosts, "--target", f"{ADDRESS}:7", "--csv", "/nowhere/x.csv")

"""Limits of c10m serve: who may connect, how often, and for how long without a word. The client has two addresses."""

import json
import re
import textwrap

import pytest

from hosts import Hosts

ADDRESS, FIRST, SECOND = "10.77.0.10", "10.77.0.1", "10.77.0.3"

CLIENT = """
import json, os, socket, sys, time

def connect(source, seconds=1.0):
    s = socket.socket()
    s.settimeout(seconds)
    s.bind((source, 0))
    try:
        s.connect(("10.77.0.10", 7))
    except OSError as error:
        return type(error).__name__
    return s

def talks(s):
    s.sendall(b"hello")
    return s.recv(100) == b"hello"

def outcome(source, seconds=1.0):
    s = connect(source, seconds)
    return s if isinstance(s, str) else "open" if talks(s) else "silent"

def ends_after(s, start):
    s.settimeout(20)
    try:
        s.recv(1)
    except ConnectionResetError:
        return time.monotonic() - start
    return None
"""


@pytest.fixture(name="pair")
def two_addresses(hosts):
    hosts.run("client", ["ip", "address", "add", f"{SECOND}/24", "dev", "eth0"])
    yield hosts


def serve(hosts, *more):
    args = [Hosts.built("c10m"), "serve", "echo", "--interface", "eth0", "--address", f"{ADDRESS}/24",
            "--connections", "5000", "--verbose", "--no-probe", *more]
    process, line = hosts.start("server", args)
    assert line == f"echo: listening on {ADDRESS}:7\n"
    return process


def stop(hosts, process):
    """Orderly; the counters of --verbose, by their text."""
    code, out, err = hosts.stop(process)
    assert (code, out) == (0, ""), err
    return {text: int(count) for count, text in re.findall(r"^ *(\d+)  (.+)$", err, re.MULTILINE)}


def client(hosts, code, timeout=60):
    """Runs Python on the client; what it prints, as JSON."""
    program = CLIENT + textwrap.dedent(code)
    return json.loads(hosts.run("client", ["/usr/bin/python3", "-c", program], timeout=timeout).stdout)


def test_a_denied_address_hears_nothing(pair):
    server = serve(pair, "--deny", "10.77.0.0/30,10.77.0.2", "--allow", "10.77.0.0/24")
    got = client(pair, f"""
        print(json.dumps([outcome("{FIRST}"), outcome("{SECOND}")]))
        """)
    assert got == ["timeout", "timeout"] or got == ["TimeoutError", "TimeoutError"]
    assert stop(pair, server)["source that the service's lists do not let in"] >= 2


def test_the_longer_prefix_decides_and_files_are_read(pair, tmp_path):
    allowed = tmp_path / "allowed"
    allowed.write_text(f"# those we know\n{SECOND}\n192.0.2.0/24\n")
    server = serve(pair, "--deny", "10.77.0.0/24", "--allow", f"10.0.0.0/8,@{allowed}", "--refuse", "reset")
    got = client(pair, f"""
        print(json.dumps([outcome("{FIRST}"), outcome("{SECOND}"), outcome("{FIRST}")]))
        """)
    assert got == ["ConnectionRefusedError", "open", "ConnectionRefusedError"]
    assert stop(pair, server)["source that the service's lists do not let in"] == 2


def test_each_address_has_its_own_connections(pair):
    server = serve(pair, "--source-connections", "3", "--refuse", "reset")
    got = client(pair, f"""
        held = [connect("{FIRST}") for _ in range(3)]
        assert all(talks(s) for s in held)
        full = outcome("{FIRST}")
        others = [connect("{SECOND}") for _ in range(3)]
        assert all(talks(s) for s in others)
        full_too = outcome("{SECOND}")
        assert all(talks(s) for s in held + others)
        held.pop().close()
        time.sleep(0.3)
        print(json.dumps([full, full_too, outcome("{FIRST}")]))
        """)
    assert got == ["ConnectionRefusedError", "ConnectionRefusedError", "open"]
    assert stop(pair, server)["new connection refused: its source has as many as it may"] == 2


def test_both_addresses_may_be_one_source(pair):
    server = serve(pair, "--source-connections", "2", "--source-bits", "24", "--refuse", "reset")
    got = client(pair, f"""
        held = [connect("{FIRST}"), connect("{SECOND}")]
        assert all(talks(s) for s in held)
        print(json.dumps([outcome("{FIRST}"), outcome("{SECOND}")]))
        """)
    assert got == ["ConnectionRefusedError", "ConnectionRefusedError"]
    stop(pair, server)


def test_new_connections_a_second(pair):
    server = serve(pair, "--source-rate", "5", "--source-burst", "10", "--refuse", "reset")
    got = client(pair, f"""
        start = time.monotonic()
        first = [outcome("{FIRST}") for _ in range(30)]
        other = outcome("{SECOND}")
        took = time.monotonic() - start
        time.sleep(1)
        print(json.dumps([first.count("open"), took, other, [outcome("{FIRST}") for _ in range(3)]]))
        """)
    opened, took, other, later = got
    assert 10 <= opened <= 10 + 5 * took + 1
    assert other == "open"
    assert later == ["open"] * 3
    assert stop(pair, server)["new connection refused: its source opens them faster than it may"] >= 10


def test_deadlines(pair):
    server = serve(pair, "--first-byte-ms", "1000", "--idle-ms", "2000")
    got = client(pair, f"""
        before = time.monotonic()
        mute = connect("{FIRST}")
        talker = connect("{FIRST}")
        assert talks(talker)
        print(json.dumps([ends_after(mute, before), ends_after(talker, before)]))
        """)
    mute, talker = got
    assert 1 <= mute < talker
    assert 2 <= talker < 6
    counters = stop(pair, server)
    assert counters["connections ended: no first byte in time"] == 1
    assert counters["connections ended: idle for too long"] == 1


def test_a_peer_that_takes_nothing(pair):
    """It sends and never reads: its window closes, its kernel answers each probe."""
    server = serve(pair, "--unsent-ms", "2000")
    got = client(pair, f"""
        s = connect("{FIRST}")
        s.settimeout(0.2)
        start = time.monotonic()
        ended = None
        while ended is None and time.monotonic() - start < 15:
            try:
                s.send(b"x" * 100000)
            except TimeoutError:
                pass
            except OSError as error:
                ended = type(error).__name__
        print(json.dumps([ended, time.monotonic() - start]))
        """)
    ended, took = got
    assert ended in ("ConnectionResetError", "BrokenPipeError")
    assert 2 < took < 10
    assert stop(pair, server)["connections ended: the peer took no data for too long"] == 1


@pytest.mark.parametrize("option, sentence", [
    (["--deny", "10.0.0.1/8"],
     "--deny: '10.0.0.1/8' has bits behind its length: write 10.0.0.0/8 for the network"),
    (["--allow", "home"], "--allow: 'home' is no IPv4 network: write it like 10.0.0.0/8, or 10.1.2.3 for one host"),
    (["--allow", "::1"], "--allow: '::1' looks like IPv6, which c10m does not speak yet: give IPv4 networks"),
    (["--deny", "@/nowhere"],
     "--deny: the file /nowhere cannot be opened (No such file or directory): check its name"),
    (["--allow", "@/dev/null"],
     "--allow: '@/dev/null' has no network in it, and everybody would be let in: name one"),
    (["--refuse", "loudly"], "--refuse takes silent or reset, not 'loudly'"),
    (["--source-rate", "0"], "--source-rate takes a number from 1 to 1000000, not '0'"),
])
def test_what_makes_no_sense_is_said(hosts, option, sentence):
    done = hosts.run("server", [Hosts.built("c10m"), "serve", "echo", "--interface", "eth0", "--address", "10.77.0.10",
                                *option], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"c10m: {sentence}\n")

"""The wire port: two programs joined by memory alone, without an interface and without root's help.

      c10m serve echo 10.80.0.1  ====== a socket's path ======  caller 10.80.0.2"""

import json
import os
import signal
import subprocess
import tempfile
import time

import pytest

from hosts import Hosts, command, wait_until

SERVER, CLIENT = "10.80.0.1", "10.80.0.2"


class Wire:
    def __init__(self, folder):
        self.path = os.path.join(folder, "wire")
        self.processes = []

    def serve(self, *options, address=SERVER, before=()):
        """A server that says it is ready; its lines of standard error so far are in .said."""
        process = subprocess.Popen(
            [*before, Hosts.built("c10m"), "serve", "echo", "--wire", self.path, "--address", f"{address}/24",
             "--connections", "1000", "--huge", "plain", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout.readline() == f"echo: listening on {address}:7\n"
        return process

    def call(self, *options, answers="good"):
        """Two threads of a program send lines to the echo server and compare."""
        done = command([Hosts.built("tests/tools/caller"), SERVER, "7", "--wire", self.path, "--address",
                        f"{CLIENT}/24", "--connections", "100", "--huge", "plain", *options], timeout=60)
        assert [line for line in done.stdout.splitlines() if line in ("good", "bad")] == 2 * [answers], done

    def stop(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        return process.communicate(timeout=20)[1]


@pytest.fixture(name="wire")
def a_wire():
    with tempfile.TemporaryDirectory(prefix="c10m-wire-") as folder:
        wire = Wire(folder)
        yield wire
        for process in wire.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if all(process.returncode == 0 for process in wire.processes):
            assert os.listdir(folder) == []


def processor_seconds(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("options", [[], ["--no-checksums"], ["--workers", "2"]])
def test_echo(wire, options):
    server = wire.serve("--verbose", *options)
    wire.call(*[word for word in options if "checksum" in word])
    said = wire.stop(server)
    assert "port: wire " in said and "frames received" in said and "descriptors refused" not in said
    assert server.returncode == 0


def test_any_user(wire):
    """Memory and a socket are all it takes."""
    os.chmod(os.path.dirname(wire.path), 0o777)
    server = wire.serve(before=["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else [])
    wire.call()
    wire.stop(server)


def test_peers_come_and_go(wire):
    """One that was killed in the middle of it is noticed; the next one finds the place free."""
    server = wire.serve()
    for _ in range(3):
        client = subprocess.Popen(
            [Hosts.built("c10m"), "serve", "discard", "--wire", wire.path, "--address", f"{CLIENT}/24",
             "--connections", "100", "--huge", "plain"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert "listening" in client.stdout.readline()
        client.kill()
        client.communicate()
        wire.call()
    assert server.poll() is None


def test_third_is_told(wire):
    server = wire.serve()
    wire.serve(address=CLIENT)
    third = command([Hosts.built("c10m"), "serve", "echo", "--wire", wire.path, "--address", "10.80.0.3/24"], check=False)
    assert third.returncode == 1 and "two programs share a wire" in third.stderr
    assert server.poll() is None


def test_server_starts_again(wire):
    """Who is left listens for the next one."""
    first = wire.serve()
    other = wire.serve(address=CLIENT)
    first.kill()
    first.communicate()
    time.sleep(0.5)
    again = wire.serve()
    answer = wire.stop(other)
    assert other.returncode == 0, answer
    wire.call()
    wire.stop(again)
    os.path.exists(wire.path) and os.unlink(wire.path)


def test_idle(wire):
    """Two ends with nothing to say sleep; a frame wakes them (the call afterwards)."""
    server = wire.serve()
    other = wire.serve(address=CLIENT)
    time.sleep(0.5)
    before = processor_seconds(server) + processor_seconds(other)
    time.sleep(3)
    assert processor_seconds(server) + processor_seconds(other) - before < 0.09
    wire.stop(other)
    before = processor_seconds(server)
    time.sleep(2)
    assert processor_seconds(server) - before < 0.06
    wire.call()


def test_hostile_messages(wire):
    """Whoever talks nonsense at the socket is sent away."""
    import socket
    server = wire.serve()
    for words in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 4096):
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stranger.connect(wire.path)
        stranger.send(words)
        stranger.close()
    wire.call()
    assert server.poll() is None
    wait_until(lambda: processor_seconds(server) < 5, what="rest")


def test_bounce(wire):
    """Bare frames, without TCP; whoever measures alone is told that nobody is there."""
    bounce = [Hosts.built("c10m"), "bench", "bounce", "--wire", wire.path, "--address"]
    alone = command([*bounce, CLIENT, "--to", SERVER, "--seconds", "1"], check=False)
    assert alone.returncode == 1 and "nothing came back" in alone.stderr
    process = subprocess.Popen([*bounce, SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wire.processes.append(process)
    assert process.stdout.readline().startswith("sends back: wire ")
    figures = json.loads(command([*bounce, CLIENT, "--to", SERVER, "--seconds", "1", "--json"]).stdout)
    assert figures["round_trips_per_second"] > 1000 and figures["bytes"] == 118
    wire.stop(process)
    assert process.returncode == 0


def test_bare_frames_by_a_schedule(wire):
    """What the machine itself makes of a rate: about as many frames as were meant, and how long each took."""
    bounce = [Hosts.built("c10m"), "bench", "bounce", "--wire", wire.path, "--address"]
    far = subprocess.Popen([*bounce, SERVER], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    wire.processes.append(far)
    assert far.stdout.readline().startswith("sends back: ")
    done = command([*bounce, CLIENT, "--to", SERVER, "--rate", "5000", "--seconds", "2", "--json"], timeout=30)
    result = json.loads(done.stdout)
    assert result["round_trips_per_second"] == pytest.approx(5000, rel=0.2)
    steps = [result["latency_us"][key] for key in ("p50", "p99", "p99.9", "p99.99", "max")]
    assert steps == sorted(steps) and steps[-1] > 0
    assert "latency_us" not in json.loads(command([*bounce, CLIENT, "--to", SERVER, "--seconds", "1", "--json"],
                                                  timeout=30).stdout)
    wire.stop(far)

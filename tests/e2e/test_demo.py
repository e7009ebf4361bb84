"""./dev demo --connections at a small scale: every step, both ports, and what is left behind."""

import glob
import json
import os
import signal
import subprocess
import time

import pytest

from hosts import ROOT, alone, build_directory, command, wait_until

pytestmark = alone  # it looks at what is left behind on the whole machine

DEMO = [os.path.join(ROOT, "tools", "demo-connections")]
KEYS = {"connections", "lost", "bytes_per_connection", "open_per_second", "requests_per_second_1000",
        "requests_per_second_all", "fanout_seconds", "ceiling_round_trips_per_second", "latency_us"}


@pytest.fixture(name="environment", autouse=True)
def tidy(monkeypatch):
    """Nothing is left behind: no namespace, no file, no setting of the machine."""
    monkeypatch.setenv("C10M_BUILD", build_directory())
    before = leftovers()
    yield
    wait_until(lambda: leftovers() == before, what="the end of all namespaces and files")


def leftovers():
    with open("/proc/sys/net/ipv4/tcp_child_ehash_entries", encoding="ascii") as file:
        entries = file.read()
    names = command(["ip", "netns", "list"]).stdout.split()
    return entries, [name for name in names if name.startswith("c10m-d")], glob.glob("/tmp/c10m-demo-*")


def demo(tmp_path, *words):
    path = tmp_path / "figures.json"
    done = command([*DEMO, "--connections", "20k", "--seconds", "1", "--json", path, *words], timeout=110)
    return json.loads(path.read_text()), done.stdout


def check(figures, connections):
    assert KEYS <= set(figures)
    assert (figures["connections"], figures["proven"], figures["lost"]) == (connections, connections, 0)
    assert (figures["message_arrived"], figures["message_wrong"]) == (connections, 0)
    assert 0 < figures["open_per_second"] and 0 < figures["requests_per_second_all"]
    latency = figures["latency_us"]
    assert list(latency) == ["p50", "p99", "p99.9", "p99.99", "max"]
    assert sorted(latency.values()) == list(latency.values())


def test_wire(tmp_path):
    figures, table = demo(tmp_path, "--port", "wire")
    check(figures, 20000)
    assert "kernel" not in figures
    assert 250 < figures["bytes_per_connection"] < 400
    assert figures["server_memory_bytes"] > 20000 * 290
    assert "connections held                                20,000\n" in table


def test_veth_and_the_kernel(tmp_path):
    figures, _ = demo(tmp_path, "--kernel-connections", "2000")
    check(figures, 20000)
    check({"bytes_per_connection": 0, **figures["kernel"]}, 2000)
    assert figures["kernel"]["ended_by"] == "--kernel-connections"
    assert 0 < figures["requests_per_second_1000"] < figures["ceiling_round_trips_per_second"]


def test_interrupted():
    """Ctrl-C in the middle of it."""
    def hear():  # who runs the tests in the background of a shell ignores it, and so would this
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen([*DEMO, "--connections", "20k", "--seconds", "30"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, preexec_fn=hear) as process:
        for line in process.stderr:
            if " load " in line:
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 1 and "interrupted" in said


@pytest.mark.parametrize("words, sentence", [
    (["--connections", "60M"], "too little memory"),
    (["--connections", "none"], "no number of connections"),
    (["--connections", "1k", "--port", "wire", "--kernel", "only"], "needs the veth pair"),
])
def test_refused(words, sentence):
    done = command([*DEMO, *words], check=False)
    assert done.returncode in (1, 2) and sentence in done.stderr


def test_in_the_machine_s_first_session(tmp_path):
    """Which has no weight among sessions: the file that tells it is empty."""
    empty = tmp_path / "autogroup"
    empty.touch(0o444)
    hidden = f'mount --bind {empty} /proc/$$/autogroup && exec "$@"'
    done = command(["unshare", "--mount", "bash", "-c", hidden, "demo", *DEMO, "--connections", "60M"], check=False)
    assert done.returncode in (1, 2) and "too little memory" in done.stderr

"""The c10m command: help, usage errors, refusals of the machine, and what it leaves behind."""

import json
import re
import shutil
import signal
import time

import pytest

from hosts import ROOT, Hosts, command

SERVERS = ["echo", "discard", "chargen", "http"]


def c10m(*args, check=False, **options):
    return command([Hosts.built("c10m"), *args], check=check, timeout=60, **options)


def is_sentence(text):
    """One line that starts with the program's name and says something."""
    return re.fullmatch(r"c10m: [^\n]{15,}\n", text) is not None


# --- help ----------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["help"], ["serve", "--help"], ["bench", "--help"],
                                  ["bench", "stack", "--help"], ["bench", "open", "--help"], ["version", "--help"], ["bridge", "--help"],
                                  *[["serve", server, "--help"] for server in SERVERS]])
def test_help_goes_to_standard_output(args):
    done = c10m(*args)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: c10m")


@pytest.mark.parametrize("args", [["serve", "http"], ["serve", "echo"], ["bench", "stack"], ["bridge"]])
def test_every_option_that_is_understood_is_explained(args):
    """getopt takes any unambiguous beginning of an option: what it knows must be in the help."""
    rows = re.findall(r"^  --([a-z0-9-]+)( [A-Z])?", c10m(*args, "--help").stdout, re.MULTILINE)
    listed = [name for name, _ in rows]
    assert {"help", "version"} < set(listed) and len(listed) > 6
    for name, argument in rows:
        if name not in ("help", "version"):
            done = c10m(*args, f"--{name}", *([] if argument else ["--bogus"]))
            assert done.returncode == 2
            assert (f"--{name} needs a value" if argument else "'--bogus'") in done.stderr
    # What no listed option starts with is not understood.
    for letter in "abcdefghijklmnopqrstuvwxyz":
        if not any(name.startswith(letter) for name in listed):
            assert f"'--{letter}' is not understood" in c10m(*args, f"--{letter}").stderr


@pytest.mark.parametrize("words, code, answer", [
    (["sim", "--help"], 0, "usage: c10m-sim"), (["fuzz", "--help"], 0, "usage: ./dev fuzz"),
    (["fuzz", "foo"], 2, "there are frame, session")])
def test_dev_answers_before_it_builds(tmp_path, words, code, answer):
    """In a copy that has nothing to build."""
    for path in "dev", "tools/run-fuzzers", "tests/sim/main.c":
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"{ROOT}/{path}", tmp_path / path)
    for name in "frame", "session":
        (tmp_path / "tests/fuzz/corpus" / name).mkdir(parents=True)
    done = command([tmp_path / "dev", *words], check=False)
    assert done.returncode == code and answer in done.stdout + done.stderr, done.stderr


def test_version():
    done = c10m("version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"c10m \d+\.\d+\.\d+\n", done.stdout)
    assert c10m("--version").stdout == done.stdout


# --- wrong usage -----------------------------------------------------------------


@pytest.mark.parametrize("args", [
    ["bogus"], ["version", "now"], ["serve", "gopher"], ["bench", "kernel"], ["serve", "echo"],
    ["serve", "echo", "--interface", "lo"], ["serve", "echo", "--address", "10.9.9.9/24"],
    ["serve", "echo", "--port"], ["serve", "echo", "--port", "99999"], ["serve", "echo", "--bogus"],
    ["serve", "echo", "operand"], ["serve", "echo", "--body-bytes", "7"], ["serve", "http", "--body-bytes", "x"],
    ["serve", "echo", "--interface", "lo", "--address", "10.9.9.9/24", "--workers", "2", "--cpu", "0,1,2"],
    ["serve", "echo", "--interface", "lo", "--address", "10.9.9.9/24", "--capture-filter", "tcp"],
    ["serve", "echo", "--interface", "lo", "--address", "10.9.9.0/24"],
    ["serve", "echo", "--interface", "lo", "--address", "127.0.0.1/8"],
    ["serve", "echo", "--interface", "lo", "--address", "10.9.9.9/24", "--source-burst", "5"],
    ["serve", "echo", "--interface", "lo", "--address", "10.9.9.9/24", "--tap-address", "10.9.9.8"],
    ["serve", "echo", "--interface", "lo", "--address", "10.9.9.9/24", "--fault", "loss=300%"],
    ["bench", "stack", "--connections", "0"], ["bench", "stack", "--burst", "65"], ["bench", "stack", "--acks", "x"],
    ["bench", "stack", "1000"], ["bridge"], ["bridge", "--a", "eth0"], ["bridge", "eth0", "eth1"],
    ["bridge", "--a", "eth0", "--b", "eth1", "--fault", "rate=fast"], ["bridge", "--fault-ab", "ecn=5"]])
def test_wrong_usage_is_a_sentence_and_exit_code_2(args):
    done = c10m(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_sentence(done.stderr), done.stderr


@pytest.mark.parametrize("args", [[], ["serve"], ["bench"]])
def test_without_a_verb_the_help_goes_to_standard_error(args):
    done = c10m(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: c10m")


# --- what the machine refuses -------------------------------------------------------


def serve_args(*more, interface="eth0", address="10.77.0.10/24"):
    return [Hosts.built("c10m"), "serve", "echo", "--interface", interface, "--address", address,
            "--connections", "1000", *more]


def refused(hosts, args, *words):
    done = hosts.run("server", args, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert is_sentence(done.stderr), done.stderr
    for word in words:
        assert word in done.stderr
    assert hosts.xdp("server") is None


def test_refusals_of_the_machine_are_sentences_and_leave_nothing(hosts, tmp_path):
    refused(hosts, serve_args(interface="eth9"), "eth9")
    refused(hosts, serve_args(address=f"{hosts.address('server')}/24"), hosts.address("server"), "eth0")
    refused(hosts, serve_args(address=f"{hosts.address('client')}/24"), "in use by", hosts.mac("client"))
    refused(hosts, serve_args(address="10.99.0.1"), "--address 10.99.0.1/24")
    refused(hosts, serve_args("--gateway", "10.78.0.1"), "10.78.0.1")
    refused(hosts, serve_args("--cpu", "999"), "999")
    refused(hosts, serve_args("--mtu", "9000"), "9000")
    done = hosts.run("server", serve_args("--connections", "100M"), check=False)
    assert done.returncode == 2 and "67000000" in done.stderr, done.stderr
    refused(hosts, serve_args("--capture", tmp_path / "no" / "such" / "file"), "file")
    refused(hosts, serve_args("--capture", tmp_path / "file", "--capture-filter", "not a filter"), "not a filter")
    hosts.run("server", ["ip", "link", "set", "eth0", "down"])
    refused(hosts, serve_args(), "eth0", "down")


def test_without_privileges_it_says_so(hosts):
    args = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *serve_args()]
    refused(hosts, args, "root")


def test_a_second_server_on_the_interface_is_refused(hosts):
    first, _ = hosts.start("server", serve_args())
    done = hosts.run("server", serve_args(address="10.77.0.11/24"), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert is_sentence(done.stderr), done.stderr
    assert hosts.pings("client", "10.77.0.10", 2) == 2
    code, _, _ = hosts.stop(first)
    assert code == 0
    assert hosts.xdp("server") is None


# --- start and stop --------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ready_line_and_orderly_stop(hosts, number):
    process, line = hosts.start("server", serve_args("--port", "7007"))
    assert line == "echo: listening on 10.77.0.10:7007\n"
    code, out, err = hosts.stop(process, number)
    assert (code, out) == (0, "")
    for word in "port: afxdp eth0", "memory: ", "1000 connections", "processor ":
        assert word in err
    assert hosts.xdp("server") is None


def test_the_prefix_comes_from_the_interface(hosts):
    process, line = hosts.start("server", serve_args(address="10.77.0.10"))
    assert line == "echo: listening on 10.77.0.10:7\n"
    _, _, err = hosts.stop(process)
    assert "10.77.0.10/24" in err


def test_idle_costs_next_to_nothing(hosts):
    """Under 2% of a processor, by the kernel's account."""
    process, _ = hosts.start("server", serve_args())
    time.sleep(0.5)

    def used_ns():
        with open(f"/proc/{process.pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0])

    before = used_ns()
    time.sleep(3)
    assert used_ns() - before < 0.02 * 3e9
    hosts.stop(process)


# --- figures -----------------------------------------------------------------------------


def test_bench_prints_json_alone_on_standard_output():
    done = c10m("bench", "stack", "--connections", "500", "--seconds", "1", "--burst", "16", "--json", check=True)
    figures = json.loads(done.stdout)
    assert figures["connections"] == 500 and figures["burst"] == 16
    assert figures["requests"] > 1000
    assert 1 < figures["ns_per_request"] < 1e6
    assert 64 < figures["bytes_per_connection"] < 4096
    assert figures["page_size"] in (4096, 65536, 2 << 20, 1 << 30)
    assert "ns per request" in done.stderr


@pytest.mark.parametrize("more", [["--threads", "1"], ["--threads", "2", "--given-ports"]])
def test_connections_open_and_close_and_all_memory_comes_back(more):
    done = c10m("bench", "open", "--connections", "5000", "--rounds", "3", "--json", *more, check=True)
    figures = json.loads(done.stdout)
    assert figures["connections"] == 5000 and figures["open_per_second"] > 1000
    assert done.stderr.count("opened") == done.stderr.count("closed") == 3


def test_bench_without_json_leaves_standard_output_alone():
    done = c10m("bench", "stack", "--connections", "1", "--seconds", "1", check=True)
    assert done.stdout == ""
    assert "ns per request" in done.stderr

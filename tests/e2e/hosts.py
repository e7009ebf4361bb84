"""hosts.py - small machines on one machine: network namespaces joined by a veth pair.

    with Hosts() as hosts:                     # "client" and "server"
        hosts.run("client", ["ping", "-c1", hosts.address("server")])
        server = hosts.popen("server", [hosts.built("c10m"), "serve", ...])

      client                       server
      eth0 10.77.0.1/24  ======  eth0 10.77.0.2/24     both the kernel's
                                      10.77.0.10 and up: nobody's, for c10m to claim

Names carry the pid of the test run, so runs do not meet. Leaving the block kills what still
runs in the namespaces and removes them, whatever went wrong. The kernel's offloads are off
unless asked for: AF_XDP cannot see which checksums a kernel peer left to hardware.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PREFIX = "c10m-e2e"
NUMBERS = itertools.count()

# For tests that measure time, or need the whole machine: no other runs beside them.
alone = pytest.mark.alone

SEND_FRAMES = """
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
for line in sys.stdin:
    link.send(bytes.fromhex(line))
"""


def build_directory():
    """Where the programs under test are: $C10M_BUILD, or build/."""
    return os.path.abspath(os.environ.get("C10M_BUILD", os.path.join(ROOT, "build")))


def command(args, check=True, **options):
    """Runs a program to its end; its output is text. Fails with what the program said."""
    args = [str(arg) for arg in args]
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    done = subprocess.run(args, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(condition, seconds=5, what="it"):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def remove_namespace(name):
    """Kills what runs in a namespace and removes it."""
    pids = command(["ip", "netns", "pids", name], check=False).stdout.split()
    for pid in pids:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    command(["ip", "netns", "delete", name], check=False)


def remove_leftovers():
    """Removes the namespaces of test runs that were killed."""
    for line in command(["ip", "netns", "list"], check=False).stdout.splitlines():
        match = re.match(PREFIX + r"-(\d+)-\S+", line)
        if match and not alive(match.group(1)):
            remove_namespace(match.group(0))


class Hosts:
    def __init__(self, queues=1, offloads=False, network="10.77.0", mtu=1500):
        """queues: of each interface. offloads: leave the kernel's on. network: the first three bytes."""
        self.names = ["client", "server"]
        self.queues, self.offloads, self.network, self.mtu = queues, offloads, network, mtu
        self.prefix = f"{PREFIX}-{os.getpid()}-{next(NUMBERS)}"
        self.processes = []
        self.others = []  # hosts without an address

    # --- what a test asks ---------------------------------------------------

    def netns(self, host):
        """The name of the host's network namespace."""
        return f"{self.prefix}-{host}"

    def interface(self, host):
        assert host in self.names
        return "eth0"

    def address(self, host):
        """The address that the kernel of this host has."""
        return f"{self.network}.{self.names.index(host) + 1}"

    def claimed(self, number=0):
        """An address of the same network that no kernel has."""
        return f"{self.network}.{10 + number}"

    def mac(self, host):
        return self.link(host)["address"]

    def link(self, host, interface="eth0"):
        """What `ip -d link` knows about the interface, as a dictionary."""
        return json.loads(self.run(host, ["ip", "-d", "-json", "link", "show", interface]).stdout)[0]

    def xdp(self, host):
        """The XDP program on the host's interface, as `ip` shows it; None when there is none."""
        return self.link(host).get("xdp")

    @staticmethod
    def built(name):
        """The path of a program under test."""
        path = os.path.join(build_directory(), name)
        assert os.path.exists(path), f"{path} is missing: run ./dev build, or set C10M_BUILD"
        return path

    # --- what a test does ---------------------------------------------------

    def exec_args(self, host, args):
        return ["ip", "netns", "exec", self.netns(host)] + [str(arg) for arg in args]

    def run(self, host, args, check=True, timeout=30, **options):
        """Runs a program on a host to its end; see command()."""
        return command(self.exec_args(host, args), check=check, timeout=timeout, **options)

    def popen(self, host, args, **options):
        """Starts a program on a host: its pid is the program's own, its output text in pipes.
        It is killed at the end of the block if it still runs."""
        settings = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process = subprocess.Popen(self.exec_args(host, args), **{**settings, **options})
        self.processes.append(process)
        return process

    def start(self, host, args, **options):
        """popen(), then waits for the first line on standard output, and returns (process, line)."""
        process = self.popen(host, args, **options)
        line = process.stdout.readline()
        if not line:
            process.wait(10)
            raise AssertionError(f"{args[0]} ended with code {process.returncode}: {process.stderr.read()}")
        return process, line

    def stop(self, process, number=signal.SIGTERM, timeout=10):
        """Sends a signal, waits for the end, returns (exit code, standard output, standard error)."""
        process.send_signal(number)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err

    def pings(self, host, address, count=1, timeout=1, size=56):
        """How many of so many pings are answered."""
        done = self.run(host, ["ping", "-n", "-i", "0.05", "-c", count, "-W", timeout, "-s", size, address],
                        check=False)
        match = re.search(r"(\d+) received", done.stdout)
        return int(match.group(1)) if match else 0

    def send_frames(self, host, frames):
        """Sends whole Ethernet frames (bytes) from the host's interface, right or wrong as they are."""
        lines = "\n".join(bytes(frame).hex() for frame in frames)
        self.run(host, ["/usr/bin/python3", "-c", SEND_FRAMES], input=lines)

    def lose(self, host, percent):
        """From now on the host's kernel drops so many percent of what it receives; 0 ends it."""
        self.run(host, ["nft", "flush", "ruleset"])
        if percent:
            rule = f"numgen random mod 100 < {percent} drop" if percent < 100 else "drop"
            self.run(host, ["nft", f"add table ip c10m; add chain ip c10m input {{ type filter hook input "
                            f"priority 0; }}; add rule ip c10m input {rule}"])

    def enter_vlan_5(self, host):
        """From now on the host's kernel is in VLAN 5 with what it has on its interface."""
        device, program = self.interface(host), self.built("tests/tools/vlan.bpf.o")
        self.run(host, ["tc", "qdisc", "add", "dev", device, "clsact"])
        for way in "egress", "ingress":
            self.run(host, ["tc", "filter", "add", "dev", device, way, "bpf", "direct-action", "object-file", program,
                            "section", f"tc/{way}"])

    # --- setting up and cleaning up -----------------------------------------

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def build(self):
        for host in self.names + self.others:
            command(["ip", "netns", "add", self.netns(host)])
            # No IPv6: its own chatter would disturb counts.
            self.run(host, ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                            "net.ipv6.conf.default.disable_ipv6=1"])
            self.run(host, ["ip", "link", "set", "lo", "up"])
        self.build_links()
        for host in self.names:
            self.build_host(host)
        for host in self.names:  # a link is up when both ends are
            wait_until(lambda: self.link(host)["operstate"] == "UP", what=f"the link of {host}")

    def build_links(self):
        self.join(self.names[0], "eth0", self.names[1], "eth0")

    def join(self, one, interface, other, others_interface):
        """A cable between two hosts."""
        queues = ["numtxqueues", self.queues, "numrxqueues", self.queues]
        command(["ip", "link", "add", interface, "netns", self.netns(one), *queues, "type", "veth", "peer", "name",
                 others_interface, "netns", self.netns(other), *queues])

    def build_host(self, host):
        self.run(host, ["ip", "address", "add", f"{self.address(host)}/24", "dev", "eth0"])
        if not self.offloads:
            self.run(host, ["ethtool", "-K", "eth0", "tx", "off", "txvlan", "off"])
        self.run(host, ["ip", "link", "set", "eth0", "mtu", self.mtu, "up"])

    def remove(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in process.stdout, process.stderr:
                if stream:
                    stream.close()
        for host in self.names + self.others:
            remove_namespace(self.netns(host))


class Bridged(Hosts):
    """The same with a machine in the wire, on which c10m bridge runs: see Bridge.

      client                  wire                  server
      eth0 10.77.0.1/24  ==  eth0  eth1  ==  eth0 10.77.0.2/24
    """

    def __init__(self, **words):
        super().__init__(**words)
        self.others = ["wire"]

    def build_links(self):
        for host, interface in ("client", "eth0"), ("server", "eth1"):
            self.join(host, "eth0", "wire", interface)
            self.run("wire", ["ip", "link", "set", interface, "mtu", self.mtu, "up"])


class Bridge:
    """c10m bridge between the hosts of a Bridged:

    with Bridge(bridged, "--fault", "delay=20ms,loss=1%") as bridge:
        ...
    bridge.report["a_to_b"]["lost"]     # a is the client's side

    Its report is there after the block, or after stop(); each frame must be accounted for."""

    def __init__(self, hosts, *words):
        self.hosts, self.report = hosts, None
        self.process, line = hosts.start("wire", [Hosts.built("c10m"), "bridge", "--a", "eth0", "--b", "eth1",
                                                  "--json", *words])
        assert line == "bridge: eth0 and eth1\n"

    def stop(self, number=signal.SIGTERM):
        code, out, err = self.hosts.stop(self.process, number)
        assert (code, err) == (0, "")
        self.report = json.loads(out)
        for way in self.report.values():
            out = sum(way[key] for key in ("sent", "lost", "queue_drops", "overflowed", "unsent", "refused", "waiting"))
            assert way["received"] + way["duplicated"] == out, way
        return self.report

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()

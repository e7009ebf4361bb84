"""Second judges: what programs that others wrote say of every frame that c10m sends. docs/judges.md.

tshark dissects what went over the wire, a strict conntrack stands between the two ends, nmap looks from outside."""

import collections
import functools
import json
import os
import re
import time
import xml.etree.ElementTree as xml

import pytest

from hosts import Bridge, Bridged, Hosts, command
from test_transfer import ADDRESS, MB, PORT, Routed, Transfer, check, content_file, end, exchange  # noqa: F401

OURS, KERNEL = ADDRESS, "10.77.0.2"
BOTH_ROLES = pytest.mark.parametrize("listens", [True, False], ids=["c10m_listens", "c10m_connects"])
BAD_WIRE = "loss=2%,duplicate=1%,reorder=1%,delay=2ms,seed=5"


# --- tshark --------------------------------------------------------------------------------

# What tshark remarks on any network that loses, delays and disorders: facts about the path or the windows, no
# faults of a sender. The protocol's own events ("Connection establish...") come with the severity "chat".
OF_THE_PATH = re.compile(
    r"retransmission|out-of-order|Duplicate ACK|Previous segment|ACKed segment|window is (now completely )?full|"
    r"window specified by the receiver is now completely full|zero window|window update|keep-alive|"
    r"RACK|D-SACK|Connection reset", re.IGNORECASE)


class Capture:
    """All that passes an interface inside the block; then .remarks(address) about who sent from there."""

    def __init__(self, hosts, host, interface, path):
        self.path = path
        self.process = hosts.popen(host, ["tcpdump", "-U", "-B", "65536", "-s", "0", "-i", interface, "-w", path])
        line = self.process.stderr.readline()
        while "listening on" not in line:
            assert line, "tcpdump has ended"
            line = self.process.stderr.readline()
        self.hosts = hosts

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        time.sleep(1.2)  # as long as a frame may wait in its ring
        _, _, err = self.hosts.stop(self.process)
        if kind is None:
            assert re.search(r"\b0 packets dropped by kernel", err), err

    def fields(self, condition, *names):
        """Of each frame that meets the condition, in tshark's language."""
        args = ["tshark", "-n", "-r", self.path, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
                "-o", "tcp.try_heuristic_first:FALSE", "-d", f"tcp.port=={PORT},data",  # what the payload says is random
                "-Y", condition, "-T", "fields", "-E", "separator=;", "-E", "aggregator=|"]
        for name in names:
            args += ["-e", name]
        return [line.split(";") for line in command(args).stdout.splitlines()]

    def frames(self, address):
        return len(self.fields(f"ip.src == {address}", "frame.number"))

    def remarks(self, address):
        """How often tshark says what about frames from this address; bad checksums and malformed frames among it."""
        found = collections.Counter()
        bad = 'tcp.checksum.status == "Bad" || ip.checksum.status == "Bad" || _ws.malformed || _ws.expert'
        for checksum, header, texts in self.fields(f"ip.src == {address} && ({bad})", "tcp.checksum.status",
                                                   "ip.checksum.status", "_ws.expert.message"):
            found["bad TCP checksum"] += checksum == "0"
            found["bad IP checksum"] += header == "0"
            for text in texts.split("|"):
                found[re.sub(r"[0-9]+", "N", text)] += text != ""
        return +found

    def faults(self, address, kernel=None):
        """Those that a sender is to blame for, and that the kernel does not get."""
        return {text: count for text, count in self.remarks(address).items()
                if not OF_THE_PATH.search(text) and not is_event(text) and text not in (kernel or {})}


def is_event(text):
    return text.startswith(("Connection establish", "Connection finish", "This frame"))


def between_kernels(hosts, content, path, spec):
    """What tshark says of the kernel's own frames under the same conditions."""
    peer = os.path.join(os.path.dirname(__file__), "../tools/transfer_peer.py")
    with Bridge(hosts, *(["--fault", spec] if spec else [])), Capture(hosts, "wire", "eth1", path) as capture:
        listener = hosts.popen("server", ["/usr/bin/python3", peer, content, f"listen={KERNEL}:{PORT}", "count=1",
                                          f"send={MB}"])
        assert listener.stdout.readline() == "ready\n"
        caller = hosts.popen("client", ["/usr/bin/python3", peer, content, f"connect={KERNEL}:{PORT}", "count=1",
                                        f"send={MB}"])
        assert caller.stdout.readline() == "ready\n"
        for process in caller, listener:
            check(end(process), MB, MB)
    assert capture.frames(KERNEL) > 500
    return capture.remarks(KERNEL)


@functools.cache
def remarks_on_the_kernel(content, path, spec):
    with Bridged() as hosts:
        return between_kernels(hosts, content, path, spec)


@BOTH_ROLES
@pytest.mark.parametrize("spec", [None, BAD_WIRE], ids=["good_wire", "bad_wire"])
def test_tshark_finds_no_fault(content, tmp_path, tmp_path_factory, listens, spec):
    """Both ways at once; all checksums are looked at."""
    kernel = remarks_on_the_kernel(content, tmp_path_factory.getbasetemp() / f"kernel-{spec is None}", spec)
    with Bridged() as hosts:
        transfer = Transfer(hosts, content)
        with Bridge(hosts, *(["--fault", spec] if spec else [])), \
                Capture(hosts, "wire", "eth1", tmp_path / "c10m.pcap") as capture:
            exchange(transfer, listens, 3 * MB, 3 * MB)
    assert capture.frames(OURS) > 2000
    print(capture.remarks(OURS))
    assert capture.faults(OURS, kernel) == {}


def test_tshark_finds_no_fault_with_ends_of_all_kinds(content, tmp_path):
    """Resets, half-closes, closed windows, refused connections."""
    with Bridged() as hosts:
        transfer = Transfer(hosts, content)
        with Bridge(hosts), Capture(hosts, "wire", "eth1", tmp_path / "c10m.pcap") as capture:
            exchange(transfer, True, 3000, 5000, count=50)
            exchange(transfer, True, 200_000, 1000, c10m=["after_eof=1"])
            exchange(transfer, False, 0, 300_000, c10m=["pause_bytes=100001", "pause_ms=600"])
            exchange(transfer, True, 300_000, 0, kernel=["receive_buffer=8192", "pause_bytes=100001", "pause_ms=600"])
            ours, theirs = transfer.pair(True, ["send=10000000"], ["close_after=300000"])
            assert end(theirs)["reason"] == "closed"
            assert end(ours, 5)["reason"] == "reset"
            transfer.stop(ours)
            hosts.run("client", ["nc", "-zw1", OURS, "9"], check=False)
    assert capture.frames(OURS) > 500
    assert capture.faults(OURS) == {}


def test_the_judge_sees_faults(hosts, tmp_path):
    """A frame with a wrong checksum, and one that is cut short: else all of the above says nothing."""
    from scapy.all import IP, TCP, Ether

    link = Ether(src=hosts.mac("client"), dst=hosts.mac("server"))
    good = bytes(link / IP(src=KERNEL, dst=OURS) / TCP(sport=5, dport=6, options=[("MSS", 1460)]))
    bad = bytearray(good)
    bad[50] ^= 1
    cut = bytearray(good)
    cut[46] = 0xf0  # the TCP header says that it is longer than the packet
    with Capture(hosts, "server", "eth0", tmp_path / "faults.pcap") as capture:
        hosts.send_frames("client", [good, bytes(bad), bytes(cut)])
    faults = capture.faults(KERNEL)
    assert faults["bad TCP checksum"] >= 1 and len(faults) >= 2, faults


# --- conntrack -----------------------------------------------------------------------------

RULES = """
table ip judge {
	counter ours { }
	counter theirs { }
	counter total { }
	chain forward {
		type filter hook forward priority 0;
		counter name total
		ct state invalid ip saddr 10.77.0.10 counter name ours
		ct state invalid counter name theirs
	}
	chain lossy {
		type filter hook forward priority 10;
		numgen random mod 1000 < LOSS drop
	}
}
"""


class Judged(Routed):
    """The router follows each connection, strictly: docs of nf_conntrack say what the two settings mean."""

    def build(self):
        super().build()
        for name in "nf_conntrack_tcp_be_liberal", "nf_conntrack_tcp_loose":
            done = self.run("router", ["sysctl", "-qw", f"net.netfilter.{name}=0"], check=False)
            assert done.returncode == 0, f"this kernel has no connection tracking (nf_conntrack): {done.stderr}"
        self.judge(0)

    def judge(self, loss_per_mille):
        self.run("router", ["nft", "flush", "ruleset"])
        rules = RULES.replace("LOSS", str(loss_per_mille)) if loss_per_mille else \
            re.sub(r"\tchain lossy \{.*?\n\t\}\n", "", RULES, flags=re.DOTALL)
        self.run("router", ["nft", "-f", "-"], input=rules)

    def counted(self):
        listed = json.loads(self.run("router", ["nft", "-j", "list", "counters"]).stdout)["nftables"]
        return {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listed if "counter" in entry}


@pytest.fixture(name="judged")
def transfer_through_a_judge(content):
    with Judged() as hosts:
        yield Transfer(hosts, content, "--gateway", "10.77.0.1")


def innocent(judged, least):
    counts = judged.hosts.counted()
    assert counts["total"] > least, counts
    assert counts["ours"] == 0, counts


@BOTH_ROLES
@pytest.mark.parametrize("loss_per_mille", [0, 20])
def test_conntrack_finds_nothing_invalid(judged, listens, loss_per_mille):
    judged.hosts.judge(loss_per_mille)
    exchange(judged, listens, 4 * MB, 4 * MB)
    innocent(judged, 4000)


def test_conntrack_finds_nothing_invalid_in_ends_of_all_kinds(judged):
    """Very many connections, half-closes both ways, closed windows, resets both ways, nobody there."""
    exchange(judged, True, 3000, 5000, count=200)
    exchange(judged, False, 3000, 5000, count=200)
    exchange(judged, True, 200_000, 1000, c10m=["after_eof=1"])
    exchange(judged, True, 1000, 200_000, kernel=["after_eof=1"])
    exchange(judged, True, 0, 400_000, c10m=["pause_bytes=100001", "pause_ms=600"])
    exchange(judged, True, 400_000, 0, kernel=["receive_buffer=8192", "pause_bytes=100001", "pause_ms=600"])
    for words in ["close_after=300000"], ["send=10000000000"]:
        ours, theirs = judged.pair(True, ["send=10000000000"], words)
        if words[0].startswith("close"):
            end(theirs)
        else:
            judged.wait_until_connected()
            theirs.kill()
        assert end(ours, 5)["reason"] == "reset"
        judged.stop(ours)
    judged.hosts.run("client", ["nc", "-zw1", OURS, "9"], check=False)
    innocent(judged, 3000)


def test_conntrack_would_find_it(judged):
    """Data of no connection, and an acknowledgement of what nobody sent."""
    from scapy.all import IP, TCP, Ether

    hosts = judged.hosts
    router = json.loads(hosts.run("router", ["ip", "-json", "link", "show", "eth0"]).stdout)[0]["address"]
    frame = Ether(src=hosts.mac("server"), dst=router) / IP(src=OURS, dst="10.78.0.1") / TCP(
        sport=7, dport=7, flags="PA", seq=1, ack=1) / b"from nowhere"
    hosts.send_frames("server", [bytes(frame)] * 3)
    assert hosts.counted()["ours"] == 3


# --- nmap ----------------------------------------------------------------------------------


def test_nmap_learns_nothing_to_attack_with(hosts):
    """Initial sequence numbers cannot be guessed, the IP-ID tells nothing, a closed port is a closed port."""
    args = [Hosts.built("c10m"), "serve", "echo", "--interface", "eth0", "--address", f"{OURS}/24", "--connections",
            "2000"]
    process, _ = hosts.start("server", args)
    out = hosts.run("client", ["nmap", "-O", "-n", "-Pn", "-p", "1,7", "-oX", "-", OURS], timeout=60).stdout
    host = xml.fromstring(out).find("host")
    states = {port.get("portid"): port.find("state").get("state") for port in host.iter("port")}
    assert states == {"1": "closed", "7": "open"}
    sequence = host.find("tcpsequence")
    print(sequence.attrib, host.find("ipidsequence").attrib, host.find("tcptssequence").attrib)
    assert sequence.get("difficulty") == "Good luck!" and int(sequence.get("index")) > 200, sequence.attrib
    assert host.find("ipidsequence").get("class") == "All zeros"
    code, _, err = hosts.stop(process)
    assert code == 0, err

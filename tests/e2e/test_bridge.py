"""c10m bridge: a network emulator in the wire between two kernels, or between a kernel and c10m. What it is
told to do happens, as often as told; all else passes unharmed, and everything is counted."""

import json
import os
import random
import re
import signal
import threading
import time

import pytest

from hosts import ROOT, Bridge, Bridged, Hosts, alone, wait_until
from test_cli import is_sentence
from test_port_afxdp import cpu_share

PEER = os.path.join(ROOT, "tests/tools/transfer_peer.py")
PORT = 7000
MB = 1 << 20


@pytest.fixture(name="content", scope="session")
def content_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bridge") / "content"
    path.write_bytes(random.Random(1).randbytes(1_048_573))
    return f"content={path}"


def transfer(hosts, content, client_bytes, server_bytes, timeout=60):
    """A TCP stream between the two kernels, both ways, compared; the seconds until all was received."""
    address = f"{hosts.address('server')}:{PORT}"
    server = hosts.popen("server", ["/usr/bin/python3", PEER, content, f"listen={address}", f"send={server_bytes}"])
    assert server.stdout.readline() == "ready\n", server.stderr.read()
    client = hosts.popen("client", ["/usr/bin/python3", PEER, content, f"connect={address}", f"send={client_bytes}"])
    guard = threading.Timer(timeout, lambda: (client.kill(), server.kill()))
    guard.start()
    assert client.stdout.readline() == "ready\n", client.stderr.read()
    ends = [json.loads(process.stdout.readline() or "{}") for process in (client, server)]
    guard.cancel()
    for end, sent, received in (ends[0], client_bytes, server_bytes), (ends[1], server_bytes, client_bytes):
        wanted = {"reason": "normal", "sent": sent, "received": received, "wrong": 0, "right": True}
        assert {key: end.get(key) for key in wanted} == wanted
    return max(end["ms"] for end in ends) / 1000


SEND = """
import socket, sys, time
count, size, gap = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(count):
    s.sendto(number.to_bytes(4, "big") * (size // 4), (sys.argv[1], 9000))
    time.sleep(gap)
"""

RECEIVE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
s.bind(("", 9000))
print("ready", flush=True)
numbers, wrong = [], 0
s.settimeout(60)
while True:
    try:
        data = s.recv(65536)
    except socket.timeout:
        break
    s.settimeout(1)
    wrong += data != data[:4] * (len(data) // 4)
    numbers.append(int.from_bytes(data[:4], "big"))
print(len(numbers), len(set(numbers)), sum(b < a for a, b in zip(numbers, numbers[1:])), wrong)
"""


def datagrams(hosts, count, size=100, gap=0.0):
    """Numbered datagrams from the client to the server: how many came, how many different ones, how often one came
    behind a later one, and how many were damaged."""
    receiver, _ = hosts.start("server", ["/usr/bin/python3", "-c", RECEIVE])
    hosts.run("client", ["/usr/bin/python3", "-c", SEND, hosts.address("server"), count, size, gap], timeout=60)
    out, err = receiver.communicate(timeout=60)
    assert not err
    return tuple(int(word) for word in out.split())


def kernel_count(hosts, host, name):
    """A counter of the host's kernel."""
    return int(re.search(rf"^{name}\s+(\d+)", hosts.run(host, ["nstat", "-asz", name]).stdout, re.MULTILINE).group(1))


def round_trips_ms(hosts, count=20):
    out = hosts.run("client", ["ping", "-n", "-i", "0.02", "-c", count + 1, hosts.address("server")]).stdout
    return [float(ms) for ms in re.findall(r"time=([\d.]+) ms", out)][1:]  # the first one waits for ARP


def share(count, of, chance):
    """Within five standard deviations."""
    assert abs(count - of * chance) <= 5 * (of * chance * (1 - chance)) ** 0.5 + 1, (count, of, chance)


# --- what passes ----------------------------------------------------------------------


def test_a_wire_that_does_nothing(bridged, content):
    """The kernels' offloads are on: checksums are left undone, and frames are up to 64 KB long."""
    with Bridge(bridged) as bridge:
        assert bridged.pings("client", bridged.address("server"), 3) == 3
        transfer(bridged, content, 64 * MB, 64 * MB)
    for way in bridge.report.values():
        assert way["bytes"] / way["received"] > 5000
        assert way["sent"] == way["received"]
        assert way["missed"] == way["long_frames"] == way["delayed"] == 0
    for host in "client", "server":
        assert kernel_count(bridged, host, "TcpInCsumErrors") == 0
        assert kernel_count(bridged, host, "TcpInErrs") == 0


def test_a_wire_without_offloads(content):
    with Bridged() as hosts:
        with Bridge(hosts) as bridge:
            transfer(hosts, content, 16 * MB, 16 * MB)
        assert bridge.report["a_to_b"]["sent"] > 16 * MB / 1448


@pytest.mark.parametrize("words", [[], ["--fault", "delay=1ms"]], ids=["whole", "cut"])
def test_ipv6(bridged, words):
    """With neighbour discovery, which goes to groups, fragments and long frames."""
    for host, number in ("client", 1), ("server", 2):
        bridged.run(host, ["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0", "net.ipv6.conf.eth0.accept_dad=0"])
        bridged.run(host, ["ip", "address", "add", f"fd00::{number}/64", "dev", "eth0", "nodad"])
    with Bridge(bridged, *words) as bridge:
        wait_until(lambda: bridged.pings("client", "fd00::2"), what="an answer over IPv6")
        assert bridged.pings("client", "fd00::2", 3, size=5000) == 3
        stream_one_way(bridged, "fd00::2", 16 * MB)
    assert bridge.report["a_to_b"]["refused"] == 0
    assert (bridge.report["a_to_b"]["long_frames"] > 100) == bool(words)


@pytest.mark.parametrize("words", [[], ["--fault", "delay=1ms"]], ids=["whole", "cut"])
def test_vlan_tags_stay(bridged, words):
    """The kernel takes them out of received frames, one, and shows the other."""
    link = bytes.fromhex(bridged.mac("server").replace(":", "") + "020000000009")
    frames = [link + bytes.fromhex(tags) + b"\x88\xb5" + bytes(46) for tags in ("", "8100a005", "88a800078100e006")]
    with Bridge(bridged, *words):
        listener = bridged.popen("server", ["tcpdump", "-lennt", "-i", "eth0", "-c", "3", "-Q", "in"])
        while "listening on" not in (line := listener.stderr.readline()):  # before that its ring is not there
            assert line, "tcpdump has ended"
        bridged.send_frames("client", frames)
        lines = [line for line in listener.communicate(timeout=10)[0].splitlines() if not line.startswith("\t")]
    assert len(lines) == 3
    assert "vlan" not in lines[0]
    assert "vlan 5, p 5" in lines[1]
    assert "802.1Q-QinQ" in lines[2] and "vlan 7" in lines[2] and "vlan 6, p 7" in lines[2]


TAKE = """
import hashlib, socket, sys
s = socket.create_server((sys.argv[1], 9001), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
peer, digest = s.accept()[0], hashlib.sha256()
while data := peer.recv(1 << 16):
    digest.update(data)
print(digest.hexdigest())
"""

GIVE = """
import hashlib, random, socket, sys
data = random.Random(2).randbytes(int(sys.argv[2]))
with socket.create_connection((sys.argv[1], 9001)) as s:
    s.sendall(data)
print(hashlib.sha256(data).hexdigest())
"""


def stream_one_way(hosts, address, size):
    taker, _ = hosts.start("server", ["/usr/bin/python3", "-c", TAKE, address])
    given = hosts.run("client", ["/usr/bin/python3", "-c", GIVE, address, size], timeout=60).stdout
    assert taker.communicate(timeout=60) == (given, "")


# --- what is done to frames --------------------------------------------------------------


@alone
def test_delay(bridged):
    with Bridge(bridged, "--fault", "delay=20ms") as bridge:
        times = sorted(round_trips_ms(bridged))
        assert times[0] >= 40 and times[len(times) // 2] < 42
    assert bridge.report["a_to_b"]["delayed"] == bridge.report["a_to_b"]["received"] >= 21


@alone
def test_jitter(bridged):
    with Bridge(bridged, "--fault", "delay=20ms,jitter=10ms"):
        times = round_trips_ms(bridged, 40)
    times.sort()
    assert 20 <= times[0] < 35 and 45 < times[-3] < 65


@alone
def test_the_directions_have_their_own_faults(bridged):
    with Bridge(bridged, "--fault", "loss=100%", "--fault-ab", "delay=15ms", "--fault-ba", "delay=5ms") as bridge:
        assert 20 <= min(round_trips_ms(bridged)) < 22
    assert bridge.report["a_to_b"]["lost"] == bridge.report["b_to_a"]["lost"] == 0
    with Bridge(bridged, "--fault-ba", "loss=100%") as bridge:
        assert bridged.pings("client", bridged.address("server"), 3) == 0
    assert bridge.report["a_to_b"]["sent"] >= 3
    assert bridge.report["b_to_a"]["lost"] == bridge.report["b_to_a"]["received"] >= 3


def test_loss_duplicates_order_and_damage(bridged):
    spec = "loss=10%,duplicate=5%,reorder=4%,corrupt=2%,seed=3"
    with Bridge(bridged, "--fault-ab", spec) as bridge:
        errors = kernel_count(bridged, "server", "UdpInCsumErrors")
        came, different, behind, wrong = datagrams(bridged, 20000, gap=0.00002)
        errors = kernel_count(bridged, "server", "UdpInCsumErrors") - errors
    way = bridge.report["a_to_b"]
    assert 20000 <= way["received"] < 20010
    assert way["missed"] == 0
    share(way["lost"], way["received"], 0.1)
    share(way["duplicated"], way["received"] * 0.9, 0.05)
    share(way["reordered"], way["received"] * 0.9, 0.04)
    share(way["corrupted"], way["received"] * 0.9, 0.02)
    assert wrong == 0  # no damage goes unnoticed, though the sender left the checksum to others
    assert 0.7 * way["corrupted"] < errors < way["corrupted"]  # the others are damaged in the IP header
    assert way["sent"] - 1.2 * way["corrupted"] - 10 < came < way["sent"] - 0.9 * way["corrupted"]
    share(came - different, different, 0.05)
    assert 0.7 * way["reordered"] < behind < 1.2 * way["reordered"]


def test_the_same_seed_the_same_faults(bridged):
    def lost(seed):
        with Bridge(bridged, "--fault-ab", f"loss=30%,seed={seed}"):
            bridged.run("client", ["ip", "neighbour", "replace", bridged.address("server"), "lladdr",
                                   bridged.mac("server"), "dev", "eth0"])
            out = bridged.run("client", ["ping", "-n", "-i", "0.005", "-c", 100, "-W", "0.5",
                                         bridged.address("server")], check=False).stdout
            return re.findall(r"icmp_seq=(\d+)", out)

    bridged.run("server", ["ip", "neighbour", "replace", bridged.address("client"), "lladdr",
                           bridged.mac("client"), "dev", "eth0"])
    first = lost(4)
    assert 50 < len(first) < 90
    assert lost(4) == first
    assert lost(5) != first


# --- a slow link ----------------------------------------------------------------------------


@alone
@pytest.mark.parametrize("spec", ["rate=100mbit", "rate=100mbit,delay=20ms"])
def test_a_rate_is_held(bridged, content, spec):
    """Between two kernels with their offloads on; the payload is 1448 of 1538 bytes on the wire."""
    size = 25 * MB
    with Bridge(bridged, "--fault", spec) as bridge:
        seconds = transfer(bridged, content, size, 0)
    rate = size * 8 / seconds / 1e6
    print(f"{rate:.1f} Mbit/s of payload")
    assert 85 < rate < 100 * 1448 / 1538 + 0.5
    assert bridge.report["a_to_b"]["long_frames"] > 100


@alone
def test_a_rate_of_small_packets(bridged):
    """Each of 100 bytes takes 166 on the wire: 1,506 fit into a second of 2 Mbit/s."""
    with Bridge(bridged, "--fault-ab", "rate=2mbit,queue=5") as bridge:
        came, different, _, wrong = datagrams(bridged, 15000, gap=0.00002)
    way = bridge.report["a_to_b"]
    assert (different, wrong) == (came, 0)
    assert way["queue_drops"] > 100
    assert came + way["queue_drops"] <= 15000 and way["missed"] == 0
    assert way["received"] == way["sent"] + way["queue_drops"]


@alone
def test_a_queue_delays_until_it_is_full(bridged):
    """100 full frames wait at 10 Mbit/s: 123 ms, and no more."""
    with Bridge(bridged, "--fault-ab", "rate=10mbit,queue=100"):
        sender = bridged.popen("client", ["/usr/bin/python3", "-c", SEND, bridged.address("server"), 3000, 1400,
                                          0.0005])
        wait_until(lambda: bridged.pings("client", bridged.address("server"), 1, 3) or True)
        time.sleep(0.3)
        times = round_trips_ms(bridged, 20)
        sender.kill()
    assert times and 80 < max(times) < 135


@alone
def test_congestion_is_marked_and_nothing_dropped(bridged, content):
    for host in "client", "server":
        bridged.run(host, ["sysctl", "-qw", "net.ipv4.tcp_ecn=1"])
    with Bridge(bridged, "--fault-ab", "rate=50mbit,delay=5ms,queue=10000,ecn=20") as bridge:
        transfer(bridged, content, 8 * MB, 0)
    way = bridge.report["a_to_b"]
    assert way["ecn_marks"] > 10 and way["queue_drops"] == way["lost"] == 0
    assert kernel_count(bridged, "server", "IpExtInCEPkts") == way["ecn_marks"]
    # Nothing was lost, which the report says: the kernel sends again only to probe for a tail that is late (RFC 8985).
    probes = kernel_count(bridged, "client", "TcpExtTCPLossProbes")
    assert kernel_count(bridged, "client", "TcpRetransSegs") <= probes


def test_without_ecn_nothing_is_marked(bridged, content):
    for host in "client", "server":
        bridged.run(host, ["sysctl", "-qw", "net.ipv4.tcp_ecn=0"])
    with Bridge(bridged, "--fault-ab", "rate=50mbit,ecn=1") as bridge:
        transfer(bridged, content, MB, 0)
    assert bridge.report["a_to_b"]["ecn_marks"] == 0


# --- streams through everything at once --------------------------------------------------------


@pytest.mark.parametrize("spec", [
    "delay=10ms,loss=2%", "delay=5ms,jitter=2ms,loss=1%,duplicate=1%,reorder=1%,corrupt=1%,seed=9",
    "rate=100mbit,queue=50,delay=5ms,corrupt=0.1%"])
def test_kernels_understand_each_other_all_the_same(bridged, content, spec):
    with Bridge(bridged, "--fault", spec) as bridge:
        transfer(bridged, content, 2 * MB, 2 * MB)
    assert bridge.report["a_to_b"]["delayed"] > 1000


# --- what it leaves behind, and what it survives ---------------------------------------------------


def promiscuity_of(hosts, host, interface):
    return hosts.link(host, interface)["promiscuity"]


def promiscuity(hosts):
    return [promiscuity_of(hosts, "wire", interface) for interface in ("eth0", "eth1")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_and_leaves_nothing(bridged, number):
    bridge = Bridge(bridged, "--fault", "delay=1ms")
    assert bridged.pings("client", bridged.address("server"), 2) == 2
    assert promiscuity(bridged) == [1, 1]
    if number == signal.SIGKILL:
        bridged.stop(bridge.process, number)
    else:
        bridge.stop(number)
    assert promiscuity(bridged) == [0, 0]
    assert bridged.pings("client", bridged.address("server")) == 0
    with Bridge(bridged):
        assert bridged.pings("client", bridged.address("server"), 2) == 2


def test_it_stops_under_load(bridged):
    bridge = Bridge(bridged, "--fault", "delay=200ms,rate=100mbit")
    bridged.popen("client", ["ping", "-q", "-f", "-s", "1400", bridged.address("server")])
    time.sleep(1)
    bridge.stop(signal.SIGINT)
    assert bridge.report["a_to_b"]["waiting"] > 0


def test_it_sleeps_when_nothing_comes(bridged):
    with Bridge(bridged, "--fault", "delay=20ms,rate=1gbit") as bridge:
        assert bridged.pings("client", bridged.address("server"), 3) == 3
        assert cpu_share(bridge.process, 2) <= 0.02


def test_a_link_that_goes_down_and_comes_back(bridged):
    with Bridge(bridged) as bridge:
        assert bridged.pings("client", bridged.address("server"), 2) == 2
        for interface in "eth0", "eth1":
            bridged.run("wire", ["ip", "link", "set", interface, "down"])
            bridged.pings("client", bridged.address("server"), 2)
            assert cpu_share(bridge.process, 0.5) <= 0.1
            bridged.run("wire", ["ip", "link", "set", interface, "up"])
            wait_until(lambda: bridged.pings("client", bridged.address("server")), what="an answer")


@pytest.mark.parametrize("gone", [["eth0"], ["eth1"], ["eth0", "eth1"]])
@pytest.mark.parametrize("busy", [False, True])
def test_interfaces_that_are_deleted(bridged, gone, busy):
    bridge = Bridge(bridged, "--fault", "delay=1ms")
    if busy:
        for host, other in ("client", "server"), ("server", "client"):
            bridged.popen(host, ["ping", "-q", "-f", bridged.address(other)])
        time.sleep(0.3)
    for interface in gone:
        bridged.run("wire", ["ip", "link", "delete", interface])
    out, err = bridge.process.communicate(timeout=10)
    assert bridge.process.returncode == 1
    assert is_sentence(err) and "deleted" in err
    assert set(json.loads(out)) == {"a_to_b", "b_to_a"}


def test_without_the_right_to_packet_sockets(bridged):
    done = bridged.run("wire", ["setpriv", "--bounding-set=-net_raw,-net_admin", "--inh-caps=-all",
                                Hosts.built("c10m"), "bridge", "--a", "eth0", "--b", "eth1"], check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert is_sentence(done.stderr) and "root" in done.stderr


def test_refusals_are_sentences(bridged):
    def refused(words, *said):
        done = bridged.run("wire", [Hosts.built("c10m"), "bridge", *words], check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert is_sentence(done.stderr), done.stderr
        assert all(word in done.stderr for word in said), done.stderr
        assert promiscuity(bridged) == [0, 0]

    refused(["--a", "eth0", "--b", "eth9"], "eth9 does not exist")
    refused(["--a", "eth0", "--b", "eth0"], "the same interface")
    refused(["--a", "lo", "--b", "eth0"], "lo is not Ethernet")
    bridged.run("wire", ["ip", "link", "set", "eth1", "down"])
    refused(["--a", "eth0", "--b", "eth1"], "eth1 is down", "ip link set eth1 up")


def test_the_report_for_people(bridged):
    process, _ = bridged.start("wire", [Hosts.built("c10m"), "bridge", "--a", "eth0", "--b", "eth1", "--fault",
                                        "loss=100%"])
    bridged.pings("client", bridged.address("server"), 2)
    code, out, err = bridged.stop(process)
    assert (code, err) == (0, "")
    assert re.search(r"^eth0 to eth1:\n +[1-9]\d*  frames received.*\n(.*\n)* +[1-9]\d*  lost\n", out)

"""c10m in a VLAN (IEEE 802.1Q), with a kernel in the same one as its peer: streams over each kind of port, ARP and
ping, and what belongs to other VLANs.

Where a kernel has no VLAN devices a program for tc does what they do (tests/tools/vlan.bpf.c): it pushes the tag,
and leaves it beside the frame, as they do."""

import socket
import time

import pytest
from scapy.all import ARP, Dot1AD, Dot1Q, Ether, ICMP, IP, TCP

from hosts import Hosts
from test_steer import Steer
from test_tap import TapHost, TapTransfer
from test_transfer import ADDRESS, MB, Transfer, both_roles, check, content_file, end, ends, exchange  # noqa: F401
from test_wire import a_wire  # noqa: F401

VLAN = ["--vlan", "5"]
PORTS = [["--via", "afxdp", "--mode", "generic"], ["--via", "afxdp", "--mode", "native"], ["--via", "packet"]]
each_port = pytest.mark.parametrize("via", PORTS, ids=["generic", "native", "packet"])


class Vlan(Hosts):
    """The kernel of the client is in VLAN 5."""

    def build(self):
        super().build()
        self.enter_vlan_5("client")


@pytest.fixture(name="vlan")
def a_vlan():
    with Vlan() as hosts:
        yield hosts


def serve(hosts, *words, address=f"{ADDRESS}/24"):
    process, _ = hosts.start("server", [hosts.built("c10m"), "serve", "echo", "--interface", "eth0", "--address", address,
                                        "--connections", "1000", *words])
    return process


def refused(hosts, *words):
    """The sentence with which it ends."""
    done = hosts.run("server", [hosts.built("c10m"), "serve", "echo", "--connections", "100", *words], check=False)
    assert done.returncode in (1, 2) and done.stdout == "", done
    return done.stderr


# --- streams --------------------------------------------------------------------------


@both_roles
@each_port
def test_streams(vlan, content, listens, via):
    _, counters = exchange(Transfer(vlan, content, *VLAN, *via), listens, 16 * MB, 16 * MB)
    assert "TCP checksum is wrong" not in counters and "descriptors refused" not in counters


@both_roles
def test_frames_stay_long_over_packet_sockets(content, listens):
    """The sums that both kernels leave undone stand four bytes further on; and this is what auto takes, since a tag
    beside the frame is nothing that XDP sees."""
    with Vlan(offloads=True) as hosts:
        transfer = Transfer(hosts, content, *VLAN)
        ours, theirs = transfer.pair(listens, [f"send={64 * MB}"], [f"send={64 * MB}"])
        check(end(theirs), 64 * MB, 64 * MB)
        check(end(ours), 64 * MB, 64 * MB)
        theirs.wait(10)
        if listens:
            ours.terminate()
        out, err = ours.communicate(timeout=10)
    assert out == "" and "VLAN 5 of packet socket" in err and "txvlan off" in err, err
    numbers = {text: int(count) for count, text in
               (line.split(None, 1) for line in err.splitlines() if line[:1] == " ")}
    assert numbers["payload bytes taken in order"] / numbers["TCP segments received"] > 1500
    assert numbers["bytes sent"] / numbers["packets sent"] > 1518
    assert "TCP checksum is wrong" not in numbers and "frames that the interface did not take" not in numbers


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_long_frames_with_a_tag_in_them(content, mode):
    """The peer puts its tags into frames of 64 KB."""
    with Vlan(offloads=True) as hosts:
        hosts.run("client", ["ethtool", "-K", "eth0", "txvlan", "off"])
        _, counters = exchange(Transfer(hosts, content, *VLAN, "--via", "afxdp", "--mode", mode), True, MB, 64 * MB)
    assert "descriptors refused" not in counters
    if mode == "generic":
        assert counters["payload bytes taken in order"] / counters["TCP segments received"] > 1500


@both_roles
def test_a_tap_device(content, listens):
    with TapHost("mode", "tap") as host:
        host.enter_vlan_5("server")
        _, counters = exchange(TapTransfer(host, content, *VLAN), listens, 64 * MB, 64 * MB)
    assert counters["TCP segments sent"] > 5 * counters["frames sent"]
    assert counters["payload bytes taken in order"] > 8000 * counters["frames received"]
    assert "segment whose checksum is wrong" not in counters and "descriptors refused" not in counters


def test_two_workers(vlan, content):
    """One of them has no queue: its frames get their tags at the other's."""
    transfer = Transfer(vlan, content, *VLAN, "--via", "afxdp", "--workers", "2", "--cpu", "0,1")
    ours, theirs = transfer.pair(True, ["send=100000"], ["send=200000"], 100)
    for process, sent, received in (theirs, 200000, 100000), (ours, 100000, 200000):
        for result in ends(process, 100):
            check(result, sent, received)
    ours.terminate()
    _, err = ours.communicate(timeout=10)
    assert ours.returncode == 0 and "of others sent" in err


def test_faults_and_a_capture_see_no_tags(vlan, content, tmp_path):
    file = tmp_path / "frames.pcapng"
    spec = "loss=1%,duplicate=1%,corrupt=0.5%,seed=3"
    _, counters = exchange(Transfer(vlan, content, *VLAN, "--via", "afxdp", "--fault", spec, "--capture", file), True, MB,
                           MB)
    assert counters["TCP checksum is wrong"] > 0
    shown = vlan.run("server", ["tcpdump", "-enr", file, "-c", "200"]).stdout
    assert "ethertype IPv4" in shown and "802.1Q" not in shown


def test_a_wire(wire):
    server = wire.serve("--verbose", *VLAN, "--no-checksums")
    wire.call("--no-checksums", *VLAN)
    said = wire.stop(server)
    assert "frames received" in said and "frames of no VLAN of ours" not in said


def test_a_wire_between_two_vlans(wire):
    server = wire.serve("--verbose", *VLAN)
    wire.call("--vlan", "6", answers="bad")
    said = wire.stop(server)
    assert "frames of no VLAN of ours" in said and "connections opened" not in said


# --- who is answered --------------------------------------------------------------------


@each_port
def test_ping_and_the_longest_packet(vlan, via):
    serve(vlan, *VLAN, *via)
    assert vlan.pings("client", ADDRESS, 3) == 3
    assert vlan.pings("client", ADDRESS, 3, size=1472) == 3  # 1500 bytes, and the tag besides
    vlan.run("client", ["ping", "-c1", "-W2", "-M", "do", "-s", "1472", ADDRESS])


@each_port
def test_other_vlans_get_no_answer(vlan, via):
    """Nor does who sends without a tag."""
    serve(vlan, *VLAN, *via)
    own, peer = vlan.mac("server"), vlan.mac("client")
    vlan.run("client", ["tc", "qdisc", "del", "dev", "eth0", "clsact"])  # it sees, and sends, everything as it is
    ask = ARP(op=1, hwsrc=peer, psrc=vlan.address("client"), pdst=ADDRESS)
    ping = IP(src=vlan.address("client"), dst=ADDRESS) / ICMP(id=1) / b"12345678"
    sniffer = vlan.popen("client", ["tcpdump", "-U", "-i", "eth0", "-en", "-Q", "in", "-l"])
    time.sleep(0.7)
    frames = []
    for inner in ask, ping:
        broadcast = Ether(src=peer, dst="ff:ff:ff:ff:ff:ff" if inner is ask else own)
        frames += [broadcast / tag / inner for tag in (Dot1Q(vlan=6), Dot1Q(vlan=0), Dot1Q(vlan=261), Dot1AD(vlan=5))]
        frames += [broadcast / inner, broadcast / Dot1Q(vlan=5) / Dot1Q(vlan=5) / inner]
    vlan.send_frames("client", frames)
    time.sleep(0.3)
    ours = [Ether(src=peer, dst=own) / Dot1Q(vlan=5, prio=prio) / inner for prio in (0, 7) for inner in (ask, ping)]
    vlan.send_frames("client", ours)
    time.sleep(0.3)
    sniffer.terminate()
    shown = [line for line in sniffer.communicate(timeout=10)[0].splitlines() if f"{own} >" in line]
    replies = [line for line in shown if "Reply" in line or "echo reply" in line]
    assert len(replies) == 4, shown
    assert all("vlan 5, p 0" in line for line in shown), shown


def test_an_address_in_use_in_the_vlan_is_noticed(vlan):
    taken = f"{vlan.address('client')}/24"
    said = refused(vlan, "--interface", "eth0", "--address", taken, *VLAN)
    assert "is in use by" in said
    other = serve(vlan, "--vlan", "6", address=taken)  # there it is nobody's
    vlan.stop(other)
    with Hosts() as hosts:  # and here it is in use where there are no tags
        hosts.stop(serve(hosts, *VLAN, address=taken))


# --- the XDP program, frame by frame -----------------------------------------------------


def test_which_frames_the_xdp_program_takes(hosts):
    steer = Steer(hosts, "5")
    inner = IP(src="10.77.0.1", dst="10.77.0.2") / TCP(sport=40000, dport=80)
    whole = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=5) / inner
    assert steer.ask(whole) == "ours"
    assert steer.ask(Ether() / Dot1Q(vlan=5, prio=7, id=1) / inner) == "ours"
    for packet in [Ether() / inner, Ether() / Dot1Q(vlan=6) / inner, Ether() / Dot1Q(vlan=261) / inner,
                   Ether() / Dot1Q(vlan=0) / inner, Ether() / Dot1AD(vlan=5) / inner,
                   Ether() / Dot1Q(vlan=5) / Dot1Q(vlan=5) / inner,
                   Ether() / Dot1Q(vlan=5) / IP(src="10.77.0.1", dst="10.77.0.9") / TCP(dport=80)]:
        assert steer.ask(packet) == "kernel", packet.summary()
    for length in range(14, len(whole)):
        assert steer.ask(bytes(whole)[:length]) == ("ours" if length >= 14 + 4 + 20 + 4 else "kernel"), length
    steer.tell("police 1,1")
    assert [steer.ask(whole / bytes([i])) for i in range(3)].count("dropped") >= 1
    steer.process.stdin.close()
    assert steer.process.wait(5) == 0


# --- what is refused ----------------------------------------------------------------------


def test_refusals(hosts):
    own = ["--interface", "eth0", "--address", f"{ADDRESS}/24"]
    assert "with --shared name the kernel's interface in that VLAN" in refused(hosts, "--interface", "eth0", "--shared",
                                                                               *VLAN)
    assert "give --address with its prefix" in refused(hosts, "--interface", "eth0", "--address", ADDRESS, *VLAN)
    assert "from 1 to 4094" in refused(hosts, *own, "--vlan", "4095")
    assert "for a VLAN none is made" in refused(hosts, "--interface", "tap7", "--address", f"{ADDRESS}/24", *VLAN)
    assert socket.if_nametoindex("lo")  # and none was


def test_the_other_end_of_a_veth_pair_is_told_about(hosts):
    """Where tags stand beside the frames nothing comes in, and it is said what to do."""
    hosts.run("client", ["ethtool", "-K", "eth0", "txvlan", "on"])
    hosts.enter_vlan_5("client")
    process = serve(hosts, *VLAN, "--via", "afxdp")
    assert hosts.pings("client", ADDRESS) == 0
    hosts.run("client", ["ethtool", "-K", "eth0", "txvlan", "off"])
    assert hosts.pings("client", ADDRESS) == 1
    assert "ethtool -K IF txvlan off" in hosts.stop(process)[2]

"""Streams between c10m and the Linux kernel's TCP, in both roles, every byte compared.

c10m's end is tests/tools/transfer, a program on the public interface; the kernel's is
tests/tools/transfer_peer.py. Both print a JSON line for each connection that ended."""

import contextlib
import json
import os
import random
import re
import signal
import threading
import time

import pytest

from hosts import ROOT, Bridge, Hosts, alone, command, wait_until

PEER = os.path.join(ROOT, "tests/tools/transfer_peer.py")
WATCH = os.path.join(ROOT, "tests/tools/watch.py")
ADDRESS = "10.77.0.10"
PORT = 7000
MB = 1 << 20

both_roles = pytest.mark.parametrize("listens", [True, False], ids=["c10m_listens", "c10m_connects"])


@pytest.fixture(name="content", scope="session")
def content_file(tmp_path_factory):
    """What all streams are made of: random, of an odd length."""
    path = tmp_path_factory.mktemp("transfer") / "content"
    path.write_bytes(random.Random(1).randbytes(1_048_573))
    return f"content={path}"


class Transfer:
    """Starts the two ends on the hosts "server" and "client", and reads what they say."""

    def __init__(self, hosts, content, *options):
        self.hosts, self.content = hosts, content
        self.options = ["--interface", "eth0", "--address", f"{ADDRESS}/24", "--connections", "2000", "--no-probe",
                        "--verbose", *options]

    def c10m_listens(self, *words):
        process, line = self.hosts.start("server", self.c10m_args(*words))
        assert line == f"transfer: listening on {ADDRESS}:{PORT}\n"
        return process

    def c10m_connects(self, address, *words):
        return self.hosts.popen("server", self.c10m_args(f"connect={address}", *words))

    def c10m_args(self, *words):
        return [self.hosts.built("tests/tools/transfer"), self.content, *words, *self.options]

    def kernel(self, *words):
        process = self.hosts.popen("client", ["/usr/bin/python3", PEER, self.content, *words])
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        return process

    def pair(self, listens, c10m=(), kernel=(), count=1):
        """Both ends, connected, with their words: (c10m's process, the kernel's process)."""
        count = f"count={count}"
        if listens:
            ours = self.c10m_listens(*c10m)
            return ours, self.kernel(f"connect={ADDRESS}:{PORT}", count, *kernel)
        address = f"{self.hosts.address('client')}:{PORT}"
        theirs = self.kernel(f"listen={address}", count, *kernel)
        return self.c10m_connects(address, count, *c10m), theirs

    def wait_until_connected(self):
        listed = ["ss", "-Htn", "state", "established"]
        wait_until(lambda: self.hosts.run("client", listed).stdout, what="a connection")

    def stop(self, process):
        """Orderly; returns the counters. A program that connects ends by itself after its last connection."""
        if not any(arg.startswith("connect=") for arg in process.args):
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (0, ""), err
        return {text: int(count) for count, text in re.findall(r"^ *(\d+)  (.+)$", err, re.MULTILINE)}


@pytest.fixture(name="transfer")
def transfer_on_two_hosts(hosts, content):
    return Transfer(hosts, content)


def ends(process, count=1, timeout=60):
    """What a program says about the next connections that end. One that hangs is killed, and fails."""
    guard = threading.Timer(timeout, process.kill)
    guard.start()
    lines = [process.stdout.readline() for _ in range(count)]
    guard.cancel()
    assert lines[-1], f"{lines.index('')} of {count} results within {timeout} s: {process.stderr.read()}"
    return [json.loads(line) for line in lines]


def end(process, timeout=60):
    return ends(process, 1, timeout)[0]


def check(result, sent, received, reason="normal"):
    """A connection that ended as it should."""
    wanted = {"reason": reason, "eof": True, "sent": sent, "received": received, "wrong": 0, "right": True}
    assert {key: result.get(key, value) for key, value in wanted.items()} == wanted


def exchange(transfer, listens, c10m_bytes, kernel_bytes, c10m=(), kernel=(), count=1):
    """Sends so many bytes each way on each connection, and compares; (results, counters) of c10m."""
    ours, theirs = transfer.pair(listens, [f"send={c10m_bytes}", *c10m], [f"send={kernel_bytes}", *kernel], count)
    for result in ends(theirs, count):
        check(result, kernel_bytes, c10m_bytes)
    results = ends(ours, count)
    for result in results:
        check(result, c10m_bytes, kernel_bytes)
    assert theirs.wait(10) == 0
    return results, transfer.stop(ours)


# --- all bytes arrive ---------------------------------------------------------------


@both_roles
@pytest.mark.parametrize("ways", ["c10m_sends", "kernel_sends", "both_send"])
def test_64_megabytes(transfer, listens, ways, record_property):
    sizes = [64 * MB * (ways != "kernel_sends"), 64 * MB * (ways != "c10m_sends")]
    results, _ = exchange(transfer, listens, *sizes)
    rate = sum(sizes) / results[0]["ms"] / 1000
    record_property("megabytes_per_second", round(rate))
    print(f"{ways}: {rate:.0f} MB/s")


@both_roles
def test_many_connections_at_once(transfer, listens):
    results, _ = exchange(transfer, listens, 3000, 5000, count=500)
    assert len({result["key"] for result in results}) == 500


@both_roles
def test_the_kernel_closes_its_half_first(transfer, listens):
    """It reads what c10m begins to send only then."""
    exchange(transfer, listens, 5 * MB, 1000, c10m=["after_eof=1"])


@both_roles
def test_c10m_closes_its_half_first(transfer, listens):
    """c10m_shutdown(), then it reads what the kernel begins to send only then."""
    exchange(transfer, listens, 1000, 5 * MB, kernel=["after_eof=1"])


@both_roles
def test_both_close_with_nothing_sent(transfer, listens):
    exchange(transfer, listens, 0, 0)


@both_roles
def test_an_echo(transfer, listens):
    """c10m sends back what it gets: its sending closes its receiving, and opens it again."""
    ours, theirs = transfer.pair(listens, ["echo=1"], [f"send={16 * MB}", "echoed=1"])
    check(end(theirs), 16 * MB, 16 * MB)
    check(end(ours), 16 * MB, 16 * MB)
    transfer.stop(ours)


# --- a peer with the offloads that Linux sets by default -------------------------------------
#
# On veth it leaves checksums undone and hands over up to 64 KB in a frame.


@pytest.fixture(name="offloading")
def transfer_with_offloads(content):
    with Hosts(offloads=True) as hosts:
        yield Transfer(hosts, content)


@both_roles
@pytest.mark.parametrize("mode", ["generic", "native"])
def test_a_peer_that_leaves_work_to_hardware(offloading, listens, mode):
    offloading.options += ["--mode", mode]
    results, counters = exchange(offloading, listens, 16 * MB, 64 * MB)
    assert "descriptors refused" not in counters
    assert counters["bytes received"] > 64 * MB


def test_many_connections_of_a_peer_that_leaves_work_to_hardware(offloading):
    exchange(offloading, True, 3000, 100_000, count=500)


def test_long_frames_through_a_fault_port(offloading):
    offloading.options += ["--fault", "loss=1%,reorder=1%,duplicate=1%,corrupt=0.5%,seed=3"]
    exchange(offloading, True, MB, MB)


def test_long_frames_of_several_pieces_are_what_arrives(offloading):
    """Else the tests above test nothing: fewer, larger frames than the peer's MSS would make."""
    _, counters = exchange(offloading, True, 0, 64 * MB)
    assert counters["payload bytes taken in order"] / counters["TCP segments received"] > 1500


def test_a_kernel_that_cannot_receive_long_frames(offloading):
    """c10m says what happens and what to do, and the data arrives, slowly; with what it says, fast."""
    before = ["env", f"LD_PRELOAD={Hosts.built('tests/tools/old_kernel.so')}"]
    size = 100_000
    for words, most_ms, said in [[], 20_000, True], [["--mode", "native"], 1000, False]:
        process, _ = offloading.hosts.start("server", before + offloading.c10m_args(*words))
        peer = offloading.kernel(f"connect={ADDRESS}:{PORT}", f"send={size}")
        result = end(peer)
        check(result, size, 0)
        assert result["ms"] < most_ms
        check(end(process), 0, size)
        code, _, err = offloading.hosts.stop(process)
        assert code == 0
        assert ("ethtool -K IF tso off gso off" in err and "--mode native" in err) == said


# --- readers that pause: windows close and open ----------------------------------------


@both_roles
def test_the_kernel_stops_reading_for_a_while(transfer, listens):
    results, counters = exchange(transfer, listens, 2 * MB, 0,
                                 kernel=["receive_buffer=8192", "pause_bytes=100001", "pause_ms=1500"])
    assert results[0]["ms"] >= 1500
    assert counters["zero-window probes sent"] > 0


@both_roles
def test_c10m_stops_reading_for_a_while(transfer, listens):
    """In the middle of a piece: the rest is offered again after c10m_resume()."""
    results, counters = exchange(transfer, listens, 0, 2 * MB, c10m=["pause_bytes=100001", "pause_ms=1500"])
    assert results[0]["ms"] >= 1500
    assert counters["times we closed our window"] > 0


# --- a wire that is none of the best ------------------------------------------------------------


@pytest.fixture(name="wired")
def transfer_through_a_wire(bridged, content):
    return Transfer(bridged, content)


def exchange_over(wired, spec, listens, c10m_bytes, kernel_bytes):
    """exchange() through c10m bridge: c10m's counters, and what happened to frames from and to c10m."""
    with Bridge(wired.hosts, "--fault", spec) as bridge:
        _, counters = exchange(wired, listens, c10m_bytes, kernel_bytes)
    return counters, bridge.report["b_to_a"], bridge.report["a_to_b"]


@both_roles
@pytest.mark.parametrize("ways", ["c10m_sends", "kernel_sends"])
def test_4_megabytes_with_loss(wired, listens, ways):
    """3% of the packets in each direction."""
    c10m_bytes, kernel_bytes = 4 * MB * (ways == "c10m_sends"), 4 * MB * (ways == "kernel_sends")
    counters, ours, theirs = exchange_over(wired, "loss=3%", listens, c10m_bytes, kernel_bytes)
    assert ours["lost"] + theirs["lost"] > 60
    if c10m_bytes:
        assert counters["segments sent again"] > 30 and counters["fast retransmissions"] > 10
    else:
        assert counters["segments received out of order"] > 30 and counters["holes filled"] > 30


@both_roles
@pytest.mark.parametrize("spec", ["delay=5ms,loss=1%,seed=2", "rate=100mbit,queue=50,delay=2ms", "delay=3ms,jitter=2ms",
                                  "loss=1%,duplicate=2%,reorder=2%,corrupt=1%,delay=1ms,seed=6"])
def test_every_byte_over_a_bad_wire(wired, listens, spec):
    counters, ours, theirs = exchange_over(wired, spec, listens, 2 * MB, 2 * MB)
    for way in ours, theirs:
        assert way["delayed"] > 1000 and way["missed"] == way["refused"] == 0
        assert (way["corrupted"] > 0) == ("corrupt" in spec)
        assert (way["lost"] > 0) == ("loss" in spec)
    assert ("TCP checksum is wrong" in counters) == ("corrupt" in spec)


@alone
@both_roles
def test_c10m_fills_a_slow_link(wired, listens):
    """Of 1538 bytes on the wire 1448 are payload."""
    with Bridge(wired.hosts, "--fault", "rate=100mbit,delay=1ms"):
        results, _ = exchange(wired, listens, 16 * MB, 0)
    rate = 16 * MB * 8 / results[0]["ms"] / 1000
    print(f"{rate:.1f} Mbit/s of payload")
    assert 80 < rate < 96


# --- a router between the two ---------------------------------------------------------------


class Routed(Hosts):
    """Three hosts; the router's kernel forwards, as far as its path MTU allows.

          client                    router                     server
          eth0 10.78.0.1/24  ====  eth1 10.78.0.254
                                   eth0 10.77.0.1/24  ====  eth0 10.77.0.2/24 (kernel)
                                                                 10.77.0.10 (c10m)
    """

    def build(self):
        self.names = ["router", "server"]
        super().build()
        self.names.append("client")
        command(["ip", "netns", "add", self.netns("client")])
        command(["ip", "link", "add", "eth0", "netns", self.netns("client"), "type", "veth", "peer", "name", "eth1",
                 "netns", self.netns("router")])
        self.run("client", ["ip", "link", "set", "lo", "up"])
        for host, link, address in ("client", "eth0", self.address("client")), ("router", "eth1", "10.78.0.254"):
            self.run(host, ["ethtool", "-K", link, "tx", "off"])
            self.run(host, ["ip", "address", "add", f"{address}/24", "dev", link])
            self.run(host, ["ip", "link", "set", link, "up"])
        self.run("client", ["ip", "route", "add", "default", "via", "10.78.0.254"])
        self.run("router", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])

    def address(self, host):
        return "10.78.0.1" if host == "client" else super().address(host)

    def path_mtu(self, mtu):
        """From now on the way from the router to the client takes no larger packet; who sends one is told."""
        self.run("router", ["ip", "route", "replace", "10.78.0.0/24", "dev", "eth1", "mtu", "lock", mtu])


@pytest.fixture(name="routed")
def transfer_through_a_router(content):
    with Routed() as hosts:
        yield Transfer(hosts, content, "--gateway", "10.77.0.1")


@both_roles
def test_a_path_of_a_smaller_mtu(routed, listens):
    """c10m is told by ICMP when it has sent too much at once; the connection goes on with less."""
    routed.hosts.path_mtu(1280)
    _, counters = exchange(routed, listens, 4 * MB, 4 * MB)
    assert counters["path MTU lowered by ICMP"] == 1


def test_a_path_whose_mtu_shrinks_on_the_way(routed):
    ours, theirs = routed.pair(True, [f"send={100 * MB}"])
    for mtu in 1400, 1000, 600:
        time.sleep(0.1)
        routed.hosts.path_mtu(mtu)
    check(end(theirs), 0, 100 * MB)
    check(end(ours), 100 * MB, 0)
    assert routed.stop(ours)["path MTU lowered by ICMP"] >= 2


LOWERED = "path MTU lowered by ICMP"
BLACK_HOLES = "path MTU lowered since full segments timed out again and again (RFC 4821)"
TRIALS, RAISED = "longer packets tried", "path MTU raised: a longer packet arrived"
DOUBTED = "path MTU told by ICMP while all arrives: believed if the packet times out"


@both_roles
def test_a_router_that_says_nothing(routed, listens):
    """What is too long vanishes. The size is found by trying: 1280 is the longest of those tried that fits in 1300."""
    routed.hosts.path_mtu(1300)
    routed.hosts.run("router", ["nft", "add table ip c10m; add chain ip c10m output { type filter hook output priority "
                                "0; }; add rule ip c10m output icmp type destination-unreachable drop"])
    results, counters = exchange(routed, listens, 8 * MB, 0)
    assert LOWERED not in counters
    assert (counters[BLACK_HOLES], counters[RAISED]) == (1, 1)
    assert counters[TRIALS] <= 6
    assert counters["bytes sent"] / counters["packets sent"] > 1000
    assert results[0]["ms"] < 10000, results


def test_an_outage_is_no_narrow_path(routed):
    ours, theirs = routed.pair(True, [f"send={200 * MB}"])
    time.sleep(0.3)
    routed.hosts.lose("client", 100)
    time.sleep(4)
    routed.hosts.lose("client", 0)
    check(end(theirs), 0, 200 * MB)
    check(end(ours), 200 * MB, 0)
    counters = routed.stop(ours)
    assert counters[BLACK_HOLES] >= 1 and counters[RAISED] == counters[TRIALS] == 1


# Sees what c10m sends, and claims of some of it that it was too long.
LIAR = """
import socket, struct, sys, time
def sum16(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff
seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
seen.bind(("eth0", 0))
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
told = 0
while told < 200:
    frame = seen.recv(2000)
    if frame[26:30] == socket.inet_aton(sys.argv[1]) and len(frame) > 1500:
        body = struct.pack("!BBHHH", 3, 4, 0, 0, 600) + frame[14:42]
        out.sendto(body[:2] + struct.pack("!H", sum16(body)) + body[4:], (sys.argv[1], 0))
        told += 1
print("told", flush=True)
"""


def test_a_router_that_lies(routed):
    """It sees each packet, so that what it quotes is in flight; all the same long packets go on."""
    ours, theirs = routed.pair(True, [f"send={300 * MB}"])
    time.sleep(0.3)
    done = routed.hosts.run("router", ["/usr/bin/python3", "-c", LIAR, ADDRESS])
    assert done.stdout == "told\n"
    check(end(theirs), 0, 300 * MB)
    check(end(ours), 300 * MB, 0)
    counters = routed.stop(ours)
    assert counters[DOUBTED] > 0
    assert LOWERED not in counters, counters


@both_roles
def test_a_peer_of_a_smaller_mtu(transfer, listens):
    """It says so in its MSS."""
    transfer.hosts.run("client", ["ip", "route", "replace", "10.77.0.0/24", "dev", "eth0", "mtu", "700"])
    _, counters = exchange(transfer, listens, 2 * MB, 2 * MB)
    assert counters["bytes sent"] / counters["packets sent"] < 714


# --- peers that go away ------------------------------------------------------------------


@both_roles
def test_the_peer_is_killed_in_the_middle(transfer, listens):
    ours, theirs = transfer.pair(listens, ["send=10000000000"], ["send=10000000000"])
    transfer.wait_until_connected()
    time.sleep(0.5)
    theirs.kill()
    result = end(ours, 5)
    assert (result["reason"], result["wrong"], result["eof"]) == ("reset", 0, False)
    assert result["received"] > MB and result["sent"] > MB
    transfer.stop(ours)


@both_roles
def test_the_peer_closes_with_data_unread(transfer, listens):
    ours, theirs = transfer.pair(listens, ["send=10000000000"], ["close_after=300000"])
    assert end(theirs)["reason"] == "closed"
    assert end(ours, 5)["reason"] == "reset"
    transfer.stop(ours)


@both_roles
@pytest.mark.parametrize("how", ["link_down", "silence"])
def test_the_peer_vanishes_in_the_middle(transfer, listens, how):
    ours, _ = transfer.pair(listens, ["send=10000000000", "user_timeout_ms=1500"], ["hold_fin=1"])
    transfer.wait_until_connected()
    time.sleep(0.3)
    if how == "silence":
        transfer.hosts.lose("client", 100)
    else:
        transfer.hosts.run("client", ["ip", "link", "set", "eth0", "down"])
    before = time.monotonic()
    result = end(ours, 20)
    assert (result["reason"], result["eof"]) == ("timeout", False)
    assert 1 < time.monotonic() - before < 6
    transfer.stop(ours)


def test_an_idle_peer_that_vanished_is_found_by_keepalive(transfer):
    ours, _ = transfer.pair(True, ["keepalive_ms=500", "hold_fin=1"], ["hold_fin=1"])
    time.sleep(1.2)
    transfer.hosts.lose("client", 100)
    assert end(ours, 30)["reason"] == "keepalive"
    transfer.stop(ours)


# --- connections that never open --------------------------------------------------------


def refused(transfer, address, reason, least_ms, most_ms, *words):
    """Several attempts at once: each fails for this reason in that time."""
    process = transfer.c10m_connects(address, "count=5", *words)
    for result in ends(process, 5):
        assert (result["reason"], result["opened"]) == (reason, False)
        assert least_ms <= result["ms"] < most_ms
    transfer.stop(process)


def test_a_closed_port_refuses(transfer):
    refused(transfer, f"{transfer.hosts.address('client')}:9", "refused", 0, 1000)


def test_an_address_that_nobody_has(transfer):
    refused(transfer, "10.77.0.200:9", "unreachable", 1000, 6000)


def test_a_host_that_says_nothing(transfer):
    transfer.hosts.lose("client", 100)
    address = f"{transfer.hosts.address('client')}:{PORT}"
    refused(transfer, address, "timeout", 1500, 5000, "user_timeout_ms=1500")


def test_another_network_without_a_gateway(transfer):
    refused(transfer, "10.99.0.1:9", "error 101", 0, 1)


# --- the interface ------------------------------------------------------------------------


@both_roles
def test_a_link_that_goes_down_and_comes_back(transfer, listens):
    ours, theirs = transfer.pair(listens, [f"send={400 * MB}"], [f"send={400 * MB}"])
    transfer.wait_until_connected()
    time.sleep(0.3)
    transfer.hosts.run("server", ["ip", "link", "set", "eth0", "down"])
    time.sleep(0.5)
    transfer.hosts.run("server", ["ip", "link", "set", "eth0", "up"])
    check(end(theirs), 400 * MB, 400 * MB)
    check(end(ours), 400 * MB, 400 * MB)
    assert transfer.stop(ours)["segments sent again"] > 0


def test_an_interface_that_is_deleted(transfer):
    """Nothing can come back on it: the run ends, and says so."""
    ours, _ = transfer.pair(True, ["send=10000000000"])
    time.sleep(0.3)
    transfer.hosts.run("server", ["ip", "link", "delete", "eth0"])
    assert end(ours, 20)["reason"] == "stopped"
    assert ours.wait(10) == 1
    assert "deleted" in ours.stderr.read()


# --- the kernel's own traffic ---------------------------------------------------------------


class Watch:
    """Pings and a TCP echo between the kernels over the interface that c10m is on."""

    def __init__(self, hosts):
        self.hosts = hosts
        address = hosts.address("server")
        self.echo, _ = hosts.start("server", ["/usr/bin/python3", WATCH, "serve", address])
        self.client, _ = hosts.start("client", ["/usr/bin/python3", WATCH, "ask", address])
        self.ping = hosts.popen("client", ["ping", "-n", "-q", "-i", "0.02", address])

    def stop(self):
        """Nothing was lost, and nothing waited for long."""
        code, out, _ = self.hosts.stop(self.ping, signal.SIGINT)
        sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", out).groups())
        assert code == 0 and received >= sent - 1 and received > 20
        code, out, err = self.hosts.stop(self.client)
        assert code == 0, err
        result = json.loads(out)
        assert result["answers"] > 20 and result["longest_ms"] < 1000
        retransmitted = self.hosts.run("client", ["nstat", "-asz", "TcpRetransSegs"]).stdout
        assert re.search(r"TcpRetransSegs +0 ", retransmitted)
        self.hosts.stop(self.echo)


def test_the_kernel_is_left_alone(transfer):
    """While c10m serves, and after it was killed."""
    hosts = transfer.hosts
    watch = Watch(hosts)
    ours, theirs = transfer.pair(True, [f"send={50 * MB}"], ["count=20"], 20)
    for result in ends(theirs, 20):
        check(result, 0, 50 * MB)
    hosts.stop(ours, signal.SIGKILL)
    wait_until(lambda: hosts.xdp("server") is None, what="the end of the XDP program")
    time.sleep(0.5)
    ours, theirs = transfer.pair(True, [f"send={MB}"])
    check(end(theirs), 0, MB)
    end(ours)
    transfer.stop(ours)
    watch.stop()

"""The packet socket port as the last resort to serve: its frames come and go on an interface that the kernel goes
on using, with nothing of the kernel's asked for but a socket."""

import os
import shutil
import re
import signal
import socket
import time

import pytest

from hosts import Bridge, Hosts, wait_until
from test_port_afxdp import CLAIMED, bounce_args, cpu_share, kernel_answers, refused, stop_bounce, udp_echo
from test_transfer import MB, Transfer, both_roles, check, content_file, ends, exchange  # noqa: F401


def start_packet(hosts, *more):
    process, line = hosts.start("server", bounce_args("--packet", *more))
    assert line.startswith("ready: packet socket on eth0, 1 of ")
    return process


def test_frames_come_back_and_the_kernel_keeps_its_own(hosts):
    process = start_packet(hosts)
    assert hosts.pings("client", CLAIMED, 3) == 3
    assert kernel_answers(hosts)
    assert udp_echo(hosts, 20000) == {"sent": 20000, "right": 20000, "wrong": 0}
    queue = stop_bounce(hosts, process)["queues"][0]
    assert queue["rx"] == queue["tx"] >= 20003
    assert (queue["dropped"], queue["invalid"], queue["full"]) == (0, 0, 0)
    assert kernel_answers(hosts)
    assert hosts.pings("client", CLAIMED) == 0


def test_nothing_stays_after_kill_9(hosts):
    process = start_packet(hosts)
    assert hosts.pings("client", CLAIMED) == 1
    hosts.stop(process, signal.SIGKILL)
    assert hosts.link("server")["promiscuity"] == 0
    assert hosts.pings("client", CLAIMED) == 0
    process = start_packet(hosts)
    assert hosts.pings("client", CLAIMED) == 1
    stop_bounce(hosts, process)


def test_sums_that_the_peer_left_undone_are_known():
    with Hosts(offloads=True) as hosts:
        process = start_packet(hosts)
        assert hosts.pings("client", CLAIMED) == 1
        udp_echo(hosts, 50, 50)
        hosts.run("client", ["ethtool", "-K", "eth0", "tx", "off"])
        udp_echo(hosts, 50)
        assert 50 <= stop_bounce(hosts, process)["verified"] <= 52


def test_more_than_it_can_take_is_dropped_and_survived(hosts):
    process = start_packet(hosts)
    assert hosts.pings("client", CLAIMED) == 1
    process.send_signal(signal.SIGSTOP)
    udp_echo(hosts, 60000, 60000)
    process.send_signal(signal.SIGCONT)
    assert udp_echo(hosts, 2000, 16)["right"] == 2000
    assert kernel_answers(hosts)
    assert stop_bounce(hosts, process)["queues"][0]["dropped"] > 1000


def test_flows_stay_with_their_sockets(hosts):
    process = start_packet(hosts, "--queues", "2")
    assert udp_echo(hosts, 3000, 32, 16)["right"] == 3000
    assert kernel_answers(hosts)
    queues = stop_bounce(hosts, process)["queues"]
    assert len(queues) == 2
    assert all(queue["rx"] > 100 and queue["rx"] == queue["tx"] for queue in queues)


def test_sleeps_when_idle_and_wakes(hosts):
    process = start_packet(hosts)
    assert cpu_share(process, 2) <= 0.02
    for _ in range(20):
        time.sleep(0.02)
        assert hosts.pings("client", CLAIMED) == 1
    assert stop_bounce(hosts, process)["sleeps"] >= 20


def test_link_down_and_up(hosts):
    process = start_packet(hosts)
    for host in "client", "server":
        assert hosts.pings("client", CLAIMED) == 1
        hosts.run(host, ["ip", "link", "set", "eth0", "down"])
        assert cpu_share(process, 0.5) <= 0.1
        hosts.run(host, ["ip", "link", "set", "eth0", "up"])
        wait_until(lambda: hosts.pings("client", CLAIMED), what="an answer after the link came back")
    stop_bounce(hosts, process)


def test_interface_that_goes_away(hosts):
    process = start_packet(hosts)
    assert hosts.pings("client", CLAIMED) == 1
    hosts.run("client", ["ip", "link", "delete", "eth0"])
    assert cpu_share(process, 1) <= 0.05
    stop_bounce(hosts, process)


def test_only_what_is_for_the_address_is_taken(hosts):
    """Frames at the edges of what the socket's filter takes, sent as they are."""
    own = bytes.fromhex(hosts.mac("server").replace(":", ""))
    ether = own + bytes.fromhex("020000000009")
    claimed, other = socket.inet_aton(CLAIMED), bytes([10, 77, 0, 2])

    def ipv4(to, start="45000014" "00000000" "40fd0000" "0a4d0001"):
        return b"\x08\x00" + bytes.fromhex(start) + to

    def arp(to, start="0001" "0800" "06" "04" "0001"):
        return b"\x08\x06" + bytes.fromhex(start) + ether[6:] + bytes([10, 77, 0, 1]) + bytes(6) + to

    ours = [ether + ipv4(claimed), b"\xff" * 6 + ether[6:] + arp(claimed), ether + arp(claimed),
            ether + arp(claimed, "0001" "0800" "06" "04" "0002")]
    not_ours = [
        ether + ipv4(other), ether + ipv4(bytes(4)), ether + ipv4(claimed)[:-1], ether + arp(other),
        ether + arp(claimed)[:-1], ether + arp(claimed, "0006" "0800" "06" "04" "0001"),
        ether + arp(claimed, "0001" "86dd" "06" "04" "0001"), ether + arp(claimed, "0001" "0800" "08" "04" "0001"),
        ether + b"\x81\x00\x00\x05" + ipv4(claimed),  # the kernel takes the tag out: it must not look untagged
        bytes.fromhex("020000000077") + ether[6:] + ipv4(claimed),  # for another link address
        ether + b"\x86\xdd" + ipv4(claimed)[2:], ether + b"\x08\x00E",
    ]
    hosts.run("server", ["ip", "link", "set", "eth0", "promisc", "on"])  # somebody else wants to see everything
    process = start_packet(hosts)
    hosts.send_frames("client", not_ours)
    assert kernel_answers(hosts)
    hosts.send_frames("client", ours)
    time.sleep(0.2)
    assert stop_bounce(hosts, process)["queues"][0]["rx"] == len(ours)


# --- streams ----------------------------------------------------------------


@both_roles
def test_frames_are_long_in_both_directions(content, listens):
    """The peer's kernel leaves the work to hardware there is none of, and so does c10m."""
    with Hosts(offloads=True) as hosts:
        results, counters = exchange(Transfer(hosts, content, "--via", "packet"), listens, 64 * MB, 64 * MB)
    print(f"{128 * MB * 8 / results[0]['ms'] / 1e6:.1f} Gbit/s both ways together")
    assert counters["payload bytes taken in order"] / counters["TCP segments received"] > 1500
    assert counters["bytes sent"] / counters["packets sent"] > 1514
    assert "TCP checksum is wrong" not in counters and "frames that the interface did not take" not in counters


@both_roles
def test_long_frames_meet_faults_one_by_one(content, listens):
    spec = "loss=1%,delay=1ms,jitter=1ms,reorder=1%,duplicate=1%,corrupt=0.5%,seed=3"
    with Hosts(offloads=True) as hosts:
        _, counters = exchange(Transfer(hosts, content, "--via", "packet", "--fault", spec), listens, MB, 4 * MB)
    assert counters["TCP checksum is wrong"] > 3
    assert counters["segments received out of order"] > 10


@both_roles
def test_a_bad_wire(bridged, content, listens):
    with Bridge(bridged, "--fault", "loss=1%,delay=2ms,corrupt=0.5%,seed=8") as bridge:
        _, counters = exchange(Transfer(bridged, content, "--via", "packet"), listens, 2 * MB, 2 * MB)
    assert bridge.report["b_to_a"]["long_frames"] > 10
    assert counters["TCP checksum is wrong"] > 0


@pytest.mark.parametrize("offloads", [False, True], ids=["short", "long"])
def test_each_worker_has_a_socket(content, offloads):
    """Flows go by one hash to a socket and by another to their owner: half of them are handed over."""
    with Hosts(offloads=offloads) as hosts:
        transfer = Transfer(hosts, content, "--via", "packet", "--workers", "2", "--cpu", "0,1")
        ours, theirs = transfer.pair(True, ["send=100000"], ["send=200000"], 200)
        for process, sent, received in (theirs, 200000, 100000), (ours, 100000, 200000):
            for result in ends(process, 200):
                check(result, sent, received)
        ours.send_signal(signal.SIGTERM)
        _, err = ours.communicate(timeout=10)
    assert "packet socket on eth0, 2 of 2" in err
    shares = [[int(number) for number in re.findall(r"\d+", line)]
              for line in re.findall(r"^worker \d+: (\d+ connections opened.*)$", err, re.MULTILINE)]
    assert len(shares) == 2 and min(share[0] for share in shares) > 50, err


# --- what is refused ---------------------------------------------------------


def test_refusals(hosts):
    refused(hosts, bounce_args("--packet", interface="eth7"), "eth7 does not exist")
    refused(hosts, bounce_args("--packet", interface="lo"), "lo is not Ethernet")
    refused(hosts, bounce_args("--packet", "--queues", "99"), "too many")
    hosts.run("server", ["ip", "link", "set", "eth0", "down"])
    refused(hosts, bounce_args("--packet"), "eth0 is down", "ip link set eth0 up")


def test_without_privileges(hosts, tmp_path):
    os.chmod(tmp_path, 0o755)
    for parent in list(tmp_path.parents)[:2]:
        os.chmod(parent, 0o755)
    program = shutil.copy(bounce_args()[0], tmp_path)
    refused(hosts, ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all", program,
                    *bounce_args("--packet")[1:]], "run as root", "CAP_NET_RAW")


def test_a_router_is_told(hosts):
    """Its kernel would route packets for the claimed address."""
    said = {}
    for forward in 0, 1:
        hosts.run("server", ["sysctl", "-qw", f"net.ipv4.ip_forward={forward}"])
        process, said[forward] = hosts.start("server", bounce_args("--packet"))
        stop_bounce(hosts, process)
    assert "ip_forward" in said[1] and "ip_forward" not in said[0]

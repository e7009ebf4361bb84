"""The afxdp port on a real interface: its frames come and go, the kernel's are left alone,
nothing stays behind, and every refusal is a sentence."""

import json
import os
import shutil
import signal
import time

import pytest

from hosts import ROOT, Hosts, command, wait_until

UDP_ECHO = os.path.join(ROOT, "tests/tools/udp_echo.py")
CLAIMED = "10.77.0.10"


def bounce_args(*more, interface="eth0", address=CLAIMED):
    return [Hosts.built("tests/tools/port_bounce"), "--interface", interface, "--address", address, *more]


def start_bounce(hosts, *more, **named):
    process, line = hosts.start("server", bounce_args(*more, **named))
    assert line.startswith("ready: afxdp eth0 queue 0, ")
    return process, line


def stop_bounce(hosts, process):
    """Orderly: exit code 0, nothing on standard error, the counters."""
    code, out, err = hosts.stop(process)
    assert (code, err) == (0, "")
    return json.loads(out)


def udp_echo(hosts, count, *more, address=CLAIMED):
    return json.loads(hosts.run("client", ["/usr/bin/python3", UDP_ECHO, address, count, *more]).stdout)


def forget_neighbour(hosts):
    hosts.run("client", ["ip", "neighbour", "flush", "all"])


def kernel_answers(hosts):
    """The kernel's own address, ARP included."""
    forget_neighbour(hosts)
    return hosts.pings("client", hosts.address("server"), 3) == 3


def cpu_share(process, seconds):
    """The part of a processor that a process takes."""
    def used():
        with open(f"/proc/{process.pid}/stat") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    time.sleep(seconds)
    return (used() - before) / seconds


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_frames_come_back_and_the_kernel_keeps_its_own(hosts, mode):
    assert hosts.xdp("server") is None
    process, line = start_bounce(hosts, "--mode", mode)
    assert f"{mode} mode (as asked)" in line
    assert hosts.xdp("server")["mode"] == {"generic": 2, "native": 1}[mode]
    assert hosts.pings("client", CLAIMED, 3) == 3
    assert kernel_answers(hosts)
    # Several times all the frames there are: none may leak.
    assert udp_echo(hosts, 20000) == {"sent": 20000, "right": 20000, "wrong": 0}
    assert kernel_answers(hosts)
    stats = stop_bounce(hosts, process)
    queue = stats["queues"][0]
    assert queue["rx"] == queue["tx"] >= 20003
    assert (queue["dropped"], queue["invalid"], queue["full"], stats["unsent"]) == (0, 0, 0, 0)
    assert hosts.xdp("server") is None
    assert kernel_answers(hosts)
    assert hosts.pings("client", CLAIMED) == 0


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_nothing_stays_after_kill_9(hosts, mode):
    process, _ = start_bounce(hosts, "--mode", mode)
    assert hosts.pings("client", CLAIMED) == 1
    assert hosts.xdp("server") is not None
    hosts.stop(process, signal.SIGKILL)
    wait_until(lambda: hosts.xdp("server") is None, what="the end of the XDP program")
    assert kernel_answers(hosts)
    process, _ = start_bounce(hosts, "--mode", mode)  # and the next one starts at once
    assert hosts.pings("client", CLAIMED) == 1
    stop_bounce(hosts, process)


def test_auto_is_generic_on_veth(hosts):
    process, line = start_bounce(hosts)
    assert "generic mode (faster on veth)" in line
    stop_bounce(hosts, process)


def test_closing_gives_everything_back(hosts):
    """A process that goes on living keeps neither the program nor a descriptor nor memory."""
    def held(process):
        return len(os.listdir(f"/proc/{process.pid}/fd")), len(open(f"/proc/{process.pid}/maps").readlines())

    once, _ = start_bounce(hosts)
    before = held(once)
    stop_bounce(hosts, once)
    often, _ = start_bounce(hosts, "--reopen", "10")
    assert hosts.pings("client", CLAIMED) == 1
    files, maps = held(often)
    assert files == before[0]
    assert maps <= before[1] + 5
    stop_bounce(hosts, often)


def test_few_frames_many_datagrams(hosts):
    process, _ = start_bounce(hosts, "--frames", "256")
    assert udp_echo(hosts, 5000, 100)["right"] == 5000
    assert stop_bounce(hosts, process)["queues"][0]["rx"] >= 5000


def test_more_than_the_rings_hold_is_dropped_and_survived(hosts):
    process, _ = start_bounce(hosts, "--frames", "256")
    assert hosts.pings("client", CLAIMED) == 1
    process.send_signal(signal.SIGSTOP)
    udp_echo(hosts, 3000, 3000)
    process.send_signal(signal.SIGCONT)
    assert udp_echo(hosts, 2000, 16)["right"] == 2000
    assert kernel_answers(hosts)
    queue = stop_bounce(hosts, process)["queues"][0]
    assert queue["dropped"] > 2000  # counted, not silent
    assert queue["rx"] == queue["tx"]


def test_sleeps_when_idle_and_wakes(hosts):
    process, _ = start_bounce(hosts)
    assert cpu_share(process, 2) <= 0.02
    for _ in range(20):
        time.sleep(0.02)
        assert hosts.pings("client", CLAIMED) == 1
    assert stop_bounce(hosts, process)["sleeps"] >= 20


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_link_down_and_up(hosts, mode):
    process, _ = start_bounce(hosts, "--mode", mode)
    for host in "client", "server":
        assert hosts.pings("client", CLAIMED) == 1
        hosts.run(host, ["ip", "link", "set", "eth0", "down"])
        assert cpu_share(process, 0.5) <= 0.1
        hosts.run(host, ["ip", "link", "set", "eth0", "up"])
        wait_until(lambda: hosts.pings("client", CLAIMED), what="an answer after the link came back")
    assert udp_echo(hosts, 5000)["right"] == 5000
    stop_bounce(hosts, process)


def test_interface_that_goes_away(hosts):
    process, _ = start_bounce(hosts)
    assert hosts.pings("client", CLAIMED) == 1
    hosts.run("client", ["ip", "link", "delete", "eth0"])
    assert cpu_share(process, 1) <= 0.05
    stop_bounce(hosts, process)


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_sums_that_the_peer_left_undone_are_known(mode):
    with Hosts(offloads=True) as hosts:
        process, _ = start_bounce(hosts, "--mode", mode)
        assert hosts.pings("client", CLAIMED) == 1
        udp_echo(hosts, 50, 50)  # its answers have no sum either: the client's kernel drops them
        hosts.run("client", ["ethtool", "-K", "eth0", "tx", "off"])
        udp_echo(hosts, 50)
        assert 50 <= stop_bounce(hosts, process)["verified"] <= 52


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_only_what_is_claimed_is_taken(hosts, mode):
    """Frames at the edges of what the XDP program takes, sent as they are."""
    ether = bytes.fromhex(hosts.mac("server").replace(":", "")) + bytes.fromhex("020000000009")
    claimed, other = bytes([10, 77, 0, 10]), bytes([10, 77, 0, 2])

    def ipv4(to, start="45000014" "00000000" "40fd0000" "0a4d0001"):
        return bytes.fromhex(start) + to

    def arp(to, start="0001" "0800" "06" "04" "0001"):
        return bytes.fromhex(start) + ether[6:] + bytes([10, 77, 0, 1]) + bytes(6) + to

    ours = [
        ether + b"\x08\x00" + ipv4(claimed),
        ether + b"\x08\x06" + arp(claimed),
        ether + b"\x08\x06" + arp(claimed, "0001" "0800" "06" "04" "0002"),  # a reply
    ]
    not_ours = [
        ether + b"\x08\x00" + ipv4(other),
        ether + b"\x08\x00" + ipv4(bytes(4)),
        ether + b"\x08\x00" + ipv4(claimed)[:-1],  # too short
        ether + b"\x81\x00\x00\x05\x08\x00" + ipv4(claimed),  # VLAN-tagged
        ether + b"\x86\xdd" + ipv4(claimed),
        ether + b"\x08\x06" + arp(other),
        ether + b"\x08\x06" + arp(claimed)[:-1],
        ether + b"\x08\x06" + arp(claimed, "0006" "0800" "06" "04" "0001"),
        ether + b"\x08\x06" + arp(claimed, "0001" "86dd" "06" "04" "0001"),
        ether + b"\x08\x06" + arp(claimed, "0001" "0800" "08" "04" "0001"),
        ether + b"\x08\x06" + arp(claimed, "0001" "0800" "06" "10" "0001"),
        ether + b"\x08\x00E",
        ether + b"\x08\x06\x00",
    ]
    process, _ = start_bounce(hosts, "--mode", mode)
    hosts.send_frames("client", not_ours)
    assert kernel_answers(hosts)
    hosts.send_frames("client", ours)
    time.sleep(0.2)
    queue = stop_bounce(hosts, process)["queues"][0]
    assert queue["rx"] == queue["tx"] == len(ours)


def test_a_queue_a_port():
    with Hosts(queues=2) as hosts:
        for host in "client", "server":
            hosts.run(host, ["ethtool", "-L", "eth0", "rx", "2", "tx", "2"])
        process, _ = start_bounce(hosts, "--mode", "native")
        assert udp_echo(hosts, 3000, 32, 16)["right"] == 3000
        assert kernel_answers(hosts)
        queues = stop_bounce(hosts, process)["queues"]
        assert len(queues) == 2
        assert all(queue["rx"] > 100 and queue["rx"] == queue["tx"] for queue in queues)
        process, _ = start_bounce(hosts, "--queues", "1")
        assert len(stop_bounce(hosts, process)["queues"]) == 1


# --- what is refused ---------------------------------------------------------


def refused(hosts, args, *words):
    """Exit code 1, one sentence on standard error, nothing on standard output, no program."""
    before = hosts.xdp("server")
    done = hosts.run("server", args, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert hosts.xdp("server") == before


def test_interface_that_does_not_exist(hosts):
    refused(hosts, bounce_args(interface="eth7"), "eth7 does not exist", "ip link")
    refused(hosts, bounce_args(interface="a" * 40), "does not exist")


def test_interface_that_is_not_ethernet(hosts):
    refused(hosts, bounce_args(interface="lo"), "lo is not Ethernet")


def test_interface_that_is_down(hosts):
    hosts.run("server", ["ip", "link", "set", "eth0", "down"])
    refused(hosts, bounce_args(), "eth0 is down", "ip link set eth0 up")


def test_without_privileges(hosts, tmp_path):
    # Where an ordinary user can reach it.
    os.chmod(tmp_path, 0o755)
    for parent in list(tmp_path.parents)[:2]:
        os.chmod(parent, 0o755)
    program = shutil.copy(bounce_args()[0], tmp_path)
    refused(hosts, ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all", program,
                    *bounce_args()[1:]], "run as root", "CAP_NET_ADMIN")


def test_interface_that_has_a_program(hosts):
    process, _ = start_bounce(hosts)
    refused(hosts, bounce_args(address="10.77.0.11"), "another XDP program is attached to eth0", "xdp off")
    refused(hosts, bounce_args("--mode", "native"), "another XDP program is attached to eth0")
    assert hosts.pings("client", CLAIMED) == 1  # the first one does not notice
    stop_bounce(hosts, process)


def test_more_than_there_is(hosts):
    refused(hosts, bounce_args("--queues", "9"), "eth0 has 1 queues, not 9", "ethtool -l eth0")
    refused(hosts, bounce_args("--frames", "1000000"), "too many")


def test_hosts_clean_up_behind_them():
    with Hosts() as hosts:
        names = [hosts.netns(host) for host in hosts.names]
        sleeper = hosts.popen("server", ["sleep", "1000"])
        listed = command(["ip", "netns", "list"]).stdout
        assert all(name in listed for name in names)
    listed = command(["ip", "netns", "list"]).stdout
    assert not any(name in listed for name in names)
    assert sleeper.returncode is not None

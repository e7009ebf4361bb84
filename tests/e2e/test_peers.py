"""c10m against the Linux kernel, in both roles, over wires of all kinds: every byte is compared. docs/peers.md.

Each cell of the matrix is a transfer through `c10m bridge`. ./dev test runs a sample, ./dev test peers all of them;
with C10M_PEERS=FILE each adds a JSON line of what it saw."""

import json
import math
import os
import time

import pytest

from hosts import Bridge, Bridged
from test_bridge import kernel_count
from test_transfer import MB, Transfer, check, content_file, end, ends  # noqa: F401

ROLES = {"c10m_listens": True, "c10m_connects": False}
WAYS = {"c10m_sends": (1, 0), "kernel_sends": (0, 1)}
BOTH = {"both_send": (1, 1)}
LIMIT = 100  # seconds for a cell

# What ./dev test runs of the matrix; the names are those of the cells.
SAMPLE = {
    "delay=50ms,loss=1% c10m_sends c10m_listens", "delay=10ms,loss=3% kernel_sends c10m_connects",
    "everything at once both_send c10m_listens", "ECN marks both_send c10m_connects",
    "MTU 576 both_send c10m_listens", "window of c10m: 536 kernel_sends c10m_connects",
    "window of the kernel: 4096 c10m_sends c10m_listens", "windows of 64 MB both_send c10m_listens",
    "interface down and up both_send c10m_listens", "c10m is killed c10m_listens",
}


class Cell:
    """subject: what the table calls it; value: where it stands in its row. spec: of the bridge."""

    def __init__(self, subject, value, ways, role, spec="", sizes=4 * MB, mtu=1500, **more):
        self.subject, self.value, self.ways, self.role = subject, value, ways, role
        self.spec, self.sizes, self.mtu, self.more = spec, sizes, mtu, more
        self.name = " ".join(filter(None, [f"{subject}{value}", ways, role]))


def bytes_for(delay_ms, loss):
    """What a stream can carry in some seconds: 1448 / (RTT * sqrt(loss)), RFC 3649 section 2."""
    if not loss:
        return 16 * MB if delay_ms <= 10 else 8 * MB
    rtt = (2 * delay_ms + 1) / 1000
    return int(min(16 * MB, max(100_000, 2 * 1448 / (rtt * math.sqrt(loss / 100)))))


def cells():
    for role in ROLES:
        for ways in WAYS:
            for delay in 0, 1, 10, 50, 100, 200:
                for loss in 0, 0.1, 1, 3, 5:
                    faults = [f"delay={delay}ms"] * (delay > 0) + [f"loss={loss}%"] * (loss > 0)
                    yield Cell("", ",".join([f"delay={delay}ms", f"loss={loss}%"]), ways, role, ",".join(faults),
                               bytes_for(delay, loss))
            for size in 256, 1024:
                yield Cell("by hash, MB: ", size, ways, role, sizes=size * MB)
            for window in 1, 2, 536, 1460, 4096, 65535, MB, 16 * MB:
                yield Cell("window of c10m: ", window, ways, role, c10m=[f"window_bytes={window}"],
                           sizes=40 * window if window < 10 else min(4 * MB, window * 500),
                           spec="delay=1ms" if window > 4096 else "")
            for window in 1, 4096, 65536, MB, 16 * MB:
                yield Cell("window of the kernel: ", window, ways, role, kernel=[f"receive_buffer={window}"])
        yield from mixed(role)
        for event in EVENTS:
            yield Cell(event, "", "both_send" if event.startswith("interface") else "", role, event=EVENTS[event])


def mixed(role):
    """Both send at the same time."""
    for fault in "reorder", "duplicate", "corrupt":
        for share in 0.1, 1, 5:
            yield Cell(f"{fault}, %: ", share, "both_send", role, f"delay=2ms,{fault}={share}%,seed=3", 2 * MB)
    for jitter in 1, 5, 20:
        yield Cell("jitter, ms: ", jitter, "both_send", role, f"delay=20ms,jitter={jitter}ms", 2 * MB)
    yield Cell("everything at once", "", "both_send", role,
               "delay=10ms,jitter=3ms,loss=1%,reorder=1%,duplicate=1%,corrupt=0.5%,seed=8", MB)
    for mtu in 576, 700, 1006, 1280, 1492:
        yield Cell("MTU ", mtu, "both_send", role, "delay=1ms,loss=0.1%", 2 * MB, mtu)
    yield Cell("ECN marks", "", "both_send", role, "rate=100mbit,delay=5ms,queue=1000,ecn=20", 4 * MB,
               sysctl=["net.ipv4.tcp_ecn=1"])
    yield Cell("windows of 64 MB", "", "both_send", role, "delay=20ms", 32 * MB, c10m=[f"window_bytes={64 * MB}"],
               sysctl=[f"net.ipv4.tcp_rmem=4096 {64 * MB} {128 * MB}", f"net.ipv4.tcp_wmem=4096 {64 * MB} {128 * MB}"])
    yield Cell("half-close, c10m first", "", "", role, "delay=5ms,loss=1%", (1000, 2 * MB), kernel=["after_eof=1"])
    yield Cell("half-close, the kernel first", "", "", role, "delay=5ms,loss=1%", (2 * MB, 1000), c10m=["after_eof=1"])


# --- things that happen in the middle of a stream -----------------------------------------------


def begin(transfer, listens, c10m=(), kernel=()):
    ours, theirs = transfer.pair(listens, ["send=10000000000", *c10m], ["send=10000000000", *kernel])
    transfer.wait_until_connected()
    time.sleep(0.5)
    return ours, theirs


def peer_killed(transfer, listens):
    ours, theirs = begin(transfer, listens)
    theirs.kill()
    assert end(ours, 10)["reason"] == "reset"
    transfer.stop(ours)


def kernel_resets(transfer, listens):
    ours, theirs = transfer.pair(listens, ["send=10000000000"], ["send=10000000000", "close_after=300000"])
    assert end(theirs)["reason"] == "closed"
    assert end(ours, 10)["reason"] == "reset"
    transfer.stop(ours)


def c10m_resets(transfer, listens):
    ours, theirs = begin(transfer, listens)
    ours.terminate()
    assert end(theirs, 10)["reason"] in ("ConnectionResetError", "BrokenPipeError")


def c10m_killed(transfer, listens):
    """Whoever has its address afterwards knows nothing of the connection, and says so."""
    ours, theirs = begin(transfer, listens)
    ours.kill()
    ours.wait()
    again = transfer.c10m_listens("send=0")
    assert end(theirs, 30)["reason"] in ("ConnectionResetError", "BrokenPipeError")
    transfer.stop(again)


def address_changes(transfer, listens):
    """The old connection ends by its time-out, a new one to the new address works."""
    ours, theirs = begin(transfer, listens, c10m=["user_timeout_ms=1500"])
    hosts = transfer.hosts
    hosts.run("client", ["ip", "address", "flush", "dev", "eth0"])
    hosts.run("client", ["ip", "address", "add", "10.77.0.9/24", "dev", "eth0"])
    assert end(ours, 20)["reason"] == "timeout"
    theirs.kill()
    transfer.stop(ours)
    hosts.address = lambda host: "10.77.0.9"
    ours, theirs = transfer.pair(listens, [f"send={MB}"], [f"send={MB}"])
    for process in theirs, ours:
        check(end(process), MB, MB)
    transfer.stop(ours)


def down_and_up(host):
    def act(transfer, listens):
        size = 128 * MB
        ours, theirs = transfer.pair(listens, [f"send={size}"], [f"send={size}"])
        transfer.wait_until_connected()
        time.sleep(0.3)
        transfer.hosts.run(host, ["ip", "link", "set", "eth0", "down"])
        time.sleep(1.5)
        transfer.hosts.run(host, ["ip", "link", "set", "eth0", "up"])
        for process in theirs, ours:
            check(end(process, LIMIT), size, size)
        transfer.stop(ours)
    return act


EVENTS = {
    "the kernel's peer is killed": peer_killed, "reset by the kernel": kernel_resets, "reset by c10m": c10m_resets,
    "c10m is killed": c10m_killed, "address change": address_changes,
    "interface down and up": down_and_up("client"), "interface of c10m down and up": down_and_up("server"),
}


# --- the matrix ------------------------------------------------------------------------------------


def sizes_of(cell):
    if isinstance(cell.sizes, tuple):
        return cell.sizes
    ours, theirs = {**WAYS, **BOTH}[cell.ways]
    return cell.sizes * ours, cell.sizes * theirs


def run(cell, transfer):
    """The transfer of a cell: milliseconds, and c10m's counters."""
    listens = ROLES[cell.role]
    if "event" in cell.more:
        cell.more["event"](transfer, listens)
        return None, {}
    our_bytes, their_bytes = sizes_of(cell)
    ours, theirs = transfer.pair(listens, [f"send={our_bytes}", *cell.more.get("c10m", [])],
                                 [f"send={their_bytes}", *cell.more.get("kernel", [])])
    check(ends(theirs, 1, LIMIT)[0], their_bytes, our_bytes)
    result = ends(ours, 1, LIMIT)[0]
    check(result, our_bytes, their_bytes)
    return result["ms"], transfer.stop(ours)


def note(cell, ms, counters, report):
    if "C10M_PEERS" not in os.environ:
        return
    line = {"order": [other.name for other in cells()].index(cell.name), "subject": cell.subject, "value": cell.value, "ways": cell.ways, "role": cell.role,
            "bytes": sum(sizes_of(cell)) if ms else None, "ms": ms, "again": counters.get("segments sent again", 0),
            "marks": report["a_to_b"]["ecn_marks"] + report["b_to_a"]["ecn_marks"]}
    with open(os.environ["C10M_PEERS"], "a", encoding="ascii") as file:
        file.write(json.dumps(line) + "\n")


def parameters():
    for cell in cells():
        marks = [] if cell.name in SAMPLE else [pytest.mark.peers]
        yield pytest.param(cell, id=cell.name, marks=marks)


@pytest.mark.parametrize("cell", parameters())
def test_a_cell(cell, content):
    with Bridged(offloads=True, mtu=cell.mtu) as hosts:
        for host in "client", "server":
            for setting in cell.more.get("sysctl", []):
                hosts.run(host, ["sysctl", "-qw", setting])
        with Bridge(hosts, *(["--fault", cell.spec] if cell.spec else [])) as bridge:
            ms, counters = run(cell, Transfer(hosts, content))
        note(cell, ms, counters, bridge.report)


# --- congestion that is marked ---------------------------------------------------------------------

ECN_ASK, ECN_OFF = 1, 2  # c10m_service.ecn
MARKING = "rate=50mbit,delay=5ms,queue=10000,ecn=20"  # nothing is lost: who does not slow down fills a long queue


def marked_link(content, listens, ecn, our_bytes, their_bytes):
    """A transfer over it. Of c10m's frames and of the kernel's, how many were marked; c10m's counters."""
    with Bridged(offloads=True) as hosts:
        hosts.run("client", ["sysctl", "-qw", "net.ipv4.tcp_ecn=1"])
        with Bridge(hosts, "--fault", MARKING) as bridge:
            transfer = Transfer(hosts, content)
            ours, theirs = transfer.pair(listens, [f"send={our_bytes}", f"window_bytes={MB}", f"ecn={ecn}"],
                                         [f"send={their_bytes}"])
            check(ends(theirs, 1, LIMIT)[0], their_bytes, our_bytes)
            check(ends(ours, 1, LIMIT)[0], our_bytes, their_bytes)
            counters = transfer.stop(ours)
            counters["the kernel heard"] = kernel_count(hosts, "client", "TcpExtTCPDeliveredCE")
    for way in bridge.report["a_to_b"], bridge.report["b_to_a"]:
        assert way["queue_drops"] == way["lost"] == 0
    return bridge.report["b_to_a"]["ecn_marks"], bridge.report["a_to_b"]["ecn_marks"], counters


@pytest.mark.parametrize("listens", ROLES.values(), ids=ROLES)
def test_marks_on_what_c10m_sends_make_its_window_smaller(content, listens):
    """A window that marks do not touch grows to 1 MB, and then nearly all of the 5800 segments find a long queue."""
    ours, _, counters = marked_link(content, listens, ECN_ASK, 8 * MB, 0)
    assert 10 < ours < 2900
    assert counters["acknowledgements that told of marks on what we sent"] > 0
    assert counters["windows made smaller because of marks"] > 1


@pytest.mark.parametrize("listens", ROLES.values(), ids=ROLES)
def test_marks_on_what_the_kernel_sends_are_told(content, listens):
    _, theirs, counters = marked_link(content, listens, ECN_ASK, 0, 8 * MB)
    assert theirs > 10
    assert counters["segments received with a mark of congestion (ECN)"] == theirs
    assert counters["the kernel heard"] > 0


@pytest.mark.parametrize("listens", ROLES.values(), ids=ROLES)
def test_nothing_is_marked_when_c10m_does_without(content, listens):
    ours, theirs, _ = marked_link(content, listens, ECN_OFF, MB, MB)
    assert ours == theirs == 0


def test_the_sample_is_part_of_the_matrix():
    assert SAMPLE <= {cell.name for cell in cells()}

"""The XDP program on a shared interface, asked frame by frame whose it is."""

import os
import time

import pytest
from scapy.all import ARP, Dot1Q, Ether, ICMP, IP, IPv6, Raw, TCP, UDP, fragment

from hosts import Hosts

OURS, SECOND, OTHER, PEER = "10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.1"
WEB, SSH = 80, 22


class Steer:
    def __init__(self, hosts, *vlan):
        # On one processor: each has some entries of the map of fragments to itself, which no flood on another
        # one drives out.
        cpu = str(min(os.sched_getaffinity(0)))
        self.process = hosts.popen("server", ["taskset", "-c", cpu, Hosts.built("tests/tools/steer"), "eth0",
                                              f"{OURS},{SECOND}", f"{WEB},65535,5000", *vlan], stdin=-1)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, packet):
        self.tell(bytes(packet).hex())
        answer = self.process.stdout.readline().strip()
        assert answer, self.process.stderr.read()
        return answer


@pytest.fixture(name="steer")
def steer_program(hosts):
    steer = Steer(hosts)
    yield steer
    steer.process.stdin.close()
    assert steer.process.wait(5) == 0


def ether():
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def tcp(port, address=OURS, **ip):
    return ether() / IP(src=PEER, dst=address, **ip) / TCP(sport=40000, dport=port)


def test_only_claimed_ports_at_claimed_addresses(steer):
    for port in range(0, 65536, 257):
        assert steer.ask(tcp(port)) == ("ours" if port == 65535 else "kernel"), port
    for port in WEB, 5000, 65535:
        for address in OURS, SECOND:
            assert steer.ask(tcp(port, address)) == "ours"
        assert steer.ask(tcp(port, OTHER)) == "kernel"
        assert steer.ask(tcp(port, "0.0.0.0")) == "kernel"
    for port in SSH, 0, 79, 81, 4999, 5001, 65534:
        assert steer.ask(tcp(port)) == "kernel"


def test_everything_else_is_the_kernels(steer):
    inner = IP(src=PEER, dst=OURS)
    for packet in [ether() / ARP(op=1, psrc=PEER, pdst=OURS), ether() / ARP(op=2, psrc=PEER, pdst=OURS),
                   ether() / inner / ICMP(type=8) / b"12345678", ether() / inner / UDP(sport=5, dport=WEB),
                   ether() / Dot1Q(vlan=5) / inner / TCP(dport=WEB), ether() / IPv6(dst="::1") / TCP(dport=WEB),
                   ether() / Raw(b"\0" * 50)]:
        assert steer.ask(packet) == "kernel", packet.summary()


def test_frames_cut_short_and_long_headers(steer):
    whole = bytes(tcp(WEB))
    for length in range(14, len(whole)):  # four bytes of TCP are what it looks at
        assert steer.ask(whole[:length].ljust(14)) == ("ours" if length >= 14 + 20 + 4 else "kernel"), length
    options = tcp(WEB, options=[(b"\x01" * 40)])
    options = ether() / IP(src=PEER, dst=OURS, options=b"\x01" * 40) / TCP(dport=WEB)
    assert steer.ask(options) == "ours"
    assert steer.ask(bytes(options)[:14 + 60 + 2]) == "kernel"
    short = bytearray(whole)
    short[14] = 0x44  # a header of 16 bytes
    assert steer.ask(bytes(short)) == "kernel"


def test_claims_change_while_it_runs(steer):
    assert steer.ask(tcp(443)) == "kernel"
    steer.tell("port 443")
    assert steer.ask(tcp(443)) == "ours"
    steer.tell("noport 443")
    assert steer.ask(tcp(443)) == "kernel"
    steer.tell(f"noaddress {SECOND}")
    assert steer.ask(tcp(WEB, SECOND)) == "kernel"
    assert steer.ask(tcp(WEB, OURS)) == "ours"
    steer.tell(f"address {SECOND}")
    assert steer.ask(tcp(WEB, SECOND)) == "ours"


def quoting(kind, source=OURS, port=WEB, protocol=TCP, **ip):
    quoted = IP(src=source, dst=PEER, **ip) / protocol(sport=port, dport=40000)
    return ether() / IP(src="10.9.9.9", dst=OURS) / ICMP(type=kind, code=4 if kind == 3 else 0) / bytes(quoted)[:60]


def test_icmp_errors_that_quote_us(steer):
    for kind in range(256):
        assert steer.ask(quoting(kind)) == ("ours" if kind in (3, 11, 12) else "kernel"), kind
    assert steer.ask(quoting(3, port=SSH)) == "kernel"
    assert steer.ask(quoting(3, source=OTHER)) == "kernel"
    assert steer.ask(quoting(3, protocol=UDP)) == "kernel"
    assert steer.ask(quoting(3, options=b"\x01" * 40)) == "kernel"  # the ports were cut off
    whole = bytes(quoting(3))
    for length in range(14, 14 + 20 + 8 + 20 + 4):
        assert steer.ask(whole[:length]) == "kernel", length
    assert steer.ask(whole[:14 + 20 + 8 + 20 + 8]) == "ours"


def pieces(port, number, size=3000, source=PEER):
    packet = IP(src=source, dst=OURS, id=number) / TCP(sport=40000, dport=port) / Raw(b"x" * size)
    return [ether() / piece for piece in fragment(packet, 1480)]


def test_fragments_go_where_the_first_went(steer):
    ours, kernels = pieces(WEB, 1), pieces(SSH, 2)
    assert len(ours) == len(kernels) == 3
    assert steer.ask(ours[1]) == "kernel"  # before the first nobody knows
    assert [steer.ask(piece) for piece in ours] == ["ours"] * 3
    assert [steer.ask(piece) for piece in kernels] == ["kernel"] * 3
    assert steer.ask(ours[2]) == "ours"
    for other in [pieces(WEB, 3)[1], pieces(WEB, 1, source="10.77.0.9")[1]]:
        assert steer.ask(other) == "kernel"
    # The same number again, for a port that is not ours.
    assert [steer.ask(piece) for piece in pieces(SSH, 1)] == ["kernel"] * 3


def test_a_flood_of_fragments_forgets_the_oldest(steer):
    first = pieces(WEB, 7)
    assert steer.ask(first[0]) == "ours"
    for number in range(1000, 7000):
        steer.tell(bytes(pieces(WEB, number, 1480)[0]).hex())
    for number in range(1000, 7000):
        assert steer.process.stdout.readline() == "ours\n"
    assert steer.ask(first[1]) == "kernel"
    assert [steer.ask(piece) for piece in pieces(WEB, 8)] == ["ours"] * 3


def syn(number, sequence=1000, flags="S"):
    """The numberth client's."""
    return ether() / IP(src=f"10.80.{number >> 8}.{number & 255}", dst=OURS) / TCP(sport=40000, dport=WEB, seq=sequence,
                                                                                flags=flags)


def count(steer, packets):
    answers = [steer.ask(packet) for packet in packets]
    return answers.count("ours"), answers.count("dropped")


def test_all_syns_pass_until_they_are_policed(steer):
    assert count(steer, [syn(i) for i in range(500)]) == (500, 0)


def test_clients_that_send_their_syn_again_get_in(steer):
    steer.tell("police 100,100000")
    start = time.monotonic()
    passed, dropped = count(steer, [syn(i) for i in range(1000)])
    assert passed <= 2 + 100 * (time.monotonic() - start) and dropped == 1000 - passed
    # At once, that is no second try but the same again.
    assert count(steer, [syn(i) for i in range(300, 400)])[0] <= 20
    time.sleep(1)
    assert count(steer, [syn(i) for i in range(1000)])[0] >= 990
    # What was let in is not let in again at once, and other numbers are another client.
    assert count(steer, [syn(i) for i in range(200)])[0] <= 20
    time.sleep(0.5)
    assert count(steer, [syn(i, sequence=1001) for i in range(200)])[0] <= 20
    assert count(steer, [syn(i) for i in range(600, 800)])[0] >= 198


def test_only_bare_syns_are_policed(steer):
    steer.tell("police 100,100")
    count(steer, [syn(i) for i in range(100)])
    for flags in "A", "PA", "FA", "R", "RA", "SA", "F", "":
        assert count(steer, [syn(i, flags=flags) for i in range(50)]) == (50, 0), flags
    assert steer.ask(ether() / IP(src=PEER, dst=OURS) / TCP(dport=SSH, flags="S")) == "kernel"
    # SYNs that carry another flag beside (ECN) are SYNs.
    assert count(steer, [syn(i, flags="SEC") for i in range(100, 200)])[0] <= 20
    steer.tell("police 0,0")
    assert count(steer, [syn(i) for i in range(1000, 1200)]) == (200, 0)


def test_who_repeats_forged_syns_meets_a_limit_too(steer):
    steer.tell("police 100,100")
    count(steer, [syn(i) for i in range(500)])
    time.sleep(1)
    start = time.monotonic()
    assert count(steer, [syn(i) for i in range(500)])[0] <= 4 + 200 * (time.monotonic() - start)

#!/usr/bin/python3
"""make_session_corpus.py [DIRECTORY] - writes the seed corpus of the session fuzzer, one file a session.

Each is a short life of a connection; the fuzzer makes others of them. The files are in
the tree; run this after a change of `enum action` in session.h."""

import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FIN, SYN, RST, PSH, ACK, ECE, CWR = 1, 2, 4, 8, 16, 64, 128
LATER = 0xf8  # ACT_LATER


def actions():
    with open(os.path.join(HERE, "session.h"), encoding="utf-8") as file:
        text = file.read()
    first, later = re.search(r"enum action \{(.*?)ACT_COUNT,(.*?)ACT_END", text, re.S).groups()
    known = {name.lower(): number for number, name in enumerate(re.findall(r"^\s*ACT_(\w+),", first, re.M))}
    for number, name in enumerate(re.findall(r"^\s*ACT_(\w+)(?: = ACT_COUNT)?,", later, re.M)):
        known[name.lower()] = LATER + number
    return known


ACTIONS = actions()


def do(name, *operands):
    return bytes([ACTIONS[name], *operands])


def number(value):
    return struct.pack("!H", value)


def offset(value):
    return number(value + 0x8000)


def segment(peer, flags, seq=0, ack=0, window=40000, length=0):
    return do("segment", peer, flags) + offset(seq) + offset(ack) + number(window) + number(length)


def sack(peer, *blocks):
    """From what the peer acknowledged last."""
    text = b"".join(offset(start) + number(length) for start, length in blocks)
    return do("sack", peer, len(blocks) - 1) + text


def opened(peer=0):
    return do("syn", peer) + do("good", peer, 0)


def connected(peer=0):
    return do("connect", peer) + do("syn", peer) + do("good", peer, 0)


def send(peer, count):
    return do("send", peer) + number(count)


def sessions():
    yield "echo", opened() + do("good", 0, 20) + send(0, 100) + do("good", 0, 0) + do("fin", 0) + do("good", 0, 0)
    yield "peer_closes", opened() + do("good", 0, 3) + do("fin", 0) + do("good", 0, 0)
    yield "we_close", opened() + do("close", 0) + do("good", 0, 0) + do("fin", 0) + do("pass_long", 20)
    yield "half_close", opened() + do("shutdown", 0) + do("good", 0, 9) + do("fin", 0) + do("good", 0, 0)
    yield "both_close", opened() + do("close", 0) + segment(0, FIN | ACK, ack=-1) + do("good", 0, 0)
    yield "reset", opened() + send(0, 5000) + segment(0, RST)
    yield "challenge", opened() + segment(0, RST, 5) + segment(0, SYN, 7) + segment(0, ACK, ack=900) + do("good", 0, 1)
    yield "holes", opened() + b"".join(segment(0, ACK, at, length=100) for at in (300, 100, 200, 50, 0)) + do("good", 0, 0)
    yield "fin_behind_hole", opened() + segment(0, FIN | ACK, 100, length=50) + segment(0, ACK, 0, length=100) + do("good", 0, 0)
    yield "window_closes", opened() + do("consume", 0) + do("good", 0, 250) * 5 + do("consume", 255) + do("resume", 0)
    yield "window_edge", opened() + do("consume", 0) + segment(0, ACK, 4900, length=101) + segment(0, ACK, 4999, length=2)
    yield "probes", opened() + segment(0, ACK, window=0) + send(0, 500) + do("deadline") * 4 + do("good", 0, 0)
    yield "retransmits", opened() + send(0, 9000) + do("deadline") * 5 + do("good", 0, 0) * 3
    # Nothing new to send: the offset means the same place each time.
    recovery = segment(0, ACK, ack=-14600) * 5 + segment(0, ACK, ack=-8000) + do("good", 0, 0)
    yield "duplicates", opened() + send(0, 14600) + recovery
    yield "limited_transmit", opened() + send(0, 20000) + b"".join(
        segment(0, ACK, ack=at) for at in (-14600, -16060, -17520, -17520, -9000)) + do("good", 0, 0)
    yield "timestamps", opened(2) + do("good", 2, 9) + do("old", 2, 200) + do("good", 2, 9)
    yield "options", opened(1) + do("options", 1, ACK, 8, 77, 0, 1, 1, 5, 10, 0, 0)
    yield "connect", connected() + do("good", 0, 30) + send(0, 300) + do("close", 0) + do("fin", 0)
    yield "refused", do("connect", 0) + segment(0, RST | ACK)
    yield "simultaneous_open", do("connect", 0) + segment(0, SYN) + do("good", 0, 0)
    yield "path_mtu", opened() + send(0, 5000) + do("icmp", 0, 3, 4) + number(600) + offset(-1000) + do("good", 0, 0)
    yield "unreachable", do("connect", 0) + do("icmp", 0, 3, 3) + number(0) + offset(-1)
    yield "burst", opened() + do("burst") + do("good", 0, 9) * 5 + do("fin", 0) + do("pass", 50)
    yield "rebuild", opened() + send(0, 5000) + segment(0, ACK, 500, length=100) + do("rebuild") + do("good", 0, 100)
    yield "many", b"".join(opened(peer) for peer in range(4)) + b"".join(do("good", peer, 9) for peer in range(4))
    yield "reopen", opened() + do("fin", 0) + do("good", 0, 0) + do("reopen", 0) + opened() + do("good", 0, 9)
    yield "port_full", opened() + send(0, 9000) + do("one_frame") * 9
    yield "timer", opened() + do("timer", 0) + number(500) + do("pass", 255) * 3 + do("abort", 0)
    yield "keepalive", opened() + do("pass_long", 10) * 10
    yield "ping", do("raw", 42, *bytes.fromhex("020000000001020000000002080045000 01c".replace(" ", "")))
    yield "arp", do("arp", 0) + opened()
    yield "sack", opened(1) + send(1, 14600) + sack(1, (2920, 1460)) + sack(1, (2920, 2920), (7300, 1460)) + do("deadline") * 3
    yield "sack_lies", opened(1) + send(1, 9000) + sack(1, (-3000, 1460), (20000, 4000)) + do("deadline") * 2
    yield "time_lies", opened(2) + send(2, 3000) + do("time", 2) + offset(900) + b"\0" + offset(-5) + b"\x10" + do("good", 2, 0)
    yield "marks", opened(1) + do("mark", 3) + do("good", 1, 200) * 3 + send(1, 9000) + segment(1, ACK | ECE) * 2 + segment(1, ACK | CWR)
    for which, name in enumerate(("cubic", "newreno", "dctcp", "bbr")):
        yield name, opened(1) + do("algorithm", 1) + number(which) + send(1, 14600) + sack(1, (2920, 1460)) + do("deadline") * 3
    yield "limits", opened(0) + opened(1) + do("limits", 0x68) + opened(2) + do("limits", 0) + opened(3)


def ruled():
    """Sessions under limits and deadlines; see RULE_SILENCE and its kin."""
    many = b"".join(opened(peer) for peer in range(4))
    yield "silence", 0x01, opened() + do("pass_long", 2) + opened(1) + do("good", 1, 9) + do("pass_long", 20)
    yield "unsent", 0x02, opened() + segment(0, ACK, window=0) + send(0, 500) + do("deadline") * 9
    yield "denied", 0x24, many
    yield "denied_silently", 0x04, many
    yield "capped", 0x28, many + do("abort", 0) + do("reopen", 1) + opened(1)
    yield "capped_by_net", 0xe8, many + do("fin", 0) + do("good", 0, 0) + opened(3)
    yield "rated", 0x30, many + do("pass_long", 4) + opened(3)


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "corpus", "session")
    os.makedirs(directory, exist_ok=True)
    for name, content in sessions():
        for choices in (0, 47, 128) if name in ("echo", "holes", "retransmits", "we_close") else (0,):
            with open(os.path.join(directory, f"{name}_{choices}"), "wb") as file:
                file.write(bytes([choices, 0]) + content)
    for name, rules, content in ruled():
        with open(os.path.join(directory, f"ruled_{name}"), "wb") as file:
            file.write(bytes([0, rules]) + content)


main()

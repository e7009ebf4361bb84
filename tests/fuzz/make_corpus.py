#!/usr/bin/python3
"""make_corpus.py [DIRECTORY] - writes the seed corpus of the frame fuzzer, one file a frame.

Each frame is the shape of something a network carries, or of something malformed that
lies one step beside it. The files are in the tree; run this after a change here."""

import os
import struct
import sys

US, PEER = bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2])
US_IP, PEER_IP = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(kind, body, destination=US):
    return destination + PEER + struct.pack("!H", kind) + body


def arp(operation, sender=PEER):
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender + PEER_IP + bytes(6) + US_IP
    return ethernet(0x0806, body, b"\xff" * 6 if operation == 1 else US)


def ipv4(protocol, body, options=b"", fragment=0x4000, source=PEER_IP, total=None, version=4):
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH4s4s", version << 4 | length // 4, 0, total or length + len(body), 7, fragment, 64,
                       protocol, 0, source, US_IP) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def tcp(flags, options=b"", payload=b"", words=None, ports=(5000, 80)):
    length = 20 + len(options)
    head = struct.pack("!HHIIBBHHH", *ports, 0xFFFFFFF0, 0x00000010, (words or length // 4) << 4, flags, 65535, 0, 0)
    body = head + options + payload
    check = checksum(PEER_IP + US_IP + struct.pack("!BBH", 0, 6, len(body)) + body)
    return body[:16] + struct.pack("!H", check) + body[18:]


def tcp_frame(*arguments, **named):
    return ethernet(0x0800, ipv4(6, tcp(*arguments, **named)))


def icmp_frame(kind, code, rest, body):
    message = struct.pack("!BBHI", kind, code, 0, rest) + body
    return ethernet(0x0800, ipv4(1, message[:2] + struct.pack("!H", checksum(message)) + message[4:]))


def tcp_seeds():
    timestamps = b"\1\1\x08\x0a" + struct.pack("!II", 1000, 2000)
    mss, permitted, wscale = b"\2\4\x05\xb4", b"\4\2", b"\3\3\7"
    yield "tcp_syn", tcp_frame(SYN, mss + permitted + timestamps[2:] + b"\1" + wscale)
    yield "tcp_syn_ack", tcp_frame(SYN | ACK, mss + b"\1\1" + permitted + b"\1" + wscale)
    yield "tcp_ack", tcp_frame(ACK)
    yield "tcp_data", tcp_frame(ACK | PSH, timestamps, b"GET / HTTP/1.1\r\n\r\n")
    yield "tcp_odd", tcp_frame(ACK | PSH, timestamps, b"x")
    yield "tcp_fin", tcp_frame(FIN | ACK, timestamps)
    yield "tcp_rst", tcp_frame(RST)
    yield "tcp_urgent", tcp_frame(ACK | URG, b"", b"!")
    for blocks in range(1, 5):
        sack = bytes([5, 2 + 8 * blocks]) + b"".join(struct.pack("!II", 16 * i, 16 * i + 8) for i in range(blocks))
        yield f"tcp_sack{blocks}", tcp_frame(ACK, b"\1\1" + sack)
    sack = b"\1\1\5\x1a" + struct.pack("!6I", 1, 2, 3, 4, 5, 6)
    yield "tcp_timestamps_sack", tcp_frame(ACK, timestamps + sack)
    yield "tcp_end_of_options", tcp_frame(SYN, mss + b"\0\2\0\xff")
    yield "tcp_unknown_option", tcp_frame(SYN, b"\x22\2" + mss + b"\xfd\6" + b"abcd")
    yield "tcp_option_length_0", tcp_frame(SYN, b"\2\0\0\0")
    yield "tcp_option_length_1", tcp_frame(SYN, b"\x63\1\1\1")
    yield "tcp_option_beyond", tcp_frame(SYN, b"\1\2\4\x05")
    yield "tcp_option_cut", tcp_frame(SYN, b"\1\1\1\x08")
    yield "tcp_mss_wrong_length", tcp_frame(SYN, b"\2\3\x05\1")
    yield "tcp_wscale_255", tcp_frame(SYN, b"\1\3\3\xff")
    yield "tcp_header_too_short", tcp_frame(SYN, words=4)
    yield "tcp_header_beyond", tcp_frame(SYN, words=15)
    yield "tcp_port_zero", tcp_frame(SYN, ports=(0, 80))


def seeds():
    quoted = ipv4(6, tcp(ACK)[:8], total=1500)
    yield "empty", b""
    yield "short", PEER
    yield "ethernet_ipv6", ethernet(0x86DD, bytes(40))
    yield "arp_request", arp(1)
    yield "arp_reply", arp(2)
    yield "arp_group_sender", arp(2, b"\xff" * 6)
    yield "arp_short", arp(1)[:-1]
    yield "ipv4_udp", ethernet(0x0800, ipv4(17, struct.pack("!HHHH", 53, 53, 8, 0)))
    yield "ipv4_options", ethernet(0x0800, ipv4(6, tcp(ACK), options=b"\x94\4\0\0\1\1\1\0"))
    yield "ipv4_fragment", ethernet(0x0800, ipv4(6, bytes(24), fragment=0x2001))
    yield "ipv4_padded", ethernet(0x0800, ipv4(6, tcp(ACK)) + bytes(6))
    yield "ipv4_bad_source", ethernet(0x0800, ipv4(6, tcp(ACK), source=bytes([127, 0, 0, 1])))
    yield "ipv4_total_beyond", ethernet(0x0800, ipv4(6, tcp(ACK), total=1500))
    yield "ipv4_version_6", ethernet(0x0800, ipv4(6, tcp(ACK), version=6))
    yield "icmp_echo", icmp_frame(8, 0, 0x00010002, b"abcdefghi")
    yield "icmp_echo_reply", icmp_frame(0, 0, 0x00010002, b"")
    yield "icmp_too_big", icmp_frame(3, 4, 1400, quoted)
    yield "icmp_too_big_no_mtu", icmp_frame(3, 4, 0, quoted)
    yield "icmp_port_unreachable", icmp_frame(3, 3, 0, quoted)
    yield "icmp_time_exceeded", icmp_frame(11, 0, 0, quoted)
    yield "icmp_quote_cut", icmp_frame(3, 1, 0, quoted[:-1])
    yield "icmp_quote_fragment", icmp_frame(3, 1, 0, ipv4(6, tcp(ACK)[:8], fragment=1))
    yield "icmp_timestamp", icmp_frame(13, 0, 0, bytes(12))
    yield from tcp_seeds()


def main():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "frame")
    directory = sys.argv[1] if len(sys.argv) > 1 else here
    os.makedirs(directory, exist_ok=True)
    for name, frame in seeds():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(frame)


main()

#!/usr/bin/python3
"""udp_echo.py ADDRESS COUNT [WINDOW [FLOWS]] - datagrams to an echo server, checked byte by byte.

Keeps at most WINDOW unanswered ones in flight over FLOWS sockets. Prints JSON:
sent, right (answers that came with their own content), wrong."""

import json
import select
import socket
import struct
import sys


def payload(number):
    return struct.pack("!I", number) + bytes((number * 7 + i) & 255 for i in range(number * 13 % 1400))


def main(address, count, window=32, flows=1):
    sockets = []
    for _ in range(flows):
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        link.connect((address, 7))
        link.setblocking(False)
        sockets.append(link)
    sent = wrong = 0
    right = set()
    while len(right) + wrong < count:
        while sent < count and sent - len(right) - wrong < window:
            sockets[sent % flows].send(payload(sent))
            sent += 1
        ready = select.select(sockets, [], [], 1)[0]
        if not ready:
            break
        for link in ready:
            try:
                data = link.recv(65536)
            except BlockingIOError:  # its checksum was wrong
                continue
            number = struct.unpack("!I", data[:4])[0] if len(data) >= 4 else -1
            if data == payload(number) and number not in right:
                right.add(number)
            else:
                wrong += 1
    print(json.dumps({"sent": sent, "right": len(right), "wrong": wrong}))


main(sys.argv[1], *map(int, sys.argv[2:]))

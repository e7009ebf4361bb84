#!/usr/bin/python3
"""transfer_peer.py - the kernel's end of transfers whose every byte is known; see transfer.c.

Words: content=FILE; connect=A:PORT count=N, or listen=A:PORT count=N (connections to serve before it
ends); send=BYTES, after_eof=1, hold_fin=1, pause_bytes=N pause_ms=MS as for transfer; echoed=1 (the other
end sends back what it gets); receive_buffer=BYTES; close_after=BYTES (closes at once when so many were
received: data that is left unread makes it a reset).
Prints "ready" when it listens, or when all connections are open, and a JSON line for each that ended: key,
reason, eof, sent, received, wrong, ms, and whether the SHA-256 of what was received is right."""

import hashlib
import json
import select
import socket
import sys
import time

PIECE = 65536
DEFAULTS = {"count": 1, "send": 0, "after_eof": 0, "hold_fin": 0, "pause_bytes": 0, "pause_ms": 0,
            "receive_buffer": 0, "close_after": 0, "echoed": 0}


def read_content(path):
    """The content of all streams, and its length; its beginning follows it, so that no piece wraps."""
    with open(path, "rb") as file:
        content = file.read()
    return memoryview(content + content[:PIECE]), len(content)


class Stream:
    """Where the bytes of one direction of one connection are in the content."""

    def __init__(self, content, key, from_connector):
        self.content, self.length = content
        self.start = (key + (0 if from_connector else 65536)) * 7919

    def at(self, offset, count):
        place = (self.start + offset) % self.length
        return self.content[place:place + min(count, PIECE)]

    def sha256(self, count):
        digest, offset = hashlib.sha256(), 0
        while offset < count:
            piece = self.at(offset, count - offset)
            digest.update(piece)
            offset += len(piece)
        return digest.hexdigest()


class Connection:
    def __init__(self, sock, connector, job, content):
        self.sock, self.job = sock, job
        self.key = (sock.getsockname() if connector else sock.getpeername())[1]
        self.mine = Stream(content, self.key, connector)
        self.theirs = Stream(content, self.key, connector if job["echoed"] else not connector)
        self.sent = self.received = self.wrong = 0
        self.eof = self.finished = False
        self.resume_at = None
        self.digest = hashlib.sha256()
        self.reason = None
        self.started = time.monotonic()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pauses(self):
        return self.resume_at is not None and time.monotonic() < self.resume_at

    def wants(self):
        events = 0
        if not self.eof and not self.pauses():
            events |= select.EPOLLIN
        if self.sent < self.goal() and not self.finished:
            events |= select.EPOLLOUT
        return events

    def goal(self):
        """How many bytes it may have sent by now."""
        return self.job["send"] if self.eof or not self.job["after_eof"] else 0

    def read(self):
        room = PIECE
        if self.job["pause_ms"] and self.resume_at is None:
            room = min(PIECE, self.job["pause_bytes"] - self.received)
        data = self.sock.recv(room)
        self.eof = not data
        self.wrong += data != self.theirs.at(self.received, len(data)) and len(data)
        self.digest.update(data)
        self.received += len(data)
        if self.job["pause_ms"] and self.resume_at is None and self.received >= self.job["pause_bytes"]:
            self.resume_at = time.monotonic() + self.job["pause_ms"] / 1000

    def write(self):
        self.sent += self.sock.send(self.mine.at(self.sent, self.goal() - self.sent))

    def handle(self, events):
        broken = events & (select.EPOLLERR | select.EPOLLHUP)
        try:
            if events & select.EPOLLIN or broken:
                self.read()
            if events & select.EPOLLOUT and not broken:
                self.write()
        except BlockingIOError:
            pass
        except OSError as error:
            self.reason = type(error).__name__

    def finish_if_done(self):
        job = self.job
        if job["close_after"] and self.received >= job["close_after"]:
            self.reason = "closed"
            return
        waits = not self.eof and (job["after_eof"] or job["hold_fin"])
        if not self.finished and not waits and self.sent == self.goal():
            self.sock.shutdown(socket.SHUT_WR)
            self.finished = True
        if self.finished and self.eof:
            self.reason = "normal"

    def end(self):
        self.sock.close()
        print(json.dumps({
            "key": self.key, "reason": self.reason, "eof": self.eof, "sent": self.sent, "received": self.received,
            "wrong": self.wrong, "ms": round((time.monotonic() - self.started) * 1000, 3),
            "right": self.digest.hexdigest() == self.theirs.sha256(self.received)}), flush=True)


def connect(job):
    address, port = job["connect"].split(":")
    for _ in range(job["count"]):
        sock = socket.socket()
        if job["receive_buffer"]:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, job["receive_buffer"])
        sock.settimeout(10)
        sock.connect((address, int(port)))
        yield sock


def listen(job):
    address, port = job["listen"].split(":")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if job["receive_buffer"]:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, job["receive_buffer"])
    listener.bind((address, int(port)))
    listener.listen(4096)
    return listener


class Loop:
    """Waits for all connections at once."""

    def __init__(self, job, content):
        self.job, self.content = job, content
        self.epoll = select.epoll()
        self.connections = {}  # by descriptor; with the events they wait for
        self.left = job["count"]

    def add(self, sock, connector):
        connection = Connection(sock, connector, self.job, self.content)
        self.connections[sock.fileno()] = connection
        self.epoll.register(sock, 0)
        connection.waits_for = 0
        self.settle(connection)

    def settle(self, connection):
        """After anything that happened to a connection."""
        if connection.reason is None:
            connection.finish_if_done()
        if connection.reason is not None:
            del self.connections[connection.sock.fileno()]
            connection.end()
            self.left -= 1
            return
        events = connection.wants()
        if events != connection.waits_for:
            self.epoll.modify(connection.sock, events)
            connection.waits_for = events

    def run(self, listener):
        if listener:
            self.epoll.register(listener, select.EPOLLIN)
        while self.left:
            pausing = [c for c in self.connections.values() if c.pauses()]
            for fd, events in self.epoll.poll(0.01 if pausing else 10):
                if listener and fd == listener.fileno():
                    self.add(listener.accept()[0], False)
                    continue
                connection = self.connections[fd]
                connection.handle(events)
                self.settle(connection)
            for connection in pausing:
                if connection.reason is None:
                    self.settle(connection)


def main(words):
    job = dict(DEFAULTS, **dict(word.split("=", 1) for word in words))
    for name in DEFAULTS:
        job[name] = int(job[name])
    loop = Loop(job, read_content(job["content"]))
    listener = listen(job) if "listen" in job else None
    socks = [] if listener else list(connect(job))
    print("ready", flush=True)
    for sock in socks:
        loop.add(sock, True)
    loop.run(listener)


if __name__ == "__main__":
    main(sys.argv[1:])

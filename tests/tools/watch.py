#!/usr/bin/python3
"""watch.py serve|ask ADDRESS - one question after the other over one TCP connection, until SIGTERM.

Prints "ready"; `ask` prints JSON at the end: answers, and the longest that one took. A wrong answer,
or none within 5 s, ends it with code 1."""

import json
import os
import signal
import socket
import sys
import time

PORT = 7


def serve(address):
    listener = socket.create_server((address, PORT))
    print("ready", flush=True)
    sock, _ = listener.accept()
    while data := sock.recv(65536):
        sock.sendall(data)


def ask(address):
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    sock = socket.create_connection((address, PORT), 5)
    print("ready", flush=True)
    answers, longest = 0, 0.0
    while not stopped:
        question, answer = os.urandom(100), b""
        before = time.monotonic()
        sock.sendall(question)
        while len(answer) < len(question):
            answer += sock.recv(65536)
        longest = max(longest, time.monotonic() - before)
        if answer != question:
            sys.exit("a wrong answer")
        answers += 1
        time.sleep(0.01)
    print(json.dumps({"answers": answers, "longest_ms": round(longest * 1000, 1)}))


{"serve": serve, "ask": ask}[sys.argv[1]](sys.argv[2])

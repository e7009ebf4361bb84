#!/usr/bin/python3
"""make_http_corpus.py [DIRECTORY] - writes the seed corpus of the HTTP fuzzer, one file a stream.

Three bytes go before each: how the stream is cut, how much room there is to send, choices (see http.c)."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = "Host: a\r\n"
LOAD = 0x80

REQUESTS = {
    "get": f"GET / HTTP/1.1\r\n{HOST}\r\n",
    "head": f"HEAD /bytes/100 HTTP/1.1\r\n{HOST}\r\n",
    "post": f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello",
    "chunked": f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "trailer": f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: b\r\n\r\n",
    "expect": f"POST / HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "pipeline": f"GET / HTTP/1.1\r\n{HOST}\r\n" * 5 + f"GET /none HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n",
    "many_bytes": f"GET /bytes/20000 HTTP/1.1\r\n{HOST}\r\nGET / HTTP/1.1\r\n{HOST}\r\n",
    "endless": f"GET /bytes/999999999999999999 HTTP/1.1\r\n{HOST}\r\n",
    "too_many_bytes": f"GET /bytes/9999999999999999999 HTTP/1.1\r\n{HOST}\r\n",
    "old": "GET / HTTP/1.0\r\n\r\n",
    "old_kept": "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    "absolute": f"GET http://a/bytes/3?x=1#y HTTP/1.1\r\n{HOST}\r\n",
    "absolute_bare": f"GET http://a HTTP/1.1\r\n{HOST}\r\n",
    "long_target": f"GET /{'a' * 90} HTTP/1.1\r\n{HOST}\r\n",
    "method": f"DELETE / HTTP/1.1\r\n{HOST}\r\n",
    "tunnel": f"CONNECT a:1 HTTP/1.1\r\n{HOST}\r\nmore",
    "upgrade": f"GET / HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: x\r\n\r\nmore",
    "no_host": "GET / HTTP/1.1\r\n\r\n",
    "two_hosts": f"GET / HTTP/1.1\r\n{HOST}{HOST}\r\n",
    "too_large": f"POST / HTTP/1.1\r\n{HOST}Content-Length: 99999999\r\n\r\n",
    "two_lengths": f"POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length_and_chunks": f"POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "version": f"GET / HTTP/3.0\r\n{HOST}\r\n",
    "folded": f"GET / HTTP/1.1\r\n{HOST} b\r\nX: y\r\n z\r\n\r\n",
    "bare_newlines": "GET / HTTP/1.1\nHost: a\n\n",
    "garbage": "\x16\x03\x01 nothing\r\n",
}

RESPONSES = {
    "ok": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "ok_and_more": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",
    "chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "until_the_end": "HTTP/1.0 200 OK\r\n\r\nabc",
    "moved": "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "error": "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    "interim": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "nothing_inside": "HTTP/1.1 204 No Content\r\n\r\n",
    "switched": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
    "no_http": "SSH-2.0-x\r\n",
}


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "corpus", "http")
    os.makedirs(directory, exist_ok=True)
    streams = [(name, (0, 9, 0), text) for name, text in REQUESTS.items()]
    streams += [("stop_" + name, (5, 0, 5), REQUESTS[name]) for name in ("get", "many_bytes", "pipeline", "post")]
    streams += [("timer_" + name, (20, 200, 10), REQUESTS[name]) for name in ("no_host", "old", "expect")]
    streams += [("load_" + name, (1, 0, LOAD), text) for name, text in RESPONSES.items()]
    for name, first, text in streams:
        with open(os.path.join(directory, name), "wb") as file:
            file.write(bytes(first) + text.encode("latin-1"))


main()

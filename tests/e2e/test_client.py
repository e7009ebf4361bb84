"""Threads of a program own connections that a worker serves; the server is the kernel's."""

from hosts import Hosts

ADDRESS = "10.77.0.10"
SERVER = """
import socket
listener = socket.create_server(("", 7000))
print("ready", flush=True)
for _ in range(2):
    conn, _ = listener.accept()
    try:
        while data := conn.recv(65536):
            conn.sendall(data)
        print("end", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)
"""


def test_threads_call_and_what_one_leaves_is_reset(hosts):
    server, line = hosts.start("client", ["/usr/bin/python3", "-c", SERVER])
    assert line == "ready\n"
    done = hosts.run("server", [Hosts.built("tests/tools/caller"), hosts.address("client"), "7000", "--interface", "eth0",
                                "--address", f"{ADDRESS}/24", "--connections", "1000"])
    assert done.stdout == "good\ngood\n", done.stderr
    out, _ = server.communicate(timeout=10)
    assert out == "end\nreset\n"

"""Connections from a whole net of addresses: the other side is the kernel's, which reaches the net by a route."""

import pytest

from hosts import Hosts
from test_tap import TapHost

ADDRESS = "10.77.0.10"
NET = "10.128.0.0/12"
COUNT = 300
SERVER = f"""
import ipaddress, selectors, socket
listener = socket.create_server(("", 7000), backlog=1024)
print("ready", flush=True)
selector, peers, left = selectors.DefaultSelector(), set(), {COUNT}
selector.register(listener, selectors.EVENT_READ)
while left:
    for key, _ in selector.select(20):
        if key.fileobj is listener:
            conn, (address, port) = listener.accept()
            peers.add(address)
            selector.register(conn, selectors.EVENT_READ)
        elif data := key.fileobj.recv(4096):
            key.fileobj.sendall(data)
        else:
            selector.unregister(key.fileobj)
            key.fileobj.close()
            left -= 1
print(len(peers), min(peers, key=ipaddress.ip_address), max(peers, key=ipaddress.ip_address), flush=True)
"""


def sources(workers, *more):
    return [Hosts.built("tests/tools/sources"), "10.77.0.1", "7000", COUNT, workers, "--workers", workers, "--address", f"{ADDRESS}/24", "--source-net",
            NET, "--connections", "2000", *more]


def connect_all(hosts, workers, *more):
    server, line = hosts.start("client", ["/usr/bin/python3", "-c", SERVER])
    assert line == "ready\n"
    done = hosts.run("server", sources(workers, "--interface", hosts.interface("server"), *more))
    assert done.stdout == f"{COUNT} of {COUNT}\n", done.stderr
    peers, first, last = server.communicate(timeout=10)[0].split()
    assert (peers, first, last) == (str(COUNT), "10.128.0.1", "10.143.255.254")
    return done.stderr


@pytest.mark.parametrize("via", ["afxdp", "packet"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_connections_from_all_over_the_net(hosts, via, workers):
    hosts.run("client", ["ip", "route", "add", NET, "via", ADDRESS])
    said = connect_all(hosts, workers, "--via", via)
    assert "1048574 addresses more to connect from, 10.128.0.1 to 10.143.255.254" in said
    neighbours = hosts.run("client", ["ip", "neigh"]).stdout
    assert ADDRESS in neighbours and "10.1" not in neighbours


def test_a_tap_device_that_is_made_gets_the_route():
    with TapHost() as hosts:
        connect_all(hosts, "1")


def test_every_host_of_the_net_answers_for_itself(hosts):
    hosts.run("client", ["ip", "route", "add", "10.77.64.0/18", "dev", "eth0"])
    args = [Hosts.built("c10m"), "serve", "echo", "--interface", "eth0", "--address", f"{ADDRESS}/24", "--source-net",
            "10.77.64.0/18"]
    process, _ = hosts.start("server", args)
    for host in ADDRESS, "10.77.64.1", "10.77.99.3", "10.77.127.254":
        assert hosts.pings("client", host, 2) == 2, host
    for host in "10.77.64.0", "10.77.127.255":
        assert hosts.pings("client", host) == 0, host
    assert hosts.stop(process)[0] == 0


def test_nets_that_hold_what_is_another(hosts):
    def refusal(net, *more):
        done = hosts.run("server", [Hosts.built("c10m"), "serve", "echo", "--interface", "eth0", "--address",
                                    f"{ADDRESS}/24", "--source-net", net, *more], check=False)
        assert done.returncode in (1, 2)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        return done.stderr

    assert "10.77.0.2, which the kernel has on eth0" in refusal("10.77.0.0/29")
    assert "holds --address" in refusal("10.77.0.0/24")
    assert "loopback" in refusal("127.0.0.0/9")
    assert "multicast" in refusal("239.0.0.0/8")
    assert "takes a network" in refusal("0.0.0.0/0")
    assert "--gateway" in refusal("10.77.0.64/26", "--gateway", "10.77.0.100")

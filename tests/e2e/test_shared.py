"""--shared: c10m on the interface's own address, beside the kernel, its SSH and its pings.

    far                    client                        server
    eth0 10.78.0.2/24 ==== eth1 10.78.0.1/24
                           eth0 10.77.0.1/24 ==========  eth0 10.77.0.2/24   the kernel's and c10m's

The far host is there where a test asks for it; the client is then its router."""

import json
import os
import re
import select
import signal
import time

import pytest

from hosts import ROOT, Hosts, command, wait_until
from test_serve import drains

OURS, SECOND, GATEWAY, FAR = "10.77.0.2", "10.77.0.3", "10.77.0.1", "10.78.0.2"
PORT, SSH = 8080, 22
URL = f"http://{OURS}:{PORT}"
PEER = os.path.join(ROOT, "tests/tools/transfer_peer.py")

# Echoes lines, as a kernel's SSH would.
SERVER = f"""
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
server = Server(("", {SSH}), Echo)
print("ready", flush=True)
server.serve_forever()
"""

# One long connection and many short ones, until its input ends; then what the longest answer took.
CLIENT = f"""
import select, socket, sys, time
def ask(link, number):
    start = time.monotonic()
    link.sendall(b"%d\\n" % number)
    answer = b""
    while not answer.endswith(b"\\n"):
        answer += link.recv(100) or sys.exit("closed")
    assert answer == b"%d\\n" % number
    return time.monotonic() - start
long = socket.create_connection(("{OURS}", {SSH}), 5)
longest, count = 0, 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    with socket.create_connection(("{OURS}", {SSH}), 5) as short:
        longest = max(longest, ask(long, count), ask(short, count))
    count += 1
print(count, longest)
"""


class Kernel:
    """The kernel's own traffic on the same interface: it must not notice that c10m is there."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.server, _ = hosts.start("server", ["/usr/bin/python3", "-c", SERVER])
        self.client, _ = hosts.start("client", ["/usr/bin/python3", "-c", CLIENT], stdin=-1)
        self.ping = hosts.popen("client", ["ping", "-n", "-i", "0.02", OURS])

    def undisturbed(self):
        out, err = self.client.communicate("\n", timeout=20)
        assert self.client.returncode == 0, err
        count, longest = out.split()
        assert int(count) > 20 and float(longest) < 1, out
        _, out, _ = self.hosts.stop(self.ping, signal.SIGINT)
        sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", out).groups()
        assert int(received) >= int(sent) - 1 > 20, out


def serve(hosts, *more, port=PORT, server="http"):
    args = [Hosts.built("c10m"), "serve", server, "--shared", "--interface", "eth0", "--port", port,
            "--connections", "5000", "--verbose", *more]
    process, line = hosts.start("server", args)
    assert re.match(rf"{server}: listening on 10\.77\.0\.\d+:{port}\n", line)
    return process


def stop(hosts, process, number=signal.SIGTERM, code=0):
    got, _, err = hosts.stop(process, number)
    assert got == code, err
    assert hosts.xdp("server") is None
    return err


def refused(hosts, *more, port=PORT):
    process = hosts.popen("server", [Hosts.built("c10m"), "serve", "http", "--shared", "--interface", "eth0",
                                     "--port", port, *more])
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1, err
    return err


def fetch(hosts, url=URL, host="client", check=True, seconds=10):
    return hosts.run(host, ["curl", "-sS", "--max-time", seconds, url], check=check)


def load(hosts, size=2_000_000_000, host="client", rate="20M"):
    """A download that goes on and on; ended by finish()."""
    return hosts.popen(host, ["curl", "-sS", "-o", "/dev/null", "--limit-rate", rate, "--max-time", "60",
                              "-w", "%{size_download}", f"{URL}/bytes/{size}"])


def goes_on(hosts, process, seconds=15):
    """Whether the download moves, now: the bytes that its connection has received."""
    def received():
        out = hosts.run("client", ["ss", "-tinH", "dst", f"{OURS}:{PORT}"]).stdout
        return sum(int(number) for number in re.findall(r"bytes_received:(\d+)", out))

    before = received()
    assert process.poll() is None, process.stderr.read()
    wait_until(lambda: received() > before + 100_000, seconds, "more of the download")


def finish(process):
    process.kill()
    process.communicate(timeout=5)


def lines_of(process):
    """Sentences that c10m says while it runs."""
    descriptor = process.stderr.fileno()
    return os.read(descriptor, 65536).decode() if select.select([descriptor], [], [], 0)[0] else ""


def says(process, text, seconds=5):
    said = []
    wait_until(lambda: said.append(lines_of(process)) or text in "".join(said), seconds, f"the sentence '{text}'")


@pytest.fixture(name="routed")
def hosts_with_a_router(hosts):
    hosts.names.append("far")
    far, client = hosts.netns("far"), hosts.netns("client")
    command(["ip", "netns", "add", far])
    command(["ip", "link", "add", "eth1", "netns", client, "type", "veth", "peer", "name", "eth0", "netns", far])
    hosts.run("client", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    hosts.run("client", ["ip", "address", "add", "10.78.0.1/24", "dev", "eth1"])
    hosts.run("client", ["ip", "link", "set", "eth1", "up"])
    hosts.run("far", ["ip", "address", "add", f"{FAR}/24", "dev", "eth0"])
    hosts.run("far", ["ip", "link", "set", "eth0", "up"])
    for host, name in ("far", "eth0"), ("client", "eth1"):
        hosts.run(host, ["ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off"])
    hosts.run("far", ["ip", "route", "add", "default", "via", "10.78.0.1"])
    hosts.run("server", ["ip", "route", "add", "10.78.0.0/24", "via", GATEWAY])
    yield hosts


# --- beside the kernel --------------------------------------------------------------


def test_the_kernel_is_undisturbed_by_start_load_kill_and_restart(hosts):
    kernel = Kernel(hosts)
    for number, code in (signal.SIGKILL, -9), (signal.SIGTERM, 0), (signal.SIGKILL, -9):
        process = serve(hosts)
        assert fetch(hosts).stdout == "Hello from c10m\n"
        hosts.run("client", ["wrk", "-t1", "-c50", "-d1", f"{URL}/"])
        got, _, err = hosts.stop(process, number)
        assert got == code, err
        wait_until(lambda: hosts.xdp("server") is None, what="the end of the XDP program")
        assert fetch(hosts, check=False).returncode == 7  # the kernel refuses: nobody listens
    kernel.undisturbed()


def test_only_the_port_is_taken(hosts):
    process = serve(hosts)
    assert fetch(hosts, f"http://{OURS}:{PORT + 1}/", check=False).returncode == 7
    assert hosts.pings("client", OURS, 3) == 3
    taken = hosts.run("server", ["/usr/bin/python3", "-c",
                                 f"import socket; socket.create_server(('', {PORT}))"], check=False)
    assert "Address already in use" in taken.stderr
    for address in [hosts.claimed()]:
        assert fetch(hosts, f"http://{address}:{PORT}/", check=False, seconds=1).returncode != 0
    err = stop(hosts, process)
    assert "ARP" not in err and "pings answered" not in err
    hosts.run("server", ["/usr/bin/python3", "-c", f"import socket; socket.create_server(('', {PORT}))"])


def test_a_port_in_use_is_named(hosts):
    server, _ = hosts.start("server", ["/usr/bin/python3", "-c", SERVER])
    err = refused(hosts, port=SSH)
    assert f"port 22 of {OURS} is in use by python3 (process {server.pid}): stop it" in err
    process = serve(hosts)
    assert re.search(rf"port {PORT} of {OURS} is in use by (c10m \(process {process.pid}\)|another program)",
                     refused(hosts))
    assert "another XDP program is attached to eth0" in refused(hosts, port=PORT + 1)
    assert fetch(hosts).stdout == "Hello from c10m\n"  # who was first is not harmed
    stop(hosts, process)


def test_what_cannot_be_shared(hosts):
    assert "10.77.0.9 is no address of eth0" in refused(hosts, "--address", "10.77.0.9")
    hosts.run("server", ["ip", "address", "flush", "dev", "eth0"])
    assert "eth0 has no IPv4 address to share" in refused(hosts)
    assert "interface nix0 does not exist" in refused(hosts, "--interface", "nix0")


def test_without_privileges_it_says_what_is_missing(hosts):
    done = hosts.run("server", ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs",
                                Hosts.built("c10m"), "serve", "http", "--shared", "--interface", "eth0",
                                "--port", PORT], check=False)
    assert done.returncode == 1 and "CAP_NET_ADMIN" in done.stderr, done.stderr


def test_workers_share_too(hosts):
    kernel = Kernel(hosts)
    process = serve(hosts, "--workers", "2")
    hosts.run("client", ["wrk", "-t1", "-c50", "-d1", f"{URL}/"])
    assert fetch(hosts).stdout == "Hello from c10m\n"
    kernel.undisturbed()
    stop(hosts, process)


# --- what changes ----------------------------------------------------------------------


def test_connections_may_go_on_after_a_stop(hosts):
    """The port stays claimed until the last has ended, and the kernel is undisturbed."""
    kernel = Kernel(hosts)
    process = serve(hosts, "--drain-ms", "30000", "--workers", "2" if os.cpu_count() > 1 else "1", server="echo")
    drains(hosts, process, OURS, PORT, 60)
    time.sleep(0.5)
    kernel.undisturbed()
    assert hosts.xdp("server") is None


def test_addresses_come_and_go_under_load(hosts):
    process = serve(hosts)
    download = load(hosts)
    goes_on(hosts, download)
    assert fetch(hosts, f"http://{SECOND}:{PORT}/", check=False, seconds=1).returncode != 0
    hosts.run("server", ["ip", "address", "add", f"{SECOND}/24", "dev", "eth0"])
    says(process, f"eth0 has got the address {SECOND}: it is served too")
    assert fetch(hosts, f"http://{SECOND}:{PORT}/").stdout == "Hello from c10m\n"
    goes_on(hosts, download)
    hosts.run("server", ["ip", "address", "del", f"{SECOND}/24", "dev", "eth0"])
    says(process, f"eth0 has lost the address {SECOND}")
    assert fetch(hosts, f"http://{SECOND}:{PORT}/", check=False, seconds=1).returncode != 0
    goes_on(hosts, download)
    # The one that is in use: back again, its connections go on.
    hosts.run("server", ["ip", "address", "del", f"{OURS}/24", "dev", "eth0"])
    says(process, f"eth0 has lost the address {OURS}: its connections stand still")
    time.sleep(0.5)
    hosts.run("server", ["ip", "address", "add", f"{OURS}/24", "dev", "eth0"])
    goes_on(hosts, download)
    finish(download)
    stop(hosts, process)


def test_only_the_named_address(hosts):
    hosts.run("server", ["ip", "address", "add", f"{SECOND}/24", "dev", "eth0"])
    process = serve(hosts, "--address", SECOND)
    assert fetch(hosts, f"http://{SECOND}:{PORT}/").stdout == "Hello from c10m\n"
    assert fetch(hosts, check=False).returncode == 7
    stop(hosts, process)


def test_a_neighbour_that_changes_under_load(hosts):
    process = serve(hosts)
    download = load(hosts)
    goes_on(hosts, download)
    hosts.run("client", ["ip", "link", "set", "eth0", "address", "02:00:00:00:77:01"])
    hosts.run("client", ["ping", "-c1", "-W2", OURS], check=False)  # the kernel learns it
    goes_on(hosts, download)
    hosts.run("server", ["ip", "neighbour", "flush", "dev", "eth0"])
    goes_on(hosts, download)
    assert "02:00:00:00:77:01" in hosts.run("server", ["ip", "neighbour"]).stdout
    finish(download)
    stop(hosts, process)


def test_routes_change_under_load(routed):
    """The way to the far host moves from one address of the router to another, and vanishes for a moment."""
    routed.run("client", ["ip", "address", "add", "10.77.0.254/24", "dev", "eth0"])
    process = serve(routed)
    digest = routed.popen("far", ["sh", "-c", f"curl -sS --limit-rate 8M --max-time 50 {URL}/bytes/40000000 | wc -c"])
    for gateway in "10.77.0.254", GATEWAY, "10.77.0.254":
        time.sleep(0.7)
        routed.run("server", ["ip", "route", "replace", "10.78.0.0/24", "via", gateway])
    routed.run("server", ["ip", "route", "del", "10.78.0.0/24"])
    time.sleep(0.5)
    routed.run("server", ["ip", "route", "add", "default", "via", GATEWAY])
    out, err = digest.communicate(timeout=60)
    assert out.strip() == "40000000", err
    stop(routed, process)


def test_path_mtu_discovery_through_a_smaller_hop(routed):
    routed.run("client", ["ip", "link", "set", "eth1", "mtu", "1000"])
    process = serve(routed)
    out = routed.run("far", ["sh", "-c", f"curl -sS --max-time 20 {URL}/bytes/5000000 | wc -c"]).stdout
    assert out.strip() == "5000000"
    err = stop(routed, process)
    assert re.search(r"[1-9]\d*  path MTU lowered by ICMP", err)


def test_connections_go_out_through_a_gateway(routed, tmp_path):
    content = tmp_path / "content"
    content.write_bytes(os.urandom(100_003))
    kernel, _ = routed.start("far", ["/usr/bin/python3", PEER, f"content={content}", f"listen={FAR}:7000", "count=20",
                                     "send=300000"])
    ours = routed.popen("server", [Hosts.built("tests/tools/transfer"), f"content={content}",
                                   f"connect={FAR}:7000", "count=20", "send=300000", "--shared", "--interface", "eth0",
                                   "--client-ports", "50"])
    out, err = ours.communicate(timeout=30)
    assert ours.returncode == 0, err
    results = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(results) == 20
    for result in results:
        assert result["received"] == 300000 and result["wrong"] == 0, result
    finish(kernel)


def test_a_thousand_changes_while_it_cannot_look(hosts):
    """More than the kernel keeps for it: it must notice, and know the end of it all the same."""
    process = serve(hosts)
    process.send_signal(signal.SIGSTOP)
    flood = "".join(f"route add 10.{number // 250 + 100}.{number % 250}.0/24 via {GATEWAY}\n"
                    f"route del 10.{number // 250 + 100}.{number % 250}.0/24 via {GATEWAY}\n" for number in range(8000))
    hosts.run("server", ["ip", "-batch", "-"], input=flood)
    hosts.run("server", ["ip", "address", "add", f"{SECOND}/24", "dev", "eth0"])
    process.send_signal(signal.SIGCONT)
    says(process, "the kernel changed more, and faster, than could be read")
    wait_until(lambda: fetch(hosts, f"http://{SECOND}:{PORT}/", check=False, seconds=1).returncode == 0)
    assert fetch(hosts).stdout == "Hello from c10m\n"
    stop(hosts, process)


# --- the interface -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_down_and_up_again(hosts, mode):
    process = serve(hosts, "--mode", mode)
    download = load(hosts)
    goes_on(hosts, download)
    hosts.run("server", ["ip", "link", "set", "eth0", "down"])
    says(process, "eth0 is down: connections are kept")
    time.sleep(1)
    hosts.run("server", ["ip", "link", "set", "eth0", "up"])
    says(process, "eth0 is up again")
    goes_on(hosts, download)
    finish(download)
    assert fetch(hosts).stdout == "Hello from c10m\n"
    stop(hosts, process)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "alone"])
def test_deleted(hosts, shared):
    if shared:
        process = serve(hosts)
    else:
        process, _ = hosts.start("server", [Hosts.built("c10m"), "serve", "http", "--interface", "eth0", "--address",
                                            f"{hosts.claimed()}/24", "--no-probe"])
    hosts.run("server", ["ip", "link", "delete", "eth0"])
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "eth0 was deleted, or moved away: there is nothing left to serve on" in err


def test_the_mtu_shrinks_under_load(hosts):
    process = serve(hosts)
    download = load(hosts)
    goes_on(hosts, download)
    for host in "server", "client":
        hosts.run(host, ["ip", "link", "set", "eth0", "mtu", "900"])
    says(process, "the MTU of eth0 is now 900")
    goes_on(hosts, download)
    for host in "client", "server":
        hosts.run(host, ["ip", "link", "set", "eth0", "mtu", "1500"])
    says(process, "the MTU of eth0 is now 1500")
    goes_on(hosts, download)
    finish(download)
    stop(hosts, process)


def test_more_queues_than_at_start():
    with Hosts(queues=4) as hosts:
        hosts.run("server", ["ethtool", "-L", "eth0", "rx", "1", "tx", "1"])
        hosts.run("client", ["ethtool", "-L", "eth0", "rx", "4", "tx", "4"])
        process = serve(hosts)
        hosts.run("client", ["wrk", "-t1", "-c20", "-d1", f"{URL}/"])
        hosts.run("server", ["ethtool", "-L", "eth0", "rx", "4", "tx", "4"])
        hosts.run("client", ["wrk", "-t1", "-c50", "-d1", f"{URL}/"], check=False)
        says(process, "frames come on queues of eth0 that nobody serves")
        hosts.run("server", ["ethtool", "-L", "eth0", "rx", "1", "tx", "1"])
        wait_until(lambda: fetch(hosts, check=False, seconds=2).returncode == 0, 10)
        stop(hosts, process)

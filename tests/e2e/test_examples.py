"""The examples that send one message to many: ordinary Linux programs are their guests."""

import re
import textwrap

from hosts import Hosts

ADDRESS = "10.77.0.10"


def serve(hosts, name, *more, before=()):
    args = [*before, Hosts.built(f"examples/{name}"), "--interface", "eth0", "--address", f"{ADDRESS}/24",
            "--connections", "2000", "--verbose", *more]
    process, line = hosts.start("server", args)
    assert re.fullmatch(rf"{name}: listening on {re.escape(ADDRESS)}:\d+\n", line)
    return process


def stop(hosts, process):
    """Orderly; returns the counters of --verbose: number of times, by their text."""
    code, out, err = hosts.stop(process)
    assert (code, out) == (0, ""), err
    return {text: int(count) for count, text in re.findall(r"^ *(\d+)  (.+)$", err, re.MULTILINE)}


GUEST = """
import select, socket, sys, time

ADDRESS = sys.argv[1]

class Guest:
    def __init__(self, port, name=None):
        self.link = socket.create_connection((ADDRESS, port), timeout=10)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.link.makefile("r")
        if name:
            self.say(f"/name {name}")

    def say(self, line):
        self.link.sendall(line.encode() + b"\\n")

    def hears(self, *lines):
        for line in lines:
            heard = self.file.readline().rstrip("\\n")
            assert heard == line, (heard, line)

    def hears_nothing(self, seconds=0.3):
        assert not select.select([self.link], [], [], seconds)[0], self.file.readline()
"""


def guests(hosts, code, timeout=60):
    """Runs Python on the client, with Guest at hand."""
    return hosts.run("client", ["/usr/bin/python3", "-c", GUEST + textwrap.dedent(code), ADDRESS], timeout=timeout)


# --- chat ------------------------------------------------------------------------


def test_a_line_goes_to_all_others_in_the_room(hosts):
    process = serve(hosts, "chat")
    guests(hosts, """
        ann, bob, carl = (Guest(6667, name) for name in ("ann", "bob", "carl"))
        time.sleep(0.2)
        ann.say("hello")
        bob.hears("ann: hello")
        carl.hears("ann: hello")
        ann.hears_nothing()
        carl.say("/room kitchen")
        time.sleep(0.2)
        bob.say("is carl gone?")
        ann.hears("bob: is carl gone?")
        carl.hears_nothing()
        dora = Guest(6667, "dora")
        dora.say("/room kitchen")
        time.sleep(0.2)
        carl.link.sendall(b"in ")       # a line in three pieces, and two lines in one
        time.sleep(0.1)
        carl.link.sendall(b"three ")
        time.sleep(0.1)
        carl.link.sendall(b"pieces\\nand\\r\\nmore\\n")
        dora.hears("carl: in three pieces", "carl: and", "carl: more")
        carl.file.close()
        carl.link.close()
        time.sleep(0.2)
        dora.say("nobody hears it")
        dora.say("/room lobby")
        time.sleep(0.2)
        ann.say("all here")
        dora.hears("ann: all here")
    """)
    counts = stop(hosts, process)
    assert counts["messages that fan-outs have queued"] == 2 + 1 + 3 + 2


def test_a_full_room_hears_every_line_once_and_in_order(hosts):
    """300 guests, 200 lines as fast as they go: each of the others has them all."""
    process = serve(hosts, "chat")
    guests(hosts, """
        room = [Guest(6667) for _ in range(300)]
        time.sleep(0.5)
        room[0].link.sendall(b"".join(b"line %d\\n" % i for i in range(200)))
        for guest in room[1:]:
            guest.hears(*(f"guest: line {i}" for i in range(200)))
        room[0].hears_nothing()
    """)
    counts = stop(hosts, process)
    assert counts["messages that fan-outs have queued"] == 299 * 200


def test_a_guest_who_does_not_read_holds_nobody_up(hosts):
    process = serve(hosts, "chat")
    guests(hosts, """
        ann, bob, deaf = (Guest(6667, name) for name in ("ann", "bob", "deaf"))
        deaf.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        time.sleep(0.2)
        line = "x" * 900
        for i in range(3000):
            ann.say(line)
            bob.hears("ann: " + line)
    """)
    counts = stop(hosts, process)
    assert counts["messages that fan-outs have queued"] >= 3000
    assert counts["receivers that fan-outs have skipped"] > 0


# --- push ------------------------------------------------------------------------


def test_news_reach_everybody(hosts):
    """500 receivers, ten times a second; who comes later gets what comes later."""
    process = serve(hosts, "push", before=["env", "PUSH_MS=100"])
    guests(hosts, """
        import re
        early = [Guest(7000) for _ in range(500)]
        first = [int(re.match("news (\\\\d+) after", guest.file.readline()).group(1)) for guest in early]
        late = Guest(7000)
        for guest, number in zip(early, first):
            for later in range(1, 11):
                assert guest.file.readline().startswith(f"news {number + later} after ")
        assert late.file.readline().startswith("news ")
    """)
    counts = stop(hosts, process)
    assert counts["messages that fan-outs have queued"] > 500 * 10
    assert counts["fan-outs that were worked off"] > 10


def test_slow_receivers_of_news_get_the_newest(hosts):
    """One reads nothing for two seconds: news wait for it as far as its window goes, then the newest alone."""
    process = serve(hosts, "push", before=["env", "PUSH_MS=1"])
    out = guests(hosts, """
        quick = Guest(7000)
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect((ADDRESS, 7000))
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            newest = int(quick.file.readline().split()[1])
        slow.settimeout(5)
        text = b""
        while True:                     # until it has caught up
            text += slow.recv(65536)
            numbers = [int(line.split()[1]) for line in text.split(b"\\n")[:-1] if line.startswith(b"news ")]
            if numbers and numbers[-1] >= newest:
                break
        assert numbers == sorted(set(numbers))
        print(len(numbers), numbers[-1] - numbers[0] + 1)
    """).stdout
    got, span = map(int, out.split())
    assert got < span, "nothing was left out, though the receiver was slow"
    stop(hosts, process)

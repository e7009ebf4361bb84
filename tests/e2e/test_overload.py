"""More than a server can take: new connections beyond its limit, and floods of SYNs from sources that do not exist."""

import json
import textwrap
import time

from hosts import Hosts, alone

pytestmark = alone  # a flood takes all that the machine can do
from test_serve import ADDRESS, serve, stop

# Holds connections and asks each of them in turn; every tenth of a second a new connection is opened, asked and closed.
HOLD = f"""
import json, selectors, socket, sys, time
count, seconds = int(sys.argv[1]), float(sys.argv[2])
held = []
for i in range(count):
    held.append(socket.create_connection(("{ADDRESS}", 7), timeout=20))
print("ready", flush=True)
late, slow, wrong, opened, refused = 0, 0.0, 0, 0, 0
selector = selectors.DefaultSelector()
waiting = {{}}
end, next_open, turn = time.monotonic() + seconds, 0, 0
answers = 0
while (now := time.monotonic()) < end or waiting:
    if now > end + 20:
        break
    if now < end and now >= next_open:
        fresh = socket.socket()
        fresh.setblocking(False)
        fresh.connect_ex(("{ADDRESS}", 7))
        waiting[fresh] = (now, b"fresh %d" % turn, True)
        selector.register(fresh, selectors.EVENT_WRITE)
        next_open = now + 0.02
    if now < end:
        for _ in range(10):
            turn += 1
            s = held[turn % count]
            if s not in waiting:
                s.send(b"held %d" % turn)
                waiting[s] = (now, b"held %d" % turn, False)
                selector.register(s, selectors.EVENT_READ)
    for key, events in selector.select(0.005):
        s = key.fileobj
        since, word, fresh = waiting[s]
        try:
            if events & selectors.EVENT_WRITE:
                s.send(word)
                selector.modify(s, selectors.EVENT_READ)
                continue
            got = s.recv(100)
        except OSError:
            got = None
        if fresh:
            opened += got == word
            refused += got != word
            s.close()
        else:
            took = time.monotonic() - since
            answers += 1
            late += took > 1
            slow = max(slow, took)
            wrong += got != word
        del waiting[s]
        selector.unregister(s)
print(json.dumps(dict(answers=answers, late=late, slow=slow, wrong=wrong, opened=opened, refused=refused,
                      unanswered=len(waiting))), flush=True)
"""


def hold(hosts, count, seconds):
    process, line = hosts.start("client", ["/usr/bin/python3", "-c", HOLD, count, seconds])
    assert line == "ready\n"
    return process


def flood(hosts, rate, seconds):
    args = [Hosts.built("bench/flood"), "eth0", hosts.mac("server"), ADDRESS, "7", rate, seconds]
    return hosts.popen("client", args)


def finish(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return json.loads(out)


def check(result):
    assert result["answers"] > 1000 and result["wrong"] == 0
    assert result["late"] * 1000 <= result["answers"], result
    assert result["opened"] * 100 >= 99 * (result["opened"] + result["refused"] + result["unanswered"]), result
    assert result["opened"] > 100


# proves RFC4987-01
def test_a_flood_of_syns_keeps_nobody_out(hosts):
    process = serve(hosts, "echo", "--connections", "2000", "--half-open", "1000", "--verbose")
    client = hold(hosts, 500, 8)
    syns = finish(flood(hosts, 200000, 5))
    assert syns["sent"] > 100000
    check(finish(client))
    counts = stop(hosts, process)
    assert counts["SYNs dropped by the XDP program, while they were policed"] > syns["sent"] // 4
    assert counts["SYN cookies accepted"] > 10
    assert "resets accepted" not in counts


def test_police_ends_with_the_flood(hosts):
    process = serve(hosts, "echo", "--connections", "2000", "--half-open", "1000", "--verbose")
    finish(flood(hosts, 100000, 2))
    time.sleep(4)
    finish(flood(hosts, 400, 1))
    code, _, err = hosts.stop(process)
    assert code == 0
    assert "many SYNs come that lead to no connection" in err
    assert err.index("the flood of SYNs is over") > err.index("many SYNs come")
    assert err.count("many SYNs come") == 1


def test_a_flood_of_cookies_without_policing_is_survived(hosts):
    """Packet sockets have no XDP program: cookies alone."""
    process = serve(hosts, "echo", "--connections", "2000", "--half-open", "1000", "--via", "packet", "--verbose")
    client = hold(hosts, 200, 6)
    finish(flood(hosts, 20000, 4))
    check(finish(client))
    counts = stop(hosts, process)
    assert counts["SYN cookies sent"] > 10000


def test_beyond_the_limit_new_ones_are_refused_and_the_others_go_on(hosts):
    process = serve(hosts, "echo", "--connections", "50", "--verbose")
    args = ["/usr/bin/python3", "-c", textwrap.dedent(f"""
        import socket, time
        def ask(s, word):
            s.send(word)
            assert s.recv(100) == word
        held = [socket.create_connection(("{ADDRESS}", 7), timeout=5) for _ in range(50)]
        for round in range(3):
            for i in range(30):
                try:
                    socket.create_connection(("{ADDRESS}", 7), timeout=5)
                    raise SystemExit("was let in")
                except ConnectionRefusedError:
                    pass
            for s in held:
                ask(s, b"still here")
            held.pop().close()
            time.sleep(0.1)
            held.append(socket.create_connection(("{ADDRESS}", 7), timeout=5))
            ask(held[-1], b"new")
        print("good")
    """)]
    assert hosts.run("client", args).stdout == "good\n"
    counts = stop(hosts, process)
    assert counts["new connection refused: the configured limit is reached"] == 90

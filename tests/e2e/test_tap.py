"""The tap port: c10m and the kernel of one namespace at the two ends of a TAP device, frames of 64 KB both ways.

      one namespace
      tap0 10.77.0.1/24 (kernel)  ======  10.77.0.10 (c10m)

Streams are compared byte by byte by the programs of test_transfer.py."""

import os
import re
import shutil
import signal
import tempfile
import time

import pytest

from hosts import ROOT, Hosts, command, wait_until
from test_transfer import (ADDRESS, MB, Transfer, both_roles, check, content_file,  # noqa: F401
                           end, exchange)


class TapHost(Hosts):
    """Both ends are in one namespace. The device is made before c10m comes, unless a test makes it."""

    def __init__(self, *device):
        super().__init__()
        self.device = device

    def netns(self, host):
        return f"{self.prefix}-tap"

    def interface(self, host):
        return "tap0"

    def address(self, host):
        return "10.77.0.1"

    def build(self):
        command(["ip", "netns", "add", self.netns("server")])
        self.run("server", ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
        self.run("server", ["ip", "link", "set", "lo", "up"])
        if self.device:
            self.run("server", ["ip", "tuntap", "add", "dev", "tap0", *self.device])
            self.run("server", ["ip", "address", "add", "10.77.0.1/24", "dev", "tap0"])
            self.run("server", ["ip", "link", "set", "tap0", "up"])


class TapTransfer(Transfer):
    def __init__(self, hosts, content, *options):
        super().__init__(hosts, content)
        self.options = ["--interface", "tap0", "--address", f"{ADDRESS}/24", "--connections", "2000", "--no-probe",
                        "--verbose", *options]


@pytest.fixture(name="tap")
def tap_that_exists(content):
    with TapHost("mode", "tap") as host:
        yield TapTransfer(host, content)


@pytest.fixture(name="nobody")
def ordinary_user():
    """A folder that everybody may read, and words in front of a command that make its user nobody, for
    whom /dev/net/tun is open to all, as udev makes it."""
    folder = tempfile.mkdtemp(prefix="c10m-e2e-")
    os.chmod(folder, 0o755)
    device = os.path.join(folder, "tun")
    command(["mknod", "-m", "666", device, "c", "10", "200"])
    yield folder, ["unshare", "-m", "sh", "-c", f"mount --bind {device} /dev/net/tun && exec setpriv --reuid 65534 "
                   '--regid 65534 --clear-groups "$@"', "sh"]
    shutil.rmtree(folder)


def serve(host, *words, interface="tap0"):
    return host.start("server", [host.built("c10m"), "serve", "echo", "--interface", interface, "--address",
                                 f"{ADDRESS}/24", "--connections", "1000", "--no-probe", *words])


def echoes(host, text="over the tap"):
    """What nc gets back from c10m."""
    return host.run("client", ["nc", "-w", "2", "-N", ADDRESS, "7"], input=text).stdout == text


def links(host):
    return re.findall(r"^\d+: (\w+)", host.run("server", ["ip", "link"]).stdout, re.MULTILINE)


# --- all bytes arrive -----------------------------------------------------------------


@both_roles
@pytest.mark.parametrize("ways", ["c10m_sends", "kernel_sends", "both_send"])
def test_64_megabytes(tap, listens, ways):
    sizes = [64 * MB * (ways != "kernel_sends"), 64 * MB * (ways != "c10m_sends")]
    _, counters = exchange(tap, listens, *sizes)
    assert "descriptors refused" not in counters and "frames that the interface did not take" not in counters
    assert "segment whose checksum is wrong" not in counters
    if ways == "c10m_sends":  # long frames go out: else the kernel would have got single segments
        assert counters["TCP segments sent"] > 5 * counters["frames sent"]
    if ways == "kernel_sends":
        assert counters["payload bytes taken in order"] > 8000 * counters["frames received"]


@both_roles
def test_many_connections_at_once(tap, listens):
    exchange(tap, listens, 30_000, 50_000, count=300)


@both_roles
def test_an_echo(tap, listens):
    ours, theirs = tap.pair(listens, ["echo=1"], [f"send={64 * MB}", "echoed=1"])
    check(end(theirs), 64 * MB, 64 * MB)
    check(end(ours), 64 * MB, 64 * MB)
    tap.stop(ours)


@both_roles
def test_readers_that_pause(tap, listens):
    """Windows close in the middle of long frames."""
    _, counters = exchange(tap, listens, 4 * MB, 4 * MB, c10m=["pause_bytes=100001", "pause_ms=700"],
                           kernel=["receive_buffer=8192", "pause_bytes=100001", "pause_ms=700"])
    assert counters["times we closed our window"] > 0


def test_a_kernel_that_loses_frames(tap):
    """A lost frame is up to 44 lost segments; they are sent again one by one."""
    tap.hosts.lose("client", 6)
    _, counters = exchange(tap, True, 6 * MB, MB)
    assert counters["segments sent again"] > 10


def test_long_frames_through_a_fault_port(tap):
    """It cuts them: what is lost or damaged is a segment, as on a wire, and no damage gets through."""
    tap.options += ["--fault", "loss=1%,reorder=1%,duplicate=1%,corrupt=0.5%,seed=3"]
    _, counters = exchange(tap, True, 2 * MB, 2 * MB)
    assert counters["segments received out of order"] > 10


def test_a_large_mtu(tap):
    tap.hosts.run("server", ["ip", "link", "set", "tap0", "mtu", "9000"])
    exchange(tap, True, 16 * MB, 16 * MB)


def test_a_device_of_several_queues(content):
    """One of them is used."""
    with TapHost("mode", "tap", "multi_queue") as host:
        exchange(TapTransfer(host, content), True, 16 * MB, 16 * MB)


def test_each_worker_has_a_queue_of_a_device_that_may_have_several(content):
    """The kernel sends a connection's frames to the queue from which its last one came: to its worker."""
    with TapHost("mode", "tap", "multi_queue") as host:
        _, counters = exchange(TapTransfer(host, content, "--workers", "2"), True, 300_000, 300_000, count=200)
        handed_over = counters["of these at another worker than their flow's, and handed over"]
        assert 0 < handed_over < counters["frames landed"] / 4
    with TapHost() as host:
        process, _ = serve(host, "--workers", "2")
        assert echoes(host)
        err = said(host, (process, None))
        assert "tap0 queue 0" in err and "tap0 queue 1" in err


def test_workers_share_the_queue_of_a_device_that_has_one(tap):
    tap.options += ["--workers", "2"]
    exchange(tap, True, 4 * MB, 4 * MB, count=8)


def test_a_capture_holds_long_frames(tap, tmp_path):
    tap.options += ["--capture", str(tmp_path / "file")]
    exchange(tap, True, MB, MB)
    text = command(["tcpdump", "-nr", tmp_path / "file", "greater 20000"]).stdout
    assert "length" in text


# --- a device that c10m makes ---------------------------------------------------------------


def test_a_device_is_made_and_vanishes(content):
    with TapHost() as host:
        for number in signal.SIGTERM, signal.SIGKILL:
            process, _ = serve(host)
            assert "tap0" in links(host)
            assert echoes(host)
            assert host.pings("client", ADDRESS, 3) == 3
            host.stop(process, number)
            wait_until(lambda: "tap0" not in links(host), what="the end of the device")
        exchange(TapTransfer(host, content), True, 16 * MB, 16 * MB)


def test_the_kernels_address_is_the_users_choice():
    with TapHost() as host:
        started = serve(host, "--tap-address", "10.77.0.77")
        assert "10.77.0.77/24" in host.run("server", ["ip", "-4", "address", "show", "tap0"]).stdout
        assert "the kernel is 10.77.0.77" in said(host, started)


# --- which port, and why ----------------------------------------------------------------------


def said(host, started):
    """Stops a server; what it said."""
    code, _, err = host.stop(started[0])
    assert code == 0, err
    return err


def test_the_choice_is_explained(tap, hosts):
    host = tap.hosts
    assert "because tap0 is a TAP device" in said(host, serve(host))
    assert "because" not in said(host, serve(host, "--via", "tap"))
    host.run("server", ["ip", "link", "del", "tap0"])
    assert "because tap0 did not exist" in said(host, serve(host))
    err = said(hosts, serve(hosts, interface="eth0"))
    assert "port: afxdp eth0" in err and "because the kernel has AF_XDP" in err


def test_a_device_that_another_program_holds_is_served_from_the_kernels_end(tap):
    host = tap.hosts
    holder, _ = serve(host, "--port", "99")
    started = host.start("server", [host.built("c10m"), "serve", "echo", "--interface", "tap0", "--address",
                                    "10.77.0.11/24", "--no-probe"])
    assert "another program holds" in said(host, started)
    host.stop(holder)


def test_packet_sockets_where_afxdp_is_not_allowed(hosts, nobody):
    """Who may open packet sockets and nothing else is served by them, and told why."""
    folder, _ = nobody
    shutil.copy(Hosts.built("c10m"), folder)
    rights = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "+net_raw",
              "--ambient-caps", "+net_raw"]
    started = hosts.start("server", [*rights, os.path.join(folder, "c10m"), "serve", "echo", "--interface", "eth0",
                                     "--address", f"{ADDRESS}/24", "--connections", "1000", "--no-probe"], cwd=folder)
    assert echoes(hosts)
    err = said(hosts, started)
    assert "port: packet socket on eth0" in err and "because AF_XDP, which is faster, does not work" in err


@both_roles
def test_streams_over_packet_sockets(hosts, content, listens):
    exchange(Transfer(hosts, content, "--via", "packet"), listens, 16 * MB, 16 * MB)


@pytest.mark.parametrize("words, sentence", [
    (["--interface", "eth0", "--via", "tap"], "no TAP device"),
    (["--interface", "tap-with-too-long-a-name"], "name one"),
    (["--interface", "eth9"], "does not exist"),
    (["--interface", "eth0", "--via", "pigeon"], "auto, afxdp, tap, packet or wire"),
    (["--interface", "eth9", "--via", "packet"], "does not exist"),
    (["--interface", "tap0", "--tap-address", "10.78.0.1"], "in the network"),
    (["--interface", "tap0", "--tap-address", "10.77.0.10"], "the kernel's own"),
    (["--interface", "eth0", "--tap-address", "10.77.0.20"], "for TAP devices alone"),
])
def test_what_cannot_be_is_refused_by_a_sentence(hosts, words, sentence):
    done = hosts.run("server", [hosts.built("c10m"), "serve", "echo", "--address", f"{ADDRESS}/24", "--no-probe",
                                *words], check=False)
    assert done.returncode in (1, 2) and sentence in done.stderr, done.stderr


# --- a device that changes ------------------------------------------------------------------------


def test_a_device_that_goes_down_and_comes_back(tap):
    ours, theirs = tap.pair(True, [f"send={400 * MB}"], [f"send={400 * MB}"])
    tap.wait_until_connected()
    time.sleep(0.2)
    tap.hosts.run("server", ["ip", "link", "set", "tap0", "down"])
    time.sleep(0.5)
    tap.hosts.run("server", ["ip", "link", "set", "tap0", "up"])
    check(end(theirs), 400 * MB, 400 * MB)
    check(end(ours), 400 * MB, 400 * MB)
    tap.stop(ours)


def test_a_device_that_is_deleted(tap):
    """Nothing can come back on it: the run ends, and says so."""
    ours, _ = tap.pair(True, ["send=10000000000"])
    time.sleep(0.2)
    tap.hosts.run("server", ["ip", "link", "delete", "tap0"])
    assert end(ours, 20)["reason"] == "stopped"
    assert ours.wait(10) == 1
    assert "tap0 was deleted" in ours.stderr.read()


def test_an_idle_server_hears_that_the_interface_is_gone(hosts):
    for words, interface in ([], "tap0"), (["--via", "packet"], "eth0"):
        process, _ = serve(hosts, *words, interface=interface)
        hosts.run("server", ["ip", "link", "delete", interface])
        _, err = process.communicate(timeout=10)
        assert process.returncode == 1 and f"{interface} was deleted" in err, err


# --- without root ---------------------------------------------------------------------------------


def test_the_demo_of_an_ordinary_user(nobody):
    folder, as_nobody = nobody
    for name in "tools/demo", "tools/demo-rootless":
        os.makedirs(os.path.join(folder, "tools"), exist_ok=True)
        shutil.copy(os.path.join(ROOT, name), os.path.join(folder, name))
    shutil.copy(Hosts.built("c10m"), folder)
    done = command([*as_nobody, "env", f"C10M_BUILD={folder}", os.path.join(folder, "tools/demo"), "--rootless"],
                   timeout=120, cwd=folder)
    assert "Hello from c10m" in done.stdout
    rates = re.findall(r"1 GB (down|up) .*: ([\d.]+) Gb/s", done.stdout)
    assert [way for way, _ in rates] == ["down", "up"] and all(float(rate) > 0.1 for _, rate in rates)
    assert "made as a TAP device" in done.stderr


def test_an_ordinary_user_outside_a_namespace_is_told_what_to_do(nobody):
    folder, as_nobody = nobody
    shutil.copy(Hosts.built("c10m"), folder)
    done = command([*as_nobody, os.path.join(folder, "c10m"), "serve", "echo", "--interface", "tap0", "--address",
                    "10.77.0.10/24"], check=False, timeout=20, cwd=folder)
    assert done.returncode == 1 and "unshare -rn" in done.stderr, done.stderr

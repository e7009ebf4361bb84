"""very_many - the parts of ./dev bench with c10m load or very many connections: demo, load, sessions, scale,
instructions.

The stage (two hosts and a cable), the servers and the load are those of ./dev demo --connections."""

import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEMO = os.path.join(ROOT, "tools", "demo-connections")
SIZES = (1000, 10000, 100000, 1000000, 10000000)
FEW, RATE = 10000, 100000  # connections and requests a second of the latency that is compared


def load_demo():
    loader = importlib.machinery.SourceFileLoader("demo_connections", DEMO)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("demo_connections", loader))
    loader.exec_module(module)
    return module


demo = load_demo()


# --- ten million, as the demo has them ------------------------------------------------------------

DEMO_FIGURES = (  # key, what, unit, target by port
    ("proven", "connections proven", "", {"veth": ">= 10,000,000", "wire": ">= 10,000,000"}),
    ("lost", "lost", "", {"veth": "0", "wire": "0"}),
    ("bytes_per_connection", "state of a connection", "bytes", {"veth": "<= 288", "wire": "<= 288"}),
    ("other_memory_bytes", "all other memory of the server", "bytes", {"veth": "<= 1 GB", "wire": "<= 1 GB"}),
    ("open_per_second", "opened", "/s", {"veth": ">= 300,000", "wire": ">= 1,000,000"}),
    ("requests_per_second_1000", "requests, 1,000 connections", "/s", {}),
    ("requests_per_second_all", "requests, all connections", "/s", {}),
    ("fanout_seconds", "message to all", "s", {}), ("close_seconds", "all closed", "s", {}),
)


def bench_demo(figures, options):
    for _ in range(options.runs):
        for port in "veth", "wire":
            with tempfile.NamedTemporaryFile(suffix=".json") as file:
                args = [DEMO, "--connections", str(options.many), "--port", port, "--kernel", "none", "--json", file.name]
                subprocess.run(args, check=True, stdout=subprocess.DEVNULL)
                result = json.load(file)
            command = f"./dev demo --connections {options.many} --port {port} --kernel none"
            for key, what, unit, target in DEMO_FIGURES:
                figures.add("demo", f"{port}: {what}", result[key], unit, command, target.get(port))
            figures.add("demo", f"{port}: requests, all against 1,000",
                        result["requests_per_second_all"] / result["requests_per_second_1000"], "", command, ">= 0.7")
            for key in "p50", "p99", "p99.9":
                figures.add("demo", f"{port}: latency, {key}", result["latency_us"][key], "us", command)
            figures.add("demo", f"{port}: latency beyond the machine's jitter, p99.9",
                        result["latency_us"]["p99.9"] - result["jitter_us"]["p99.9"], "us", command,
                        "<= 50" if port == "wire" else None)


# --- c10m load against c10m and against epoll --------------------------------------------------------


def process_ns(pid):
    """User and system time of a process of one thread."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


def epoll_server(stage):
    server = stage.start(stage.server_ns, [demo.EPOLL, "--port", 7, "--cpu", stage.server_cpu],
                         stderr=subprocess.DEVNULL)
    if not server.stdout.readline():
        raise OSError("epoll_echo did not start")
    return server


def best_load(stage, target, server, seconds):
    """At the best number of requests in flight, each server's own: the result, and the server's processor time."""
    best, used = None, 0
    for in_flight in 64, 128, 256:
        before = process_ns(server.pid)
        result = demo.load(stage, target, 1000, seconds, "--in-flight", in_flight)
        if not best or result["requests_per_second"] > best["requests_per_second"]:
            best, used = result, process_ns(server.pid) - before
    return best, used


def one_server(figures, options, stage, name, ceiling):
    """Requests one after the other at the best rate, then at a rate that both servers reach."""
    server = demo.start_server(stage, FEW) if name == "c10m" else epoll_server(stage)
    target = demo.OURS if name == "c10m" else demo.KERNELS
    best, used = best_load(stage, target, server, options.seconds)
    paced = demo.load(stage, target, FEW, options.seconds, "--request-rate", RATE, "--in-flight", 16384)
    demo.stop(server)
    command = "./dev bench load"
    figures.add("load", f"{name}: requests, 1,000 connections", best["requests_per_second"], "/s", command)
    figures.add("load", f"{name}: processor time of a request", used / best["answers"], "ns", command)
    figures.add("load", f"{name}: against the pair's ceiling", best["requests_per_second"] / ceiling, "", command,
                ">= 0.75" if name == "c10m" else None)
    for key in "p50", "p99", "p99.9":
        figures.add("load", f"{name}: {RATE:,} requests/s over {FEW:,} connections: {key}", paced["latency_us"][key],
                    "us", command)
    return {"rate": best["requests_per_second"], "ns": used / best["answers"], "p99": paced["latency_us"]["p99"]}


def bench_load(figures, options):
    for _ in range(options.runs):
        with demo.Stage("veth") as stage:
            stage.build()
            demo.tune_kernel(stage)
            ceiling = demo.ceiling(stage)
            figures.add("load", "the pair's ceiling", ceiling, "/s", "./dev bench load")
            ours = one_server(figures, options, stage, "c10m", ceiling)
            theirs = one_server(figures, options, stage, "epoll", ceiling)
        for key, what, target in (("rate", "requests", ">= 2"), ("ns", "processor time of a request", "<= 0.4"),
                                  ("p99", "p99", "<= 0.5")):
            figures.add("load", f"c10m against epoll: {what}", ours[key] / theirs[key], "", "./dev bench load", target)


# --- what a request and a connection cost, by the number of connections ---------------------------------


def bench_scale(figures, options):
    for _ in range(options.runs):
        for connections in SIZES:
            args = [demo.C10M, "bench", "stack", "--connections", str(connections), "--burst", "32", "--cpu", "1",
                    "--seconds", str(options.seconds), "--json"]
            done = subprocess.run(args, check=True, capture_output=True, text=True)
            result, command = json.loads(done.stdout), f"build/c10m bench stack --connections {connections} --burst 32"
            figures.add("scale", f"{connections:,} connections", result["ns_per_request"], "ns/request", command)
            figures.add("scale", f"{connections:,} connections: bytes each", result["bytes_per_connection"], "bytes",
                        command)


# --- instructions ---------------------------------------------------------------------------------------


def inside_stack(kind, requests):
    """Instructions in stack_rx and stack_tx of bench/train.c."""
    program = os.path.join(demo.BUILD, "bench", "train")
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind")
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, kind, str(requests)],
                       check=True, capture_output=True)
        text = subprocess.run(["callgrind_annotate", "--inclusive=yes", out], check=True, capture_output=True,
                              text=True).stdout
    total = 0
    for name in "stack_rx", "stack_tx":
        found = re.findall(rf"^ *([\d,]+) \([ \d.]+%\)  \S+:{name}(?: \[|$)", text, re.M)
        if not found:
            raise OSError(f"callgrind_annotate does not tell what {name} takes")
        total += max(int(number.replace(",", "")) for number in found)
    return total


def bench_instructions(figures, _):
    """The difference of two runs leaves out what opening takes. The same each time: one run."""
    for kind, what in (("often", "the acknowledgement comes with the next request"),
                       ("rarely", "most acknowledgements come alone")):
        few, many = inside_stack(kind, 50000), inside_stack(kind, 150000)
        figures.add("instructions", what, (many - few) / 100000, "a request", "./dev bench instructions")


# --- what was stored -----------------------------------------------------------------------------------------


def stored(path):
    """{(bench, what): median} of an earlier run, and the machine of it."""
    with open(path, encoding="utf-8") as file:
        earlier = json.load(file)
    return {(row["bench"], row["what"]): row["median"] for row in earlier["figures"]}, earlier["machine"]


def plot(path, folder):
    """Two pictures of a stored run: what a request costs, and a connection."""
    rows = stored(path)[0]
    points = [(n, rows[("scale", f"{n:,} connections")], rows[("scale", f"{n:,} connections: bytes each")])
              for n in SIZES]
    data = "\n".join(f"{n} {ns} {size}" for n, ns, size in points)
    common = f"""set terminal svg size 720,400 font 'sans,13' background 'white'
set logscale x; set xlabel 'connections'; set key top left; set grid ytics lc rgb '#dddddd'
set xtics ('1 k' 1e3, '10 k' 1e4, '100 k' 1e5, '1 M' 1e6, '10 M' 1e7); set xrange [700:1.4e7]
$data << END
{data}
END
$floor << END
1000 35
10000000 97
END
$kernel << END
1000 3154
10000000 3154
END
"""
    pictures = {
        "cost.svg": """set ylabel 'ns a request'; set yrange [0:*]
plot $data using 1:2 with linespoints lw 2 pt 7 lc rgb '#1f6fb4' title 'c10m bench stack', \\
     $floor with linespoints dt 2 pt 6 lc rgb '#888888' title 'least that a staged echo can take (design, section 1)'
""",
        "memory.svg": """set ylabel 'bytes a connection'; set logscale y; set yrange [100:10000]
plot $data using 1:3 with linespoints lw 2 pt 7 lc rgb '#1f6fb4' title 'c10m', \\
     $kernel with lines dt 2 lc rgb '#b43f1f' title 'kernel, epoll: measured at 1 M'
"""}
    os.makedirs(folder, exist_ok=True)
    for name, commands in pictures.items():
        subprocess.run(["gnuplot"], input=f"set output '{os.path.join(folder, name)}'\n{common}{commands}", text=True,
                       check=True)



"""Every gateway of the comparison: what it is, where it listens, how it is started.

All of them run on core 0 with one worker thread; the backend and the load run on core 1.
"""

import os
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
# What is built, fetched and written. Nothing of it belongs into the repository.
MADE = Path(os.environ.get("PEERS_DIR", ROOT / "target" / "peers"))
BACKEND = 50051
UPSTREAM = f"127.0.0.1:{BACKEND}"

REST = ["get", "list", "post"]
ALL = [*REST, "web", "grpc", "grpclist"]

OURS = os.environ.get("MERCAT", str(ROOT / "target" / "dist" / "mercat"))


class Gateway:
    def __init__(self, name, port, does, command, about, env=None, kind="peer"):
        self.name, self.port, self.does, self.about, self.kind = name, port, does, about, kind
        self.command = [str(part) for part in command]
        self.env = env or {}

    @property
    def headers(self):
        """What the load sends with every request."""
        if "--jwks" not in self.command:
            return {}
        return {"authorization": "Bearer " + (MADE / "data/token").read_text()}

    def is_built(self):
        program = self.command[0]
        if "/" in program:
            return os.access(program, os.X_OK)
        return any(
            os.access(Path(folder, program), os.X_OK)
            for folder in os.environ["PATH"].split(":") + ["/usr/sbin"]
        )


def ours(name, port, about, *flags):
    command = [OURS, "gateway", "--upstream", UPSTREAM, "--descriptors", MADE / "data/catalog.fds"]
    command += ["--listen", f"127.0.0.1:{port}", "--admin", "", *flags]
    return Gateway(name, port, ALL, command, about, kind="ours")


def floor(kind, port, does):
    command = [MADE / "rust/release/floor", kind, f"127.0.0.1:{port}", MADE / "data"]
    if kind != "memory":
        command.append(UPSTREAM)
    return Gateway(f"floor-{kind}", port, does, command, "no JSON is read or written", kind="floor")


GATEWAYS = [
    ours("mercat", 9020, "bare, as the peers are", "--access", "public"),
    ours(
        "mercat-edge", 9021, "authentication, rates, access rules, trace, metrics, access log",
        "--policies", HERE / "conf/policies.toml", "--jwks", MADE / "data/jwks.json",
        "--set", "gateway.access_log=true", "--set", "telemetry.log_format=json",
        "--set", "gateway.rates.limit_loopback=true",
        "--set", "gateway.rates.read.per_minute=4000000000", "--set", "gateway.rates.read.burst=1000000",
    ),
    Gateway(
        "envoy", 10000, ALL,
        [MADE / "python/envoy", "-c", HERE / "conf/envoy.yaml", "--concurrency", "1", "--log-level",
         "warning", "--disable-hot-restart"],
        "grpc_json_transcoder and grpc_web filters",
    ),
    Gateway(
        "grpc-gateway", 9003, REST, [MADE / "go/grpcgateway", "127.0.0.1:9003", UPSTREAM],
        "generated reverse proxy", {"GOMAXPROCS": "1"},
    ),
    Gateway(
        "vanguard", 9004, ALL, [MADE / "go/vanguard", "127.0.0.1:9004", UPSTREAM],
        "transcoder before httputil.ReverseProxy", {"GOMAXPROCS": "1"},
    ),
    Gateway(
        "structured-proxy", 9006, ALL,
        [MADE / "cargo/bin/structured-proxy", "--config", HERE / "conf/structured-proxy.yaml"],
        "Rust, prost-reflect",
    ),
    Gateway(
        "haproxy", 9008, ["grpc", "grpclist"], ["haproxy", "-q", "-f", HERE / "conf/haproxy.cfg"],
        "passes HTTP/2 on, translates nothing",
    ),
    floor("memory", 9001, REST),
    floor("hyper", 9012, ALL),
    floor("tonic", 9002, ALL),
]


class Started:
    """Processes that run while this is open, and end with it."""

    def __init__(self):
        self.processes = {}

    def __enter__(self):
        (MADE / "log").mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def start(self, name, core, port, command, env=None):
        command = [str(part) for part in command]
        with open(MADE / "log" / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                cwd=MADE, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin", **(env or {})},
            )
        self.processes[name] = process
        end = time.monotonic() + 15
        while not listens(port):
            if process.poll() is not None or time.monotonic() > end:
                said = (MADE / "log" / f"{name}.log").read_text(errors="replace")[-500:]
                raise RuntimeError(f"{name} did not start: {said}")
            time.sleep(0.05)
        return process

    def backend(self):
        return self.start("backend", 1, BACKEND, [MADE / "rust/release/backend", UPSTREAM])

    def gateway(self, gateway):
        return self.start(gateway.name, 0, gateway.port, gateway.command, gateway.env)


def listens(port):
    """Whether a port of this machine is listened on; asked of the kernel, so that nobody is woken."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port:
            return True
    return False

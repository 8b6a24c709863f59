"""One load run: what a request costs a gateway.

The figure is CPU microseconds of the gateway's process per request (utime + stime of all its threads), which holds on a
machine that is not quiet, where requests per second do not. 32 requests are in flight at any time.
"""

import os
import re
import subprocess
import time
from pathlib import Path

from gateways import MADE

TICKS = os.sysconf("SC_CLK_TCK")
LOAD_CORE = "1"
CONNECTIONS = 32
GRPC_CONNECTIONS, GRPC_STREAMS = 4, 8
PATHS = {
    "get": "/v1/products/p-000007",
    "list": "/v1/products?page_size=50",
    "post": "/v1/products",
    "web": "/catalog.v1.Catalog/GetProduct",
    "grpc": "/catalog.v1.Catalog/GetProduct",
    "grpclist": "/catalog.v1.Catalog/ListProducts",
    "light": "/v1/products/p-000007",
}
BODIES = {
    "post": ("create.json", "application/json"),
    "web": ("get.grpc", "application/grpc-web+proto"),
    "grpc": ("get.grpc", "application/grpc"),
    "grpclist": ("list.grpc", "application/grpc"),
}
# Requests per second of the light load, over 16 connections.
LIGHT_RATE, LIGHT_CONNECTIONS = 2000, 16


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def scheduled_seconds(pid):
    """The same by the scheduler's clock, to nanoseconds; threads that ended are missing."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total / 1e9


def memory_peak_bytes(pid):
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) * 1024


def core_busy_seconds(core):
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _, _, irq, softirq, *_ = map(int, line.split()[1:])
            return (user + nice + system + irq + softirq) / TICKS
    raise RuntimeError(f"there is no core {core}")


def microseconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]


def wrk(gateway, scenario, seconds):
    """Requests, seconds, p50, p99, failures of a closed loop over HTTP/1.1."""
    script = MADE / f"{gateway.name}-{scenario}.lua"
    headers = dict(gateway.headers)
    lines = []
    if scenario in BODIES:
        body, kind = BODIES[scenario]
        headers["content-type"] = kind
        lines += ['wrk.method = "POST"', f'local body = io.open("{MADE / "data" / body}", "rb")',
                  'wrk.body = body:read("*a")', "body:close()"]
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    script.write_text("\n".join(lines) + "\n")
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-s", script, f"http://127.0.0.1:{gateway.port}{PATHS[scenario]}"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    count, took = re.search(r"(\d+) requests in ([\d.]+)(?:s|m)", said).groups()
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    failed = int(refused.group(1)) if refused else 0
    failed += sum(map(int, errors.groups())) if errors else 0
    p50, p99 = (microseconds(re.search(rf"(?m)^\s+{p}%\s+(\S+)", said).group(1)) for p in (50, 99))
    return int(count), float(took), p50, p99, failed


def h2load(gateway, scenario, seconds):
    """The same over HTTP/2, or at a light, fixed rate over HTTP/1.1."""
    log = Path("/dev/shm") / f"peers-{os.getpid()}.log"
    log.unlink(missing_ok=True)
    command = ["taskset", "-c", LOAD_CORE, "h2load", "-t1", "-D", str(seconds), "--log-file", str(log)]
    if scenario == "light":
        command += ["--h1", f"-c{LIGHT_CONNECTIONS}", "--rps", str(LIGHT_RATE // LIGHT_CONNECTIONS)]
    else:
        body, kind = BODIES[scenario]
        command += [f"-c{GRPC_CONNECTIONS}", f"-m{GRPC_STREAMS}", "-d", str(MADE / "data" / body)]
        command += ["-H", f"content-type: {kind}", "-H", "te: trailers"]
    for name, value in gateway.headers.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{gateway.port}{PATHS[scenario]}")
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    done = int(re.search(r"(\d+) done", said).group(1))
    latencies, failed = [], 0
    for line in log.read_text().splitlines():
        _, status, took = line.split("\t")
        latencies.append(int(took))
        failed += status != "200"
    log.unlink()
    latencies.sort()
    at = lambda part: latencies[min(len(latencies) - 1, int(len(latencies) * part))] if latencies else 0
    # A request that was in flight when the time was over is logged, and counts as neither.
    failed += max(0, len(latencies) - done - GRPC_CONNECTIONS * GRPC_STREAMS)
    return len(latencies), float(seconds), at(0.5), at(0.99), failed


def load(gateway, scenario, seconds):
    is_http1 = scenario in ("get", "list", "post", "web")
    return (wrk if is_http1 else h2load)(gateway, scenario, seconds)


def quiet(patience=3):
    """Waits, not for long, for a moment when little else runs."""
    def idle():
        values = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return values[3] + values[4], sum(values[:8])

    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = idle()
        time.sleep(0.25)
        after = idle()
        if (after[0] - before[0]) / max(1, after[1] - before[1]) > 0.92:
            return


def run(gateway, pid, scenario, seconds):
    quiet()
    load(gateway, scenario, 1)
    cpu, scheduled, core, started = cpu_seconds(pid), scheduled_seconds(pid), core_busy_seconds(0), time.monotonic()
    count, took, p50, p99, failed = load(gateway, scenario, seconds)
    time.sleep(0.05)
    cpu, scheduled = cpu_seconds(pid) - cpu, scheduled_seconds(pid) - scheduled
    others = max(0, core_busy_seconds(0) - core - cpu) / (time.monotonic() - started)
    return {
        "gateway": gateway.name,
        "scenario": scenario,
        "requests": count,
        "per_second": round(count / took),
        "p50_us": p50,
        "p99_us": p99,
        "failed": failed,
        "cpu_us": round(cpu / count * 1e6, 2),
        "scheduled_us": round(scheduled / count * 1e6, 2),
        "core_share": round(cpu / took, 2),
        "others_share": round(others, 2),
        "rss_peak_bytes": memory_peak_bytes(pid),
    }

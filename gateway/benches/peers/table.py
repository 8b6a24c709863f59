"""The table: medians, and the ratios that count.

A shared machine is twice as fast in one minute as in the next. So a ratio is taken
within each round, where both stand close together, and its median over the rounds
is shown."""

import json
import statistics
from collections import defaultdict

SCENARIOS = {
    "get": "REST GET one",
    "list": "REST GET list of 50",
    "post": "REST POST create",
    "web": "gRPC-Web unary",
    "grpc": "gRPC, small",
    "grpclist": "gRPC, 16 KB answer",
    "light": "REST GET, light load",
}
# At most this much of the best peer, and of the floor that calls through hyper.
GOALS = {"get": (0.5, 1.6), "list": (0.2, 3), "post": (0.5, 1.6), "web": (0.8, 1.6), "grpc": (0.8, 1.6),
         "grpclist": (0.8, 1.6)}
EDGE_MORE_US = 8
RSS_MIB = 20


def read(files):
    runs = defaultdict(list)
    for number, file in enumerate(files):
        for line in open(file, encoding="utf-8"):
            run = json.loads(line)
            runs[run["scenario"], run["gateway"]].append((number, run))
    return runs


def paired(runs, scenario, ours, other, of):
    """The median over the rounds of what `of` makes of one gateway and another."""
    by_round = [{(number, run["round"]): run["cpu_us"] for number, run in runs[scenario, name]} for name in (ours, other)]
    pairs = [of(cpu, by_round[1][where]) for where, cpu in by_round[0].items() if where in by_round[1]]
    return statistics.median(pairs) if pairs else None


def show(files, gateways):
    rounds = read(files)
    runs = {key: [run for _, run in found] for key, found in rounds.items()}
    cpu, failed = {}, []
    for (scenario, name), found in runs.items():
        cpu[scenario, name] = statistics.median(run["cpu_us"] for run in found)
        lost = sum(run["failed"] for run in found)
        if lost:
            failed.append(f"{name}, {scenario}: {lost} of {sum(run['requests'] for run in found)} failed")
    names = [gateway.name for gateway in gateways if any(name == gateway.name for _, name in runs)]
    kinds = {gateway.name: gateway.kind for gateway in gateways}

    print("CPU microseconds of the gateway's process per request, medians\n")
    print(f"| scenario | {' | '.join(names)} |")
    print("|---|" + "---|" * len(names))
    for scenario, title in SCENARIOS.items():
        if any(known == scenario for known, _ in cpu):
            cells = [f"{cpu[scenario, name]:.1f}" if (scenario, name) in cpu else "-" for name in names]
            print(f"| {title} | {' | '.join(cells)} |")
    peaks = defaultdict(int)
    for found in runs.values():
        for run in found:
            peaks[run["gateway"]] = max(peaks[run["gateway"]], run["rss_peak_bytes"])
    print(f"| peak RSS, MiB | {' | '.join(f'{peaks[name] / 2**20:.0f}' for name in names)} |\n")

    print("| scenario | ours / best peer | goal | ours / floor | goal | whole edge more, us | goal |")
    print("|---|---|---|---|---|---|---|")
    for scenario, (of_peer, of_floor) in GOALS.items():
        if (scenario, "mercat") not in cpu:
            continue
        share = lambda other: paired(rounds, scenario, "mercat", other, lambda ours, others: ours / others)
        # haproxy translates nothing: it is shown, and no peer.
        peers = {
            name: value
            for (known, name), value in cpu.items()
            if known == scenario and kinds.get(name) == "peer" and name != "haproxy"
        }
        cells = [SCENARIOS[scenario]]
        if peers:
            shares = {name: share(name) for name in peers}
            best = max((name for name in shares if shares[name]), key=shares.get)
            cells += [f"{shares[best]:.2f} ({best})", f"<= {of_peer}"]
        else:
            cells += ["-", f"<= {of_peer}"]
        floor = share("floor-hyper")
        cells += [f"{floor:.2f}" if floor else "-", f"<= {of_floor}"]
        more = paired(rounds, scenario, "mercat-edge", "mercat", lambda whole, bare: whole - bare)
        cells += [f"{more:+.1f}" if more is not None else "-", f"<= {EDGE_MORE_US}"]
        print(f"| {' | '.join(cells)} |")
    print()
    for (scenario, name), found in sorted(runs.items()):
        values = sorted(run["cpu_us"] for run in found)
        p50, p99 = (statistics.median(run[f"p{p}_us"] for run in found) / 1000 for p in (50, 99))
        rate = statistics.median(run["per_second"] for run in found)
        others = statistics.median(run["others_share"] for run in found)
        print(f"{scenario:9} {name:17} {cpu[scenario, name]:7.1f} us ({values[0]:.1f}-{values[-1]:.1f}, {len(values)} runs)"
              f" {rate:6.0f}/s p50 {p50:.2f} p99 {p99:.2f} ms, others on its core {others:.0%}")
    for line in failed:
        print(f"FAILED {line}")

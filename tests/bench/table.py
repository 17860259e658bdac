#!/usr/bin/env python3
"""table.py RESULTS.jsonl COMMIT - medians of the rounds as a Markdown table: figure, peer, ours, ratio. Above 1 is better than the peer."""
import json
import statistics
import sys
import time

BULK = ("select", "login+select", "status", "fetch_", "search", "store_10k", "copy", "move", "idle_latency")
PEERS = ("dovecot-maildir-tls", "postfix+dovecot", "postfix-relay")
CRYPT_PEER = "dovecot-sdbox-crypt-tls"


def is_time(bench):
    return bench.startswith(BULK) and bench != "fetch_one_body"


def value(line):
    if is_time(line["bench"]):
        return line["p50_ms"]
    return line.get("rate", line.get("kb_per_conn"))


def load(path):
    rows, noisy = {}, set()
    for line in open(path):
        if not line.startswith("{"):
            continue
        try:
            d = json.loads(line)
        except ValueError:                  # a line that is still being written
            continue
        if value(d) is None or d["bench"].startswith(("prep_", "smtp_drain", "idle_open")):
            continue
        rows.setdefault(d["bench"], {}).setdefault(d["server"], []).append(d)
        if d.get("other_cores", 0) > 0.4:
            noisy.add(d["bench"])
    return rows, noisy


def cell(lines):
    if not lines:
        return "–", None
    m = statistics.median(value(d) for d in lines)
    unit = "ms" if is_time(lines[0]["bench"]) else lines[0].get("unit", "/s")
    p99 = [d["p99_ms"] for d in lines if "p99_ms" in d and not is_time(d["bench"])]
    spread = [value(d) for d in lines]
    tail = f" ({min(spread):.3g}-{max(spread):.3g})" if len(spread) > 1 else ""
    tail += f", p99 {statistics.median(p99):.1f} ms" if p99 else ""
    return f"{m:.3g} {unit}{tail}" if m < 100 else f"{m:.0f} {unit}{tail}", m


def main():
    rows, noisy = load(sys.argv[1])
    print(f"| figure | peer | suite | ratio | {time.strftime('%Y-%m-%d')}, {sys.argv[2]} |\n|---|---|---|---|---|")
    for bench, by in rows.items():
        peer = next((by[p] for p in PEERS if p in by), None)
        if peer is None and bench.startswith(("mx_locked_", "mx_held_")):
            peer = rows.get("mx_" + bench.split("_", 2)[2], {}).get("postfix+dovecot")
            if peer and bench.endswith("_s1"):             # one session is compared with how fast the peer accepts
                peer = [{**d, "rate": d["accepted_rate"]} for d in peer]
        (left, a), (right, b) = cell(peer), cell(by.get("suite"))
        if "suite" not in by and bench.startswith("mx_"):
            continue                                       # stands beside both of ours
        ratio = f"{(a / b if is_time(bench) else b / a):.2f}" if a and b else ""
        print(f"| {bench} | {left} | {right} | {ratio} | {'machine loaded' if bench in noisy else ''} |")
        left, a = cell(by.get(CRYPT_PEER))
        if a and b:
            print(f"| {bench}, peer with mail_crypt | {left} | {right} | {a / b:.2f} | |")


if __name__ == "__main__":
    main()

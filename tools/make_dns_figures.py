"""Generate docs/reference/coredns-memory.md and dns-steps.md from what bench/ keeps; a test holds them equal to it.

Usage: python tools/make_dns_figures.py
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from segue.dns.memory import LAWS
from segue.dns.sizing import PUBLISHED

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "bench" / "coredns-memory.json"
TARGET = ROOT / "docs" / "reference" / "coredns-memory.md"
STEPS_SOURCE = ROOT / "bench" / "dns-steps.json"
STEPS_TARGET = ROOT / "docs" / "reference" / "dns-steps.md"
STEPS_HEAD = """# 20 ms of DNS, step by step

<!-- made by tools/make_dns_figures.py from bench/dns-steps.json -->

`python -m bench.dns_steps OUT.json`: an example service asks `api.example.com` over a new connection, {rate} times a
second for 5 s per step. It runs in namespaces of its own with a real CoreDNS ({version}), and {round:g} ms lie between
the two, so that the four rounds of the search list cost 20 ms; a name outside costs CoreDNS 10 ms more, unless it is in
its cache. The programs ran with real-time priority, so that what else the machine did is not in the figures.

Queries were captured, and are those that `segue dns explain` predicts, in every step. `lookup` is getaddrinfo (glibc),
`request` the lookup, the connection and the answer; the bar is the median lookup.

"""
_BAR_MS, _BAR_WIDTH = 35.0, 35
HEAD = """# How much memory CoreDNS takes

<!-- made by tools/make_dns_figures.py from bench/coredns-memory.json -->

`python -m bench.coredns_memory OUT.json` starts a real CoreDNS ({version}) {starts} times per row, against an API
server of synthetic Services, EndpointSlices (one per Service) and Pods as large as those of a real cluster, in the
protobuf and by the streaming watch that CoreDNS uses. [`segue dns plan`](../how-to/make-lookups-cheap.md) counts with
the law below.

- **heap**: live after a garbage collection, as CoreDNS' own runtime tells it. **RSS**: the kernel's, once it has
  stopped falling after that. **peak**: the most that it ever had, which is at its start. All are medians, in MB of
  1,000,000 bytes.
- The cache is empty: two full ones of the default size are said to take 30 MB more.
- *published*: (Pods + Services) / 1000 + 54, with autopath / 250 + 56, of CoreDNS 1.2.5, 30 MB of cache among them; its
  error is told against RSS.
- Rows that are *held out* were not used for the law. Its errors there: heap within {heap}, RSS within {rss}.

**Set the limit by the peak.** While it starts CoreDNS holds every object as the API server sent it, before it keeps the
few fields that it needs. With autopath and 50,000 Pods and Services that is 471 MB, where 201 MB are enough afterwards,
256 MB are published, and the usual manifest has a limit of 170 Mi: a CoreDNS that ran for months is ended by the kernel
when it starts again.
"""


def page() -> str:
    """The whole page."""
    told = json.loads(SOURCE.read_text())
    held = [row for row in told["points"] if row["for"] != "fit"]
    worst = {what: max(abs(error(row, what)) for row in held) for what in ("heap", "rss")}
    lines = [
        HEAD.format(
            version=told["coredns"], starts=told["starts"], **{what: f"{share:.1%}" for what, share in worst.items()}
        )
    ]
    for autopath in (False, True):
        lines += [f"\n## {'With autopath (pods verified)' if autopath else 'Without autopath'}\n"]
        lines += ["| MB = | base | per 1,000 Services | per 1,000 Pods | 95 % of single measurements within |"]
        lines += ["|---|---|---|---|---|"]
        for what in ("heap", "rss", "peak"):
            law = LAWS[what, autopath]
            numbers = f"{law.base_mb:.2f} | {law.per_1000_services_mb:.3f} | {law.per_1000_pods_mb:.3f}"
            lines += [f"| {what} | {numbers} | ±{law.within:.1%} |"]
        lines += ["", "| Services | Pods | for | heap | law | RSS | law | published | peak | law |"]
        lines += ["|---|---|---|---|---|---|---|---|---|---|"]
        for row in told["points"]:
            if row["autopath"] is autopath:
                published = PUBLISHED[autopath].mb(row["services"] + row["pods"]) / statistics.median(row["rss"]) - 1
                cells = [f"{row['services']:,}", f"{row['pods']:,}", row["for"]]
                for what in ("heap", "rss", "peak"):
                    cells += [f"{statistics.median(row[what]):.1f}", f"{error(row, what):+.1%}"]
                cells.insert(7, f"{published:+.0%}")
                lines += [f"| {' | '.join(cells)} |"]
    return "\n".join(lines) + "\n"


def steps_page() -> str:
    """The page of the steps."""
    told = json.loads(STEPS_SOURCE.read_text())
    heads = ["step", "queries", "predicted", "lookup p50 ms", "p99", "p99.9", "request p50 ms", "p99", "share of DNS"]
    lines = [STEPS_HEAD.format(rate=told["rate"], version=told["coredns"], round=told["round_ms"])]
    lines += [f"| {' | '.join(heads)} |\n", f"|{'---|' * len(heads)}\n"]
    for row in told["steps"]:
        took, whole = row["lookup_ms"], row["request_ms"]
        cells = [row["step"], f"{row['queries']:g}", str(row["predicted"])]
        cells += [f"{took[key]:.2f}" for key in ("p50", "p99", "p99.9")] + [
            f"{whole[key]:.2f}" for key in ("p50", "p99")
        ]
        lines.append(f"| {' | '.join(cells)} | {row['dns_share']:.0%} |\n")
    width = max(len(row["step"]) for row in told["steps"])
    bars = (
        f"{row['step']:<{width}}  {'#' * max(1, round(row['lookup_ms']['p50'] / _BAR_MS * _BAR_WIDTH))}"
        f" {row['lookup_ms']['p50']:.2f} ms\n"
        for row in told["steps"]
    )
    return "".join([*lines, "\n```text\n", *bars, "```\n"])


def error(row: dict[str, object], what: str) -> float:
    """The law's, as a share of what was measured."""
    law = LAWS[what, bool(row["autopath"])]
    measured = row[what]
    assert isinstance(measured, list)
    predicted = law.mb(services=int(str(row["services"])), pods=int(str(row["pods"])))
    return predicted / float(statistics.median(measured)) - 1


if __name__ == "__main__":
    TARGET.write_text(page())
    STEPS_TARGET.write_text(steps_page())

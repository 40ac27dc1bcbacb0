"""How much memory a CoreDNS takes for so many Pods and Services: `python -m bench.coredns_memory [OUT.json]`.

A real CoreDNS is started five times per point against `many_objects`. Live heap is what its own runtime tells after a
garbage collection; RSS is the kernel's, once it has stopped falling after that (Go collects by itself every two
minutes); the peak is the most it ever had, which is while it reads everything at its start.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.many_objects import HOME, Amount, serving
from segue.model.objects import Obj
from testbed.building import build_tool, programs
from testbed.versions import DEFAULT, release

STARTS = 5
FIT = (
    Amount(services=1, pods=0),
    Amount(services=1_000, pods=9_000),
    Amount(services=2_500, pods=7_500),
    Amount(services=5_000, pods=45_000),
    Amount(services=12_500, pods=37_500),
    Amount(services=10_000, pods=90_000),
    Amount(services=15_000, pods=135_000),
    Amount(services=37_500, pods=112_500),
)
HELD_OUT = (
    Amount(services=800, pods=4_200),
    Amount(services=5_000, pods=25_000),
    Amount(services=11_000, pods=64_000),
    Amount(services=22_000, pods=98_000),
)
MB = 1_000_000
_SETTLED_S, _SETTLE_LIMIT_S, _START_LIMIT_S = 3.0, 60.0, 180.0
_COREFILE = """\
.:{dns} {{
    bind 127.0.0.1
    errors
    health 127.0.0.1:{health} {{
        lameduck 5s
    }}
    ready 127.0.0.1:{ready}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        endpoint http://127.0.0.1:{api}
        pods {pods}
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    {autopath}
    prometheus 127.0.0.1:{metrics}
    forward . 127.0.0.1:9 {{
        max_concurrent 1000
    }}
    cache 30
    pprof 127.0.0.1:{pprof}
    loadbalance
}}
"""


def measured(amount: Amount, api: int, binary: Path, *, autopath: bool) -> Obj:
    """One start: heap, RSS, peak in MB."""
    with tempfile.TemporaryDirectory() as folder:
        ports = dict(zip(("dns", "health", "ready", "metrics", "pprof"), _free_ports(5), strict=True))
        how = (
            {"pods": "verified", "autopath": "autopath @kubernetes"}
            if autopath
            else {"pods": "insecure", "autopath": ""}
        )
        file = Path(folder) / "Corefile"
        file.write_text(_COREFILE.format(api=api, **ports, **how))
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([binary, "-conf", file], stdout=log, stderr=log)
        try:
            began_s = time.monotonic()
            while _get(ports["ready"], "/ready") is None:
                if process.poll() is not None or time.monotonic() - began_s > _START_LIMIT_S:
                    raise SystemExit((Path(folder) / "log").read_text()[-3000:])
                time.sleep(0.1)
            start_s = time.monotonic() - began_s
            peak = _status(process.pid, "VmHWM")
            told = ""
            for _ in range(2):  # what the first one finds, the second one frees
                told = _get(ports["pprof"], "/debug/pprof/heap?gc=1&debug=1") or ""
            heap = int(_found(r"^# HeapAlloc = (\d+)$", told)) / MB
            rss = _settled(process.pid)
        finally:
            process.kill()
            process.wait()
    return {"heap": round(heap, 2), "rss": round(rss, 1), "peak": round(peak, 1), "start_s": round(start_s, 1)}


def _settled(pid: int) -> float:
    """RSS once it has not fallen by half a percent for some seconds."""
    began_s = last_s = time.monotonic()
    least = _status(pid, "VmRSS")
    while (now_s := time.monotonic()) - last_s < _SETTLED_S and now_s - began_s < _SETTLE_LIMIT_S:
        time.sleep(0.25)
        if (now := _status(pid, "VmRSS")) < least * 0.995:
            least, last_s = now, time.monotonic()
    return _status(pid, "VmRSS")


def _status(pid: int, name: str) -> float:
    return int(_found(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text())) * 1024 / MB


def _found(pattern: str, text: str) -> str:
    seen = re.search(pattern, text, re.MULTILINE)
    assert seen is not None, (pattern, text[-500:])
    return seen[1]


def _get(port: int, path: str) -> str | None:
    with (
        suppress(OSError, urllib.error.URLError),
        urllib.request.urlopen(f"http://{HOME}:{port}{path}", timeout=60) as told,
    ):
        return str(told.read().decode())
    return None


def _free_ports(count: int) -> list[int]:
    taken = [socket.create_server((HOME, 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in taken]
    for one in taken:
        one.close()
    return ports


def rows(points: tuple[Amount, ...], what: str, modes: tuple[bool, ...]) -> Iterator[Obj]:
    """Every point, with autopath and without."""
    binary = build_tool(next(one for one in programs(release(DEFAULT)) if one.name == "coredns"), print) / "coredns"
    for amount in points:
        with serving(amount) as api:
            for autopath in modes:
                runs = [measured(amount, api, binary, autopath=autopath) for _ in range(STARTS)]
                yield {
                    "services": amount.services,
                    "pods": amount.pods,
                    "autopath": autopath,
                    "for": what,
                    **{name: [run[name] for run in runs] for name in runs[0]},
                }


def main(out: Path, modes: tuple[bool, ...]) -> None:
    """Measure all, keep it."""
    found = []
    for points, what in ((FIT, "fit"), (HELD_OUT, "held out")):
        for row in rows(points, what, modes):
            print(json.dumps(row), flush=True)
            found.append(row)
    told = {"coredns": release(DEFAULT).coredns, "starts": STARTS, "points": found}
    out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "coredns-memory.json"), (False, True))

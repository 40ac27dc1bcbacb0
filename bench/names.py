"""How many questions a second the cluster's DNS server answers on one core, asked by dnsperf (Debian: dnsperf)."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.figures import Figure
from segue.host.dns.keeper import start_server

RUNS, RUN_S = 5, 3
SERVICES = 500
HOME = "127.0.0.1"
_TTL_S = 3600


def figures() -> Iterator[Figure]:
    """Cached names of the cluster; the same through the whole path, every question new; names outside, remembered."""
    if not shutil.which("dnsperf"):
        return
    upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    upstream.bind((HOME, 0))
    threading.Thread(target=_answer, args=(upstream,), daemon=True).start()
    process, control = start_server()
    with closing(control), closing(upstream):
        at = _fill(control, upstream.getsockname())
        os.sched_setaffinity(process.pid, {0})
        inside = [f"s{number}.shop.svc.cluster.local" for number in range(SERVICES)]
        fresh = [f"10-{a}-{b}-{c}.shop.pod.cluster.local" for a in range(8) for b in range(100) for c in range(250)]
        outside = [f"h{number}.example.com" for number in range(SERVICES)]
        yield Figure(name="dns_cached_names", values=_runs(at, inside), unit="q/s", goal=15_000, at_most=False)
        yield Figure(name="dns_names_never_asked_before", values=_runs(at, fresh), unit="q/s", goal=None)
        yield Figure(name="dns_remembered_names_outside", values=_runs(at, outside), unit="q/s", goal=None)
    process.wait()


def _fill(control: socket.socket, upstream: tuple[str, int]) -> tuple[str, int]:
    def tell(message: object) -> None:
        control.sendall(json.dumps(message).encode() + b"\n")

    with socket.create_server((HOME, 0)) as taken:
        port = taken.getsockname()[1]
    tell({"begin": {"ip": HOME, "port": port, "upstreams": [upstream], "cache_s": _TTL_S}})
    tell({"put": "namespaces", "objects": [{"metadata": {"name": "shop"}}]})
    for number in range(SERVICES):
        spec = {"clusterIP": f"10.96.{number // 250}.{number % 250 + 1}", "ports": [{"name": "http", "port": 80}]}
        tell({"put": "services", "objects": [{"metadata": {"name": f"s{number}", "namespace": "shop"}, "spec": spec}]})
    tell({"serve": True})
    assert "serving" in json.loads(control.makefile().readline())
    return HOME, port


def _runs(at: tuple[str, int], names: list[str]) -> list[float]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name} A\n{name} AAAA\n" for name in names))
        file.flush()
        return [_rate(at, Path(file.name)) for _ in range(RUNS)]


def _rate(at: tuple[str, int], file: Path) -> float:
    argv = [
        "taskset",
        "-c",
        "1",
        "dnsperf",
        "-s",
        at[0],
        "-p",
        str(at[1]),
        "-d",
        str(file),
        "-l",
        str(RUN_S),
        "-q",
        "100",
    ]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    lost = re.search(r"Queries lost:\s+(\d+)", told)
    rate = re.search(r"Queries per second:\s+([\d.]+)", told)
    assert lost is not None
    assert rate is not None
    assert int(lost[1]) == 0, told
    return float(rate[1])


def _answer(upstream: socket.socket) -> None:
    """A server further up that knows every name."""
    while True:
        try:
            packet, peer = upstream.recvfrom(4096)
        except OSError:
            return
        end = packet.index(b"\0", 12) + 5
        kind = packet[end - 4 : end - 2]
        data = bytes([10, 0, 0, 1]) if kind == b"\0\1" else bytes(15) + b"\1"
        record = b"\xc0\x0c" + kind + b"\0\1" + _TTL_S.to_bytes(4) + len(data).to_bytes(2) + data
        upstream.sendto(packet[:2] + b"\x81\x80\0\1\0\1" + bytes(4) + packet[12:end] + record, peer)

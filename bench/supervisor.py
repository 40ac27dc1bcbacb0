"""What the supervisor costs while nothing is the matter: its own share of a core, and that of the scripts it starts.

It runs in a network namespace of its own beside a server that answers its readiness, probed as a kubelet would.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure

FOR_S = 40.0
APP = Path(__file__).resolve().parents[1] / "src" / "segue" / "app"
ADDRESS, PORT, PROBES = "10.9.9.9", 8080, 8082
WAYS = {
    "log": ["--check-log", "LOG", "--pattern", "died"],
    "url": ["--check-url", f"http://{ADDRESS}:{PORT}/"],
    "script": ["--check", "test $(grep -c died LOG) -lt 2"],
}
PROBE_EVERY_S = {"/ready": 5.0, "/live": 10.0}


def figures() -> Iterator[Figure]:
    """CPU in % of a core; of scripts theirs apart."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return
    for way in WAYS:
        argv = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m", "bench.supervisor", way]
        told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        own, scripts = json.loads(told.splitlines()[-1])
        yield Figure(name=f"supervisor_{way}_cpu", values=[own], unit="%core", goal=0.2)
        if way == "script":
            yield Figure(name="supervisor_scripts_cpu", values=[scripts], unit="%core", goal=None)


def _inside(way: str) -> None:
    """In a namespace of our own: a server, the supervisor, and its probes."""
    for words in (("link", "set", "lo", "up"), ("addr", "add", f"{ADDRESS}/32", "dev", "lo")):
        subprocess.run(["ip", *words], check=True)
    server = http.server.ThreadingHTTPServer((ADDRESS, PORT), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "log"
        log.touch()
        argv = [
            sys.executable,
            "-I",
            "-S",
            str(APP / "supervise.py"),
            *(one.replace("LOG", str(log)) for one in WAYS[way]),
        ]
        argv += ["--port", str(PROBES), "--ports", str(PORT), "--ready-url", f"http://{ADDRESS}:{PORT}/"]
        running = subprocess.Popen(argv, env={**os.environ, "POD_IP": ADDRESS}, stdout=subprocess.DEVNULL)
        for path, every_s in PROBE_EVERY_S.items():
            threading.Thread(target=_probe, args=(path, every_s), daemon=True).start()
        threading.Event().wait(4.0)
        before, began_s = _cpu_s(running.pid), time.monotonic()
        threading.Event().wait(FOR_S)
        took_s = time.monotonic() - began_s
        shares = [100 * (after - was) / took_s for after, was in zip(_cpu_s(running.pid), before, strict=True)]
        running.terminate()
        running.wait()
    print(json.dumps(shares))


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _probe(path: str, every_s: float) -> None:
    while True:
        # It may not listen yet, and it is not ready before its first check
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{ADDRESS}:{PROBES}{path}", timeout=5) as told,
        ):
            told.read()
        threading.Event().wait(every_s)


def _cpu_s(pid: int) -> tuple[float, float]:
    """Its own seconds to the microsecond, and those of children that have ended."""
    own = sum(int(one.read_text().split()[0]) for one in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return own, (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    _inside(sys.argv[1])

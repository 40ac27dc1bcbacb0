"""A real Prometheus beside a cluster: it is told of a namespace's pods and scrapes them through the relay."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server
from urllib.parse import urlencode

import pytest
import yaml

from segue.model.objects import Obj
from tests.live.both.world import HERE, Place
from tests.waiting import wait_until


@contextmanager
def relayed(place: Place, target: str = "") -> Iterator[int]:
    """A port on loopback that leads into the client's network: to `target`, or as an HTTP proxy anywhere."""
    with create_server(("127.0.0.1", 0)) as listener:
        argv = place.from_client(sys.executable, str(HERE / "relay.py"), str(listener.fileno()), target)
        with subprocess.Popen(argv, pass_fds=[listener.fileno()]) as house:
            try:
                yield listener.getsockname()[1]
            finally:
                house.terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """One that runs."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def values(self, query: str) -> list[float]:
        """What an instant query gives; nothing while it does not answer."""
        with suppress(OSError, http.client.HTTPException), closing(self._way()) as way:
            way.request("GET", "/api/v1/query?" + urlencode({"query": query}))
            answer = way.getresponse()
            if answer.status == 200:
                return [float(row["value"][1]) for row in json.loads(answer.read())["data"]["result"]]
        return []

    def _way(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def prometheus(place: Place, home: Path, pods: int) -> Iterator[Prometheus]:
    """Start it and wait until it has seen so many pods."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus is installed (Debian: apt-get install prometheus)")
    with relayed(place) as proxy, _discovery(place) as discovery, create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
        free.close()
        config = home / "prometheus.yml"
        config.write_text(yaml.safe_dump(_config(proxy, discovery)))
        argv = [binary, f"--config.file={config}", f"--storage.tsdb.path={home / 'tsdb'}"]
        argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        log = (home / "prometheus.log").open("wb")
        with log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
            made = Prometheus(port=port, process=process)
            try:
                query = f'up{{namespace="{place.namespace}"}} == 1'
                wait_until(lambda: len(made.values(query)) >= pods, limit_s=60, what="Prometheus to see the pods")
                yield made
            finally:
                if process.poll() is None:
                    made.stop()


def _config(proxy: int, discovery: int) -> object:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {
                "job_name": "pods",
                "proxy_url": f"http://127.0.0.1:{proxy}",
                "http_sd_configs": [{"url": f"http://127.0.0.1:{discovery}/", "refresh_interval": "1s"}],
            }
        ],
    }


@contextmanager
def _discovery(place: Place) -> Iterator[int]:
    """Tells which pods run, with the labels that they have in many a cluster. Debian's Prometheus cannot ask itself."""

    class Targets(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Scrapes are requests like others: a pod that is to be proved quiet must not be scraped
            pods = [pod for pod in place.all("pods") if "segue.dev/orphan-of" not in pod["metadata"]["labels"]]
            running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
            body = json.dumps([_target(pod) for pod in running]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Targets) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            serving.join()


def _target(pod: Obj) -> Obj:
    metadata = pod["metadata"]
    labels = {"namespace": metadata["namespace"], "pod": metadata["name"]}
    version = metadata["labels"].get("pod-template-hash", "")
    return {"targets": [f"{pod['status']['podIP']}:10002"], "labels": {**labels, "version": version}}

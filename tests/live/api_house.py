"""The API server alone in a process of its own: no controllers, no node, so that a test is the only one who acts.

Its pods have one door: exec runs the command on this machine, logs are three lines.
Run as a program it serves a state directory until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segue.cluster.api import ApiPorts, ApiServer
from segue.cluster.registry import Registry
from segue.cluster.store import Store
from segue.host.apiserver import serve
from segue.host.certificates import credentials, kubeconfig
from segue.host.clock import SystemChance, SystemClock
from segue.host.doors import ExecSession, LogQuery
from segue.host.journal import SqliteJournal
from segue.model.errors import StatusError
from segue.model.objects import Obj

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


class HostCommand:
    """An exec session that is a process on this machine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.sizes: list[tuple[int, int]] = []

    async def write_stdin(self, data: bytes) -> None:
        assert self._process.stdin is not None
        if not data:
            self._process.stdin.close()
            return
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

        async def hear(channel: int, stream: asyncio.StreamReader | None) -> None:
            assert stream is not None
            while data := await stream.read(65536):
                heard.put_nowait((channel, data))
            heard.put_nowait((channel, b""))

        tasks = [asyncio.create_task(hear(1, self._process.stdout)), asyncio.create_task(hear(2, self._process.stderr))]
        left = len(tasks)
        while left:
            channel, data = await heard.get()
            if data:
                yield channel, data
            else:
                left -= 1

    async def wait(self) -> int:
        return await self._process.wait()

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()


class OneDoor:
    """Every pod's container is this machine."""

    def logs(self, namespace: str, name: str, query: LogQuery) -> AsyncIterator[bytes]:
        return self._lines(name, query)

    async def _lines(self, name: str, query: LogQuery) -> AsyncIterator[bytes]:
        if name.startswith("waiting"):
            message = f'container "{query.container}" in pod "{name}" is waiting to start: ContainerCreating'
            raise StatusError(400, "BadRequest", message)
        lines = [f"{name} line {number}\n".encode() for number in (1, 2, 3)]
        for line in lines[-query.tail_lines :] if query.tail_lines else lines:
            yield line

    async def exec(
        self, namespace: str, name: str, *, container: str, argv: Sequence[str], stdin: bool, tty: bool
    ) -> ExecSession:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return HostCommand(process)

    def traffic(self, namespace: str, name: str) -> Obj:
        return {"passiveOpens": 7, "connections": []}


async def run(state: Path) -> None:
    journal = SqliteJournal(state / "store.db")
    store = Store(journal)
    rows, version = journal.load()
    store.load(rows, version=version)
    clock = SystemClock()
    registry = Registry(store, clock, SystemChance())
    ports = ApiPorts(
        clock=clock,
        timeline=lambda after: {"next": after, "items": []},
        flows=lambda on: {"on": bool(on)},
        cluster=lambda: {"pid": os.getpid(), "modules": sorted(sys.modules)},
    )
    listening = socket.create_server(("127.0.0.1", 0))
    access = credentials(state)
    url = f"https://127.0.0.1:{listening.getsockname()[1]}"
    (state / "kubeconfig").write_text(kubeconfig(access, url))
    (state / "viewer").write_text(kubeconfig(access, url, token=access.viewer_token))
    sys.stdout.write(json.dumps({"url": url}) + "\n")
    sys.stdout.flush()
    await serve(ApiServer(registry, store, ports), OneDoor(), [listening], access.tls, access.users())


@dataclass(slots=True)
class ApiHouse:
    """The process and kubectl against it."""

    state: Path
    process: subprocess.Popen[str] = field(init=False)
    url: str = ""

    def start(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.state)], stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def run(self, *argv: str, stdin: str = "", who: str = "kubeconfig") -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "KUBECONFIG": str(self.state / who), "HOME": str(self.state), "NO_COLOR": "1"}
        return subprocess.run(
            [str(BIN / "kubectl"), *argv], env=env, input=stdin, text=True, capture_output=True, timeout=60, check=False
        )

    def kubectl(self, *argv: str, stdin: str = "") -> str:
        done = self.run(*argv, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(argv)}: {done.stderr}"
        return done.stdout

    def refused(self, *argv: str, stdin: str = "", who: str = "kubeconfig") -> str:
        done = self.run(*argv, stdin=stdin, who=who)
        assert done.returncode != 0, f"kubectl {' '.join(argv)} was let through: {done.stdout}"
        return done.stderr

    def get(self, *argv: str) -> Obj:
        parsed: Obj = json.loads(self.kubectl("get", *argv, "-o", "json"))
        return parsed


if __name__ == "__main__":
    import uvloop

    uvloop.run(run(Path(sys.argv[1])))

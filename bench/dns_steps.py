"""Where 20 ms of DNS go, step by step: `python -m bench.dns_steps [OUT.json]`.

In namespaces of its own: an example service, a real CoreDNS that knows it, and 5 ms between the two by a relay, so that
a lookup by the search list costs four rounds, 20 ms. Each step looks the service's outside name up 200 times a second
through the C library and asks it over a new connection; queries are captured, and compared with what the rules predict.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import segue.app
from bench.many_objects import HOME, namespace, pod, service, serving_these
from segue.dns.lookup import Question, lookup
from segue.dns.resolver import ClusterDns, HostsLine, Resolver, of_namespace, written, written_hosts
from segue.dns.timing import timed
from segue.dns.world import World
from segue.host import syscalls
from segue.host.dns.keeper import start_server
from segue.model.objects import Obj
from testbed.building import folder_of, programs
from testbed.versions import DEFAULT, release
from tests.live.lookup_capture import enter

ROUND_S, UPSTREAM_S = 0.005, 0.010
RATE, FOR_S = 200, 5.0
NAME = "api.example.com"
CLIENT, UPSTREAM = "127.0.0.77", "127.0.0.9"
FAR, REPLICAS, UNCACHED, WALKING = "127.0.0.2", ("127.0.0.2", "127.0.0.3"), "127.0.0.4", "127.0.0.5"  # CoreDNS
NEAR = {
    "NodeLocal": "127.0.0.20",
    "unbound": "127.0.0.21",
    "dnsmasq": "127.0.0.22",
    "segue": "127.0.0.23",
    "plan": "127.0.0.24",
}
SEARCH = of_namespace("shop", ClusterDns())
_LOOKUPS = Path(segue.app.__file__).parent / "lookups.py"
_GRACE = Path(segue.app.__file__).parent / "grace.py"
_PYTHON = [sys.executable, "-I", "-S", "-c", "exec(eval(input()))"]
_TTL_S = 30
_FAR_PORT, _NEAR_PORT = 5300, 5301  # what is captured is what goes to port 53: a pod's own queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One setting: whom the pod asks, how, and for what."""

    label: str
    server: str
    ndots: str = "5"
    name: str = NAME
    autopath: bool = False
    alias: bool = False

    @property
    def resolver(self) -> Resolver:
        """The pod's."""
        hosts = (HostsLine(ip=HOME, names=(NAME,)),) if self.alias else ()
        return Resolver(nameservers=(self.server,), search=SEARCH.search, options={"ndots": self.ndots}, hosts=hosts)

    @property
    def predicted(self) -> int:
        """Queries of one lookup."""
        names = {NAME: frozenset({"A"})}
        world = World(exists=names, autopath=SEARCH.search if self.autopath else ())
        return len(lookup(Question(name=self.name), self.resolver, world).queries)


STEPS = (
    Step(label="no cache in CoreDNS", server="127.0.0.14"),
    Step(label="as it is: CoreDNS with its cache", server="127.0.0.12"),
    Step(label="twice the replicas", server="127.0.0.13"),
    Step(label="ndots:1", server="127.0.0.12", ndots="1"),
    Step(label="trailing dot", server="127.0.0.12", name=f"{NAME}."),
    Step(label="autopath", server="127.0.0.15", autopath=True),
    Step(label="NodeLocal (CoreDNS on the node)", server=NEAR["NodeLocal"]),
    Step(label="unbound on the node", server=NEAR["unbound"]),
    Step(label="dnsmasq on the node", server=NEAR["dnsmasq"]),
    Step(label="segue's own server on the node", server=NEAR["segue"]),
    Step(label="NodeLocal that refreshes in time", server=NEAR["plan"]),
    Step(label="the plan: that, and ndots:1", server=NEAR["plan"], ndots="1"),
    Step(label="hostAliases", server="127.0.0.12", alias=True),
)


def main(out: str) -> None:
    """All steps; a line each, and a file where one is named."""
    enter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("resolv.conf", "hosts", "nsswitch.conf"):
            (folder / name).touch()
            syscalls.mount(str(folder / name), f"/etc/{name}", flags=syscalls.MS_BIND)
        (folder / "nsswitch.conf").write_text("hosts: files dns\n")
        port = _start(stack, folder)
        rows = []
        for step in STEPS:
            rows.append(_measured(step, folder, port))
            sys.stdout.write(json.dumps(rows[-1]) + "\n")
            sys.stdout.flush()
    if out:
        told = {"coredns": release(DEFAULT).coredns, "round_ms": ROUND_S * 1000, "rate": RATE, "steps": rows}
        Path(out).write_text(json.dumps(told, indent=1) + "\n")


def _measured(step: Step, folder: Path, port: int) -> Obj:
    (folder / "resolv.conf").write_text(written(step.resolver))
    (folder / "hosts").write_text(written_hosts(step.resolver.hosts))
    _ordered({"do": "capture", "name": step.name})  # what is cached is so from here on
    order = {"do": "measure", "names": [step.name], "rate": RATE, "for_s": FOR_S, "port": port, "path": "/fast"}
    told = timed(_ordered(order))
    (one,), request = told["names"], told["request"]
    return {
        "step": step.label,
        "predicted": step.predicted,
        "queries": one["queries_per_lookup"],
        "lookups": one["lookups"],
        "failed": one["failed"],
        "lookup_ms": one["libc_ms"],
        "request_ms": request["with_lookup_ms"],
        "without_lookup_ms": request["without_lookup_ms"],
        "dns_share": request["dns_share"],
    }


def _ordered(order: Obj) -> Obj:
    lines = f"{_LOOKUPS.read_text()!r}\n{json.dumps(order)}\n"
    done = subprocess.run(_PYTHON, input=lines, capture_output=True, text=True, check=True, timeout=120)
    found: Obj = json.loads(done.stdout)
    return found


# --- who answers ---------------------------------------------------------------------------------------------------


def _start(stack: ExitStack, folder: Path) -> int:
    """Everything that a step may ask; the service's port."""
    objects = {
        "Namespace": [namespace("shop"), namespace("bank")],
        "Service": [service("web", "shop", (HOME,)), service("pay", "bank", (HOME,))],
        "Pod": [pod("client", "shop", CLIENT)],
    }
    api = stack.enter_context(serving_these(objects))
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    _in(loop, _answering(UPSTREAM, _upstream, UPSTREAM_S))
    for ip in (*REPLICAS, UNCACHED, WALKING):
        stack.enter_context(_core_dns(folder, ip, api))
    for last, targets in (("12", (FAR,)), ("13", REPLICAS), ("14", (UNCACHED,)), ("15", (WALKING,))):
        for port in (53, _NEAR_PORT):
            _in(loop, _relay(f"127.0.0.{last}", port, targets))
    for name, cache in (("NodeLocal", ""), ("plan", NEAR_CACHE)):
        near = f".:53 {{\n bind {NEAR[name]}\n errors\n cache {_TTL_S}{cache}\n forward . 127.0.0.12:{_NEAR_PORT}\n}}\n"
        stack.enter_context(_program(folder, name, [str(_binary()), "-conf", "{conf}"], near))
    stack.enter_context(_program(folder, "unbound", [_found("unbound"), "-d", "-c", "{conf}"], _UNBOUND))
    stack.enter_context(_program(folder, "dnsmasq", [_found("dnsmasq"), "-d", "-C", "{conf}"], _DNSMASQ))
    process, control = start_server()
    stack.callback(process.wait)
    stack.callback(control.close)
    begin = {"ip": NEAR["segue"], "port": 53, "domain": "nowhere.invalid", "upstreams": [("127.0.0.12", _NEAR_PORT)]}
    for message in ({"begin": begin | {"cache_s": _TTL_S}}, {"serve": True}):
        control.sendall(json.dumps(message).encode() + b"\n")
    grace = subprocess.Popen([sys.executable, _GRACE], env={**os.environ, "PORT": "10002"}, stderr=subprocess.DEVNULL)
    stack.callback(grace.wait)
    stack.callback(grace.kill)
    time.sleep(2.0)  # all of them; a step that meets one that is not up fails by its own count
    return 10002


# What is asked often is asked for again before it ends, and what has ended is told once more while that goes on
NEAR_CACHE = " {\n prefetch 2 1m 20%\n serve_stale 30s immediate\n }"
_UNBOUND = f"""\
server:
    interface: {NEAR["unbound"]}
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-not-query-localhost: no
    module-config: "iterator"
    access-control: 127.0.0.0/8 allow
    local-zone: "localhost." nodefault
forward-zone:
    name: "."
    forward-addr: 127.0.0.12@{_NEAR_PORT}
"""
_DNSMASQ = f"""\
listen-address={NEAR["dnsmasq"]}
bind-interfaces
no-resolv
no-hosts
cache-size=10000
server=127.0.0.12#{_NEAR_PORT}
user=root
"""


def _found(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/bin")
    if path is None:
        raise SystemExit(f"no {name} (Debian: apt-get install {name})")
    return path


def _binary() -> Path:
    return next(folder_of(one) for one in programs(release(DEFAULT)) if one.name == "coredns") / "coredns"


@contextmanager
def _program(folder: Path, name: str, argv: Sequence[str], conf: str) -> Iterator[None]:
    file = folder / f"{name}.conf"
    file.write_text(conf)
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([one.format(conf=file) for one in argv], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _core_dns(folder: Path, ip: str, api: int) -> Iterator[None]:
    autopath, how = ip == WALKING, "verified" if ip == WALKING else "insecure"
    lines = [
        f"bind {ip}",
        "errors",
        f"kubernetes cluster.local {{\n endpoint http://{HOME}:{api}\n pods {how}\n }}",
        *(["autopath @kubernetes"] if autopath else []),
        f"forward . {UPSTREAM}:{_NEAR_PORT}",
        *([f"cache {_TTL_S}"] if ip != UNCACHED else []),
    ]
    text = f".:{_FAR_PORT} {{\n " + "\n ".join(lines) + "\n}\n"
    with _program(folder, f"coredns-{ip}", [str(_binary()), "-conf", "{conf}"], text):
        yield


# --- what lies between ---------------------------------------------------------------------------------------------


def _in(loop: asyncio.AbstractEventLoop, made: object) -> None:
    assert asyncio.iscoroutine(made)
    asyncio.run_coroutine_threadsafe(made, loop).result(5)


class _Late(asyncio.DatagramProtocol):
    """Answers each packet by a function, some time later."""

    def __init__(self, answer: Callable[[bytes], bytes], after_s: float) -> None:
        self._answer, self._after_s = answer, after_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._way = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asyncio.get_running_loop().call_later(self._after_s, self._way.sendto, self._answer(data), addr)


async def _answering(ip: str, answer: Callable[[bytes], bytes], after_s: float) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: _Late(answer, after_s), local_addr=(ip, _NEAR_PORT))


def _upstream(packet: bytes) -> bytes:
    """The world outside: one name, with an IPv4 address."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]])
        at += 1 + packet[at]
    known, kind = b".".join(labels).lower() == NAME.encode(), packet[at + 1 : at + 3]
    found = known and kind == b"\0\1"
    owner = (
        b"\xc0\x0c"
        + b"\0\6\0\1"
        + _TTL_S.to_bytes(4)
        + (22).to_bytes(2)
        + bytes(2)
        + b"".join(number.to_bytes(4) for number in (1, 60, 60, 60, _TTL_S))
    )
    record = b"\xc0\x0c\0\1\0\1" + _TTL_S.to_bytes(4) + b"\0\4\x7f\0\0\1"
    code = 0 if known else 3
    counts = (1).to_bytes(2) + int(found).to_bytes(2) + int(not found).to_bytes(2) + bytes(2)
    return packet[:2] + b"\x81" + bytes([0x80 | code]) + counts + packet[12 : at + 5] + (record if found else owner)


class _Back(asyncio.DatagramProtocol):
    """The far side of a relay: answers go to whoever asked."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[bytes, tuple[str, int]]] = {}
        self.home: asyncio.DatagramTransport | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        found = self.waiting.pop(int.from_bytes(data[:2]), None)
        if found is not None and self.home is not None:
            self.home.sendto(found[0] + data[2:], found[1])


class _Relay(asyncio.DatagramProtocol):
    """The near side: each question goes on after the time that the way there and back takes."""

    def __init__(self, ways: list[tuple[asyncio.DatagramTransport, _Back]]) -> None:
        self._ways, self._count = ways, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        for _, back in self._ways:
            back.home = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._count += 1
        way, back = self._ways[self._count % len(self._ways)]
        number = self._count & 0xFFFF
        back.waiting[number] = data[:2], addr
        asyncio.get_running_loop().call_later(ROUND_S, way.sendto, number.to_bytes(2) + data[2:])


async def _relay(ip: str, port: int, targets: Sequence[str]) -> None:
    loop = asyncio.get_running_loop()
    ways = [
        await loop.create_datagram_endpoint(_Back, local_addr=(CLIENT, 0), remote_addr=(target, _FAR_PORT))
        for target in targets
    ]
    await loop.create_datagram_endpoint(lambda: _Relay(ways), local_addr=(ip, port))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(sys.argv[1] if len(sys.argv) > 1 else "")

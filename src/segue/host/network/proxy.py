"""Loopback mode's data plane, the cluster's side of it: hands rule tables to the splicer, a process of its own.

It must never carry a byte itself: what the kernel does in namespace mode may not wait here for an API call or a probe,
nor the other way round. It must never decide either: which endpoints a connection may go to is the rule's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec

import segue
from segue.cluster.dataplane.rules import RuleTable, ServiceRule, Verdict, Way
from segue.host.network.loopback import LoopbackNetwork
from segue.host.network.splicer import Address, Given, Order, Tidings
from segue.model.errors import HostError
from segue.model.timeline import Happening, What
from segue.ports import Clock, Recorder

_ROOT = str(Path(segue.__file__).parent.parent)
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from segue.host.network import splicer; splicer.main({fd})"
_APPLY_LIMIT_S = 5.0
_SEND_LIMIT = struct.pack("ll", 1, 0)  # SO_SNDTIMEO: the splicer reads at once, unless somebody has stopped it
_STOP_LIMIT_S = 2.0
_log = logging.getLogger(__name__)

Wish = tuple[str, int, tuple[Address, ...]]  # verdict, affinity_s, endpoints


class ProxyFlows:
    """Records a FLOW for each connection that the proxy gives to a pod, while it is switched on."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._since_s = 0.0
        self.is_on = False
        self.overruns = 0

    def start(self) -> None:
        """Begin; connections made from now on are recorded. Idempotent."""
        if not self.is_on:
            self.is_on, self._since_s = True, self._clock.now_s()

    def stop(self) -> None:
        """End. Idempotent."""
        self.is_on = False

    def tell(self, rows: list[Given], pods: dict[Address, str]) -> None:
        """These connections were given to pods; `error` says that the pod's side refused, so the client was reset."""
        if not self.is_on:
            return
        offset_s = self._clock.now_s() - time.monotonic()
        for given_s, src_ip, src_port, ip, port, error in rows:
            at_s = given_s + offset_s
            if at_s < self._since_s:
                continue
            data = {"src_ip": src_ip, "src_port": src_port, "ip": ip, "port": port}
            if error:
                data["error"] = error
            pod = pods.get((ip, port), "")
            self._recorder.record(Happening(at_s=at_s, what=What.FLOW, pod=pod, data=data))


class ProxyTarget:
    """Carries a rule table out through the splicer; starts that again where somebody has killed it."""

    def __init__(self, network: LoopbackNetwork, flows: ProxyFlows, clock: Clock) -> None:
        self._network = network
        self._flows = flows
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._heard = b""
        self._number = 0
        self._answers: dict[int, asyncio.Future[Tidings]] = {}
        self._sent: dict[Address, Wish] = {}  # what the splicer was told and did
        self._names: dict[Address, str] = {}  # endpoint -> pod, of this table and the one before
        self._names_before: dict[Address, str] = {}
        network.before_look = self._hear_all
        self._start()

    @property
    def pid(self) -> int:
        """The splicer's process, 0 where it does not run."""
        return self._process.pid if self._process else 0

    async def apply(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Open, change and close frontends until they are as `after` says; returns once no older rule is followed."""
        wanted = _wishes(after)
        self._names_before, self._names = self._names, _names(after)
        if self._control is None:
            self._start()
        full = full or not self._sent
        changed = {at: wish for at, wish in wanted.items() if full or self._sent.get(at) != wish}
        gone = self._sent.keys() - wanted.keys()
        if not full and not changed and not gone:
            return
        self._sent = {at: wish for at, wish in self._sent.items() if at in wanted and at not in changed}
        self._number += 1
        answer = await self._ask(
            {
                "table": self._number,
                "full": full,
                "gone": sorted(gone),
                "doors": [
                    (*at, verdict, affinity_s, list(ends)) for at, (verdict, affinity_s, ends) in changed.items()
                ],
            }
        )
        failed = {(ip, port): why for ip, port, why in answer["failed"]}
        for (ip, port), why in failed.items():
            _log.warning("%s:%s is not reachable: %s", ip, port, why)
        self._sent |= {at: wish for at, wish in changed.items() if at not in failed}

    async def tidy(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Nothing is left behind by `apply`."""

    def close(self) -> None:
        """Close every frontend and every connection: the splicer ends with its control socket."""
        self._lose()
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_LIMIT_S)
            process.kill()
            process.wait()

    def _start(self) -> None:
        """Start the splicer; it is usable at once, for messages wait until it reads them."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_LIMIT)
        with theirs:
            program = _PROGRAM.format(root=_ROOT, fd=theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._control, self._heard = ours, b""
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)

    async def _ask(self, order: Order) -> Tidings:
        assert self._control is not None, "started before it is asked"
        answer: asyncio.Future[Tidings] = asyncio.get_running_loop().create_future()
        self._answers[order["table"]] = answer
        try:
            self._control.sendall(json.dumps(order, separators=(",", ":")).encode() + b"\n")
            async with asyncio.timeout(_APPLY_LIMIT_S):
                return await answer
        except (OSError, TimeoutError) as error:
            self._sent.clear()  # nobody knows what it did: the next table is told whole
            raise HostError("the splicer, loopback mode's data path, does not follow") from error
        finally:
            self._answers.pop(order["table"], None)

    def _hear_all(self) -> None:
        """Take in what has been told: arrivals must not be counted later than somebody looks."""
        if self._control is not None:
            self._hear()

    def _hear(self) -> None:
        assert self._control is not None, "nobody hears a closed socket"
        while True:
            try:
                data = self._control.recv(1 << 18, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._died()
                return
            *lines, self._heard = (self._heard + data).split(b"\n")
            for line in lines:
                self._take(msgspec.json.decode(line, type=Tidings))

    def _take(self, tidings: Tidings) -> None:
        if "applied" in tidings:
            answer = self._answers.get(tidings["applied"])
            if answer is not None and not answer.done():
                answer.set_result(tidings)
            return
        rows = tidings["given"]
        self._flows.overruns += bool(tidings.get("lost"))
        for row in rows:
            if not row[5]:
                self._network.count_arrival(row[3])
        self._flows.tell(rows, self._names_before | self._names)

    def _died(self) -> None:
        """Somebody killed it: every connection is cut, but new ones are to be served again at once."""
        _log.error("the splicer, loopback mode's data path, was killed; it is started again")
        self._lose()
        if self._process is not None:
            self._process.wait()
        wishes, self._sent = self._sent, {}
        self._start()
        assert self._control is not None, "just started"
        self._number += 1
        doors = [(*at, verdict, affinity_s, list(ends)) for at, (verdict, affinity_s, ends) in wishes.items()]
        order: Order = {"table": self._number, "full": True, "gone": [], "doors": doors}
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps(order).encode() + b"\n")

    def _lose(self) -> None:
        if self._control is None:
            return
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._control = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError())


def _wishes(table: RuleTable) -> dict[Address, Wish]:
    """What each frontend is to do; one without an endpoint is none, so that the kernel itself refuses (K4)."""
    found: dict[Address, Wish] = {}
    for rule in table.rules:
        if rule.protocol != "tcp":
            _log.warning("%s port %s: loopback mode does not carry UDP", rule.service, rule.port)
            continue
        _wish(found, (rule.cluster_ip, rule.port), rule.internal, rule)
        if rule.node_port:
            _wish(found, ("127.0.0.1", rule.node_port), rule.external, rule)
    return found


def _wish(found: dict[Address, Wish], at: Address, way: Way, rule: ServiceRule) -> None:
    if way.verdict is not Verdict.REJECT:
        ends = tuple((endpoint.ip, endpoint.port) for endpoint in way.endpoints)
        found[at] = (way.verdict.value, rule.affinity_s, ends)


def _names(table: RuleTable) -> dict[Address, str]:
    return {(end.ip, end.port): end.pod for rule in table.rules for end in rule.endpoints()}
